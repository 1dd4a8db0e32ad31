"""Routes of recordings: the list of segments and gaps, and the files of segments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.clock import Clock
from streamwarden.errors import Denied, InvalidInput, SegmentNotFound
from streamwarden.http.api.access import CameraAccess, PlayAccess
from streamwarden.http.api.relay_file import relay
from streamwarden.http.models import Id, Model, QueryInteger, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import query_of, user_of
from streamwarden.http.wire import FILE_ANSWERS, FILE_HEADERS, PlaceQuery
from streamwarden.model import Gap, Segment, TimeRange
from streamwarden.storage.recording_index import RecordingsRepository, SegmentRepository

DEFAULT_SPAN = timedelta(days=1)


def before(to: datetime, span: timedelta) -> datetime:
    """Return the time ``span`` before ``to``; raise InvalidInput before year 1."""
    try:
        return to - span
    except OverflowError:
        raise InvalidInput("to: must be later", field="to") from None


class RangeQuery(Model):
    """The time range. ``to`` defaults to now, ``from`` to a day before ``to``."""

    from_: Timestamp | None = Field(default=None, alias="from")
    to: Timestamp | None = None
    limit: QueryInteger = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)


class SegmentItem(Model):
    """A file. ``media_seconds`` is the length of the media, not of the wall clock's time.

    ``missing_seconds`` of it have no pictures and are gaps of their own. The pictures were taken at most
    ``date_error_seconds`` before or after what the dates say; null where that is not known.
    """

    kind: Literal["segment"] = "segment"
    id: Id
    started_at: Timestamp
    ended_at: Timestamp
    media_seconds: float
    missing_seconds: float
    date_error_seconds: float | None
    size_bytes: int = Field(alias="bytes")
    run: int
    salvaged: bool


class GapItem(Model):
    """Time that was wanted and not recorded; an open gap has no end yet."""

    kind: Literal["gap"] = "gap"
    started_at: Timestamp
    ended_at: Timestamp | None
    cause: str


class RecordingList(Model):
    """Segments and gaps in time order; ``next_cursor`` asks for those that follow."""

    items: list[SegmentItem | GapItem]
    next_cursor: str | None


class RecordingCollection(Resource):
    """``GET /api/v1/camera/{camera_id}/recordings``."""

    def __init__(
        self, recordings: RecordingsRepository, access: CameraAccess, clock: Clock
    ) -> None:
        self._recordings = recordings
        self._access = access
        self._clock = clock

    @operation(
        "Segments and gaps of a camera",
        access=Access.BEARER,
        query=RangeQuery,
        answers={200: RecordingList},
        refusals=(403, 404, 503),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with a page."""
        query = query_of(req, RangeQuery)
        to = query.to or self._clock.now()
        from_ = query.from_ or before(to, DEFAULT_SPAN)
        if from_ >= to:
            raise InvalidInput("from: must be before to", field="from")
        _, window = self._access.find_recorded(user_of(req), camera_id)
        asked = TimeRange(from_, to)
        seen = asked if window is None else window.clip(asked)
        if seen is None:
            respond(resp, RecordingList(items=[], next_cursor=None))
            return
        page = self._recordings.list(
            camera_id, seen.from_, seen.to, limit=query.limit, cursor=query.cursor
        )
        items = [item for row in page.items if (item := _item(row, window))]
        respond(resp, RecordingList(items=items, next_cursor=page.next_cursor))


class RecordingFileQuery(PlaceQuery):
    """The file's place in a playlist, and a play token for players that send no header."""

    token: str | None = Field(default=None, max_length=2_048)


class RecordingFile(Resource):
    """``GET /api/v1/camera/{camera_id}/recordings/{segment_id}``."""

    def __init__(
        self, segments: SegmentRepository, play: PlayAccess, streaming: StreamingClient
    ) -> None:
        self._segments = segments
        self._play = play
        self._streaming = streaming

    @operation(
        "The file of a segment",
        access=Access.PLAYER,
        query=RecordingFileQuery,
        answers=FILE_ANSWERS,
        refusals=(403, 404, 416, 503),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, segment_id: UUID
    ) -> None:
        """Relay the file from the streaming role."""
        allowed = self._play.recordings(req, camera_id)
        segment = self._segments.get(camera_id, segment_id)
        if segment is None:
            raise SegmentNotFound("this camera has no such segment")
        if not allowed.plays(segment.started_at, segment.ended_at):
            raise Denied("you have no permission for this time")
        at_ms = query_of(req, RecordingFileQuery).at
        relay(req, resp, partial(self._streaming.open_file, camera_id, segment_id, at_ms=at_ms))


def _item(row: Segment | Gap, window: TimeRange | None) -> SegmentItem | GapItem | None:
    if isinstance(row, Gap):
        return _gap(row, window)
    if window is not None and not window.contains(row.started_at, row.ended_at):
        return None  # part of it is outside the time that this user may see
    return _segment(row)


def _gap(row: Gap, window: TimeRange | None) -> GapItem:
    started_at, ended_at = row.started_at, row.ended_at
    if window is not None:
        started_at = max(started_at, window.from_)
        if ended_at is not None or window.to != datetime.max.replace(tzinfo=UTC):
            ended_at = min(ended_at or window.to, window.to)
    return GapItem(started_at=started_at, ended_at=ended_at, cause=row.cause)


def _segment(row: Segment) -> SegmentItem:
    return SegmentItem(
        id=row.id,
        started_at=row.started_at,
        ended_at=row.ended_at,
        media_seconds=row.media_ms / 1000,
        missing_seconds=sum(each.length.total_seconds() for each in row.missing),
        date_error_seconds=None if row.error_ms is None else row.error_ms / 1000,
        bytes=row.size_bytes,
        run=row.run,
        salvaged=row.salvaged,
    )
