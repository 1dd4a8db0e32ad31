"""Stored files over HTTP, whole or one byte range of them (RFC 9110, section 14).

A request for several ranges, in another unit, or malformed is answered with the whole file, as the
RFC permits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.http.models import Id, Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.validation import query_of
from streamwarden.http.wire import FILE_ANSWERS, FILE_HEADERS, VIDEO_MP4, PlaceQuery
from streamwarden.recordings.serving import IndexedFiles, OpenFile

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", flags=re.IGNORECASE | re.ASCII)


_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range begins after the end of the file (status 416)."""


def byte_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Return the range in a Range header for a file of ``size_bytes``; None for the whole file.

    Raises Unsatisfiable.
    """
    asked = _RANGE.fullmatch((header or "").replace(" ", ""))
    if asked is None or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if first == "":
        return _suffix(int(last), size_bytes)
    start = int(first)
    end = int(last) if last else size_bytes - 1
    if last and end < start:
        return None  # not a valid range (14.1.1): ignored
    if start >= size_bytes:
        raise Unsatisfiable
    return ByteRange(start, min(end, size_bytes - 1))


def range_applies(if_range: str | None, *, etag: str, modified_at: datetime) -> bool:
    """Return whether a Range applies under an If-Range header (13.1.5)."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range == f'"{etag}"'  # strong comparison: W/"..." never matches
    try:
        shown = parsedate_to_datetime(if_range)
    except (TypeError, ValueError):
        return False
    if shown.tzinfo is None:
        shown = shown.replace(tzinfo=UTC)
    return shown == modified_at.replace(microsecond=0)


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Return whether an If-None-Match header (13.1.2) matches: 304."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return f'"{etag}"' in {tag.removeprefix("W/") for tag in _ETAG.findall(if_none_match)}


def _suffix(length: int, size_bytes: int) -> ByteRange:
    if length == 0 or size_bytes == 0:
        raise Unsatisfiable
    return ByteRange(max(0, size_bytes - length), size_bytes - 1)


class SegmentFile(Resource):
    """``GET /streams/{camera_id}/segments/{segment_id}``."""

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files

    @operation(
        "A segment's file",
        access=Access.INTERNAL,
        query=PlaceQuery,
        answers=FILE_ANSWERS,
        refusals=(404, 416, 503),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, segment_id: UUID
    ) -> None:
        """Send the file; the server sends it without holding a thread."""
        at_ms = query_of(req, PlaceQuery).at
        send_file(req, resp, self._files.open(camera_id, segment_id, at_ms=at_ms))


def send_file(req: falcon.Request, resp: falcon.Response, found: OpenFile) -> None:
    """Answer with a file; the server closes it once it is sent."""
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

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files

    @operation(
        "The positions at which a segment's file can be cut",
        access=Access.INTERNAL,
        answers={200: FragmentList},
        refusals=(404, 503),
    )
    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, camera_id: UUID, segment_id: UUID
    ) -> None:
        """Answer with the file's fragments."""
        found = self._files.fragments(camera_id, segment_id)
        items = [FragmentModel(end=one.end, media_ms=one.media_ms) for one in found]
        respond(resp, FragmentList(items=items))


class FormatModel(Model):
    """A segment and a name of the format of its tracks."""

    id: Id
    format: str


class FormatList(Model):
    """The formats of segments."""

    items: list[FormatModel]


class FormatQuery(Model):
    """A time range."""

    from_: Timestamp = Field(alias="from")
    to: Timestamp


class SegmentFormats(Resource):
    """``GET /streams/{camera_id}/formats``."""

    def __init__(self, files: IndexedFiles) -> None:
        self._files = files

    @operation(
        "The formats of the tracks of segments",
        access=Access.INTERNAL,
        query=FormatQuery,
        answers={200: FormatList},
        refusals=(503,),
        about="Of the first 500 segments of a range; equal where the tracks are.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the formats; the header of each file is read."""
        query = query_of(req, FormatQuery)
        found = self._files.formats(camera_id, query.from_, query.to)
        items = [FormatModel(id=one, format=name) for one, name in found.items()]
        respond(resp, FormatList(items=items))


def _prepare(req: falcon.Request, resp: falcon.Response, found: OpenFile) -> bool:
    """Write status and headers; return whether the response owns the file now."""
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
    """Seek to the first byte of the response; return the length of its body.

    waitress's file wrapper sends Content-Length bytes from the file's position.
    """
    counts = req.method == "GET" and range_applies(  # ranges are for GET alone (14.2)
        req.get_header("If-Range"), etag=found.etag, modified_at=found.modified_at
    )
    try:
        span = byte_range(req.get_header("Range"), found.size_bytes) if counts else None
    except Unsatisfiable:
        raise falcon.HTTPRangeNotSatisfiable(found.size_bytes) from None
    if span is None:
        return found.size_bytes
    resp.status = falcon.HTTP_206
    resp.set_header("Content-Range", f"bytes {span.first}-{span.last}/{found.size_bytes}")
    found.stream.seek(span.first)
    return span.length
