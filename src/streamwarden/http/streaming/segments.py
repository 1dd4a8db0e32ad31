"""A segment's file over HTTP."""

from __future__ import annotations

from uuid import UUID

import falcon

from streamwarden.http.media_files import FILE_ANSWERS, FILE_HEADERS, VIDEO_MP4
from streamwarden.http.models import Model, answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.streaming.ports import Files, Fragments, OpenFile
from streamwarden.http.streaming.ranges import Unsatisfiable, is_current, range_applies, span_of


class SegmentFile(Resource):
    """``GET /streams/{camera_id}/segments/{segment_id}``."""

    def __init__(self, files: Files) -> None:
        self._files = files

    @operation(
        "A segment's file",
        access=Access.INTERNAL,
        answers=FILE_ANSWERS,
        refusals=(404, 416, 503),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, segment_id: UUID
    ) -> None:
        """Hand the open file to the server, which sends it without holding a thread."""
        send_file(req, resp, self._files.open(camera_id, segment_id))


def send_file(req: falcon.Request, resp: falcon.Response, found: OpenFile) -> None:
    """Answer with a file, of which the server takes care from then on."""
    try:
        taken = _prepare(req, resp, found)
    except BaseException:
        found.stream.close()
        raise
    if not taken:
        found.stream.close()


class FragmentModel(Model):
    """A fragment: where it ends in the file, and how long it plays."""

    end: int
    media_ms: int


class FragmentList(Model):
    """The fragments of a file in its order."""

    items: list[FragmentModel]


class SegmentFragments(Resource):
    """``GET /streams/{camera_id}/segments/{segment_id}/fragments``."""

    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments

    @operation(
        "Where a segment's file can be cut",
        access=Access.INTERNAL,
        answers={200: FragmentList},
        refusals=(404, 503),
    )
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, segment_id: UUID
    ) -> None:
        """Answer with the file's structure."""
        found = self._fragments.of(camera_id, segment_id)
        items = [FragmentModel(end=one.end, media_ms=one.media_ms) for one in found]
        answer(resp, FragmentList(items=items))


def _prepare(req: falcon.Request, resp: falcon.Response, found: OpenFile) -> bool:
    """Write status and headers; return whether the answer took over the file."""
    resp.etag = found.etag
    resp.last_modified = found.modified_at
    resp.set_header("Accept-Ranges", "bytes")
    kept = "max-age=86400, immutable" if found.whole else "no-store"
    resp.set_header("Cache-Control", f"private, {kept}")
    if is_current(req.get_header("If-None-Match"), found.etag):
        resp.status = falcon.HTTP_304
        return False
    resp.content_type = VIDEO_MP4
    resp.content_length = _seek(req, resp, found)
    if req.method == "HEAD":
        return False
    resp.stream = found.stream
    return True


def _seek(req: falcon.Request, resp: falcon.Response, found: OpenFile) -> int:
    """Stand at the first byte asked for; return how many bytes follow.

    Waitress's file wrapper sends as many as Content-Length says, from where the file stands.
    """
    counts = req.method == "GET" and range_applies(  # ranges are for GET alone (14.2)
        req.get_header("If-Range"), etag=found.etag, modified_at=found.modified_at
    )
    try:
        span = span_of(req.get_header("Range"), found.size_bytes) if counts else None
    except Unsatisfiable:
        raise falcon.HTTPRangeNotSatisfiable(found.size_bytes) from None
    if span is None:
        return found.size_bytes
    resp.status = falcon.HTTP_206
    resp.set_header("Content-Range", f"bytes {span.first}-{span.last}/{found.size_bytes}")
    found.stream.seek(span.first)
    return span.length
