"""Routes of playback: play tokens, recordings and live streams as HLS, snapshots.

Live HLS reads the recorder's own files; it is for clients without WebRTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Final
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.auth.permissions import CameraAction
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import Denied, InvalidInput, NothingRecorded, RangeTooLong, SegmentNotFound
from streamwarden.http.api.access import Allowed, CameraAccess, PlayAccess, private
from streamwarden.http.api.audit_routes import describe
from streamwarden.http.api.playlist import (
    MEDIA_TYPE,
    Part,
    Piece,
    Playlist,
    cut,
    one_line,
    overlapping,
    part_of,
    playable,
)
from streamwarden.http.api.recording_routes import DEFAULT_SPAN, before
from streamwarden.http.api.relay_file import TokenQuery, read_answer, relay
from streamwarden.http.middleware import name_request
from streamwarden.http.models import BodyInteger, Model, Timestamp, respond
from streamwarden.http.operations import Access, Media, Resource, operation
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import body_of, charge, query_of, subject_of, user_of
from streamwarden.http.wire import (
    FILE_ANSWERS,
    FILE_HEADERS,
    JPEG,
    PICTURE_ANSWER,
    LiveModel,
    PictureQuery,
)
from streamwarden.model import Segment, TimeRange
from streamwarden.recordings.serving import MOST_FORMATS
from streamwarden.storage.recording_index import SegmentRepository

MAX_SEGMENTS: Final = 10_000
"""Limit of one playlist: ten megabytes of text, three and a half days in segments of 30 s."""
_SEGMENTS_A_CALL: Final = 100
"""So many segments of a playlist count as a call: the longest as a hundred, six a minute."""
_MAX_CUTS: Final = 32
"""Overlaps of runs that are cut to the fragment; each needs one request for a file's fragments."""
_LIVE_NAME: Final = re.compile(r"r\d{1,15}-\d{6,15}\.mp4", re.ASCII)
PLAYLIST_ANSWER: Final = Media(content_type=MEDIA_TYPE, about="A media playlist (RFC 8216)")


class PlayTokenBody(Model):
    """The time range; without ``from`` and ``to`` live streams only. ``ttl`` in seconds."""

    from_: Timestamp | None = Field(default=None, alias="from")
    to: Timestamp | None = None
    ttl: BodyInteger = Field(default=3_600, ge=30, le=86_400)


class PlayToken(Model):
    """A token for ``?token=`` in a player's requests for this camera.

    ``from`` and ``to`` are its time range, which a grant may have limited; null for live streams only.
    """

    token: str
    expires_at: Timestamp
    from_: Timestamp | None = Field(default=None, alias="from")
    to: Timestamp | None = None


class PlaylistQuery(Model):
    """The time range, by default that of the token. ``one_format``: end where the tracks change."""

    from_: Timestamp | None = Field(default=None, alias="from")
    to: Timestamp | None = None
    token: str | None = Field(default=None, max_length=2_048)
    one_format: bool = False


class SignPlayToken(Resource):
    """``POST /api/v1/camera/{camera_id}/recordings/play_token``."""

    def __init__(
        self,
        access: CameraAccess,
        tokens: PlayTokens,
        denied: DenialList,
        clock: Clock,
    ) -> None:
        self._access = access
        self._tokens = tokens
        self._denied = denied
        self._clock = clock

    @operation(
        "A token for what a player fetches",
        access=Access.BEARER,
        body=PlayTokenBody,
        answers={200: PlayToken},
        rate_limit="sign",
        refusals=(403, 404, 503),
        about=(
            "With a range for recordings, and for live pictures too if the user may see them; "
            "without one for live pictures alone. `to` defaults to the token's end."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Sign a token for the part of the request that the user may play."""
        body, user, asked_at = body_of(req, PlayTokenBody), user_of(req), self._denied.moment()
        recorded, window = self._asked(body), None
        if recorded is None:
            self._access.find(user, camera_id, CameraAction.VIEW)
        else:
            _, window = self._access.find_recorded(user, camera_id)
            recorded = _within(recorded, window)
        signed = self._tokens.sign(
            user.sub,
            camera_id,
            live=recorded is None or self._may_view(req, camera_id),
            recorded=recorded,
            whole=window is not None,
            ttl_s=body.ttl,
            asked_at=asked_at,
        )
        if recorded is not None:
            describe(req, **{"from": rfc3339(recorded.from_), "to": rfc3339(recorded.to)})
        limits = {} if recorded is None else {"from": recorded.from_, "to": recorded.to}
        respond(resp, PlayToken(token=signed.token, expires_at=signed.expires_at, **limits))

    def _asked(self, body: PlayTokenBody) -> TimeRange | None:
        if body.from_ is None and body.to is None:
            return None
        to = body.to or self._clock.now() + timedelta(seconds=body.ttl)
        return _time_range(body.from_ or before(to, DEFAULT_SPAN), to)

    def _may_view(self, req: falcon.Request, camera_id: UUID) -> bool:
        try:
            self._access.find(user_of(req), camera_id, CameraAction.VIEW)
        except Denied:
            return False
        return True


class RecordingPlaylist(Resource):
    """``GET /api/v1/camera/{camera_id}/recordings/playlist.m3u8``."""

    def __init__(
        self,
        play: PlayAccess,
        segments: SegmentRepository,
        streaming: StreamingClient,
        clock: Clock,
    ) -> None:
        self._play = play
        self._segments = segments
        self._streaming = streaming
        self._clock = clock

    @operation(
        "Recordings as HLS",
        access=Access.PLAYER,
        query=PlaylistQuery,
        answers={200: PLAYLIST_ANSWER},
        rate_limit="heavy",
        refusals=(403, 404, 503),
        about=(
            "Ends where `to` is past, else grows (EVENT). With `one_format` it also ends where the "
            "codecs, the size or the sound's format change, and after 250 segments. "
            f"404 `nothing_recorded`, 400 `range_too_long` beyond {MAX_SEGMENTS} segments."
        ),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with a playlist whose URIs carry the token of the request."""
        query = query_of(req, PlaylistQuery)
        allowed = self._play.recordings(req, camera_id)
        asked = self._asked(query, allowed)
        if allowed.range is not None and not allowed.range.contains(asked.from_, asked.to):
            raise Denied("this is of a time that you may not see")
        segments = self._found(camera_id, asked, allowed)
        charge(req, len(segments) // _SEGMENTS_A_CALL)
        if query.one_format:
            segments = self._of_one_format(camera_id, segments)
        parts = self._cut(camera_id, segments)
        kind = "VOD" if asked.to <= self._clock.now() else "EVENT"
        resp.content_type = MEDIA_TYPE
        resp.text = Playlist(parts=parts, kind=kind).text(allowed.token)
        private(resp)

    def _asked(self, query: PlaylistQuery, allowed: Allowed) -> TimeRange:
        limit = allowed.range
        if limit is not None and allowed.token is None:
            # A grant's range may be open at its ends: the default range, limited to it.
            to = query.to or min(limit.to, self._clock.now())
            return _time_range(query.from_ or max(limit.from_, before(to, DEFAULT_SPAN)), to)
        to = query.to or (limit.to if limit else self._clock.now())
        from_ = query.from_ or (limit.from_ if limit else before(to, DEFAULT_SPAN))
        return _time_range(from_, to)

    def _found(self, camera_id: UUID, asked: TimeRange, allowed: Allowed) -> list[Segment]:
        found = self._segments.in_range(camera_id, asked.from_, asked.to, limit=MAX_SEGMENTS + 1)
        if len(found) > MAX_SEGMENTS:
            raise RangeTooLong(
                f"more than {MAX_SEGMENTS} segments; ask for a shorter time", field="to"
            )
        segments = one_line(
            segment
            for segment in found
            if playable(segment) and allowed.plays(segment.started_at, segment.ended_at)
        )
        if not segments:
            raise NothingRecorded("nothing that can be played was recorded then")
        return segments

    def _of_one_format(self, camera_id: UUID, segments: Sequence[Segment]) -> list[Segment]:
        """Return the first segments, as far as their tracks are the same and are known."""
        first, last = segments[0], segments[: MOST_FORMATS // 2][-1]
        formats = self._streaming.formats(
            camera_id, rfc3339(first.started_at), rfc3339(last.ended_at)
        )
        found = [segment for segment in segments if segment.started_at <= last.started_at]
        of_first = formats.get(str(first.id))
        return list(takewhile(lambda one: formats.get(str(one.id), of_first) == of_first, found))

    def _cut(self, camera_id: UUID, segments: Sequence[Segment]) -> list[Part]:
        ends = dict(list(overlapping(segments).items())[:_MAX_CUTS])
        parts = []
        for segment in segments:
            part: Part | None = part_of(segment)
            if part is not None and (until := ends.get(part.uri)) is not None:
                part = cut(part, self._pieces(camera_id, segment.id), until)
            if part is not None:
                parts.append(part)
        return parts

    def _pieces(self, camera_id: UUID, segment_id: UUID) -> list[Piece]:
        found = self._streaming.fragments(camera_id, segment_id)
        return [Piece(end, media_ms) for end, media_ms in found]


def _time_range(from_: datetime, to: datetime) -> TimeRange:
    if from_ >= to:
        raise InvalidInput("from: must be before to", field="from")
    return TimeRange(from_, to)


def _within(asked: TimeRange, window: TimeRange | None) -> TimeRange:
    seen = asked if window is None else window.clip(asked)
    if seen is None:
        raise Denied("this is of a time that you may not see")
    return seen


class LivePlaylist(Resource):
    """``GET /api/v1/camera/{camera_id}/live.m3u8``."""

    def __init__(
        self,
        play: PlayAccess,
        streaming: StreamingClient,
    ) -> None:
        self._play = play
        self._streaming = streaming

    @operation(
        "Live HLS",
        access=Access.PLAYER,
        query=TokenQuery,
        answers={200: PLAYLIST_ANSWER},
        refusals=(403, 404, 503),
        about=(
            "A sliding playlist over what is being recorded. EXT-X-PROGRAM-DATE-TIME tells when "
            "each part was recorded, and so the delay. 404 `not_live` while nothing is recorded."
        ),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the newest parts."""
        allowed = self._play.live(req, camera_id)
        found = read_answer(
            LiveModel, self._streaming.live(camera_id, request_id=name_request(req))
        )
        resp.content_type = MEDIA_TYPE
        resp.text = _playlist(found).text(allowed.token)
        private(resp)


class LiveFile(Resource):
    """``GET /api/v1/camera/{camera_id}/live/{name}``."""

    def __init__(
        self,
        play: PlayAccess,
        streaming: StreamingClient,
    ) -> None:
        self._play = play
        self._streaming = streaming

    @operation(
        "A file that the live playlist names",
        access=Access.PLAYER,
        query=TokenQuery,
        answers=FILE_ANSWERS,
        refusals=(403, 404, 416, 503),
        headers=FILE_HEADERS,
    )
    def on_get(
        self, req: falcon.Request, resp: falcon.Response, camera_id: UUID, name: str
    ) -> None:
        """Relay it from the streaming role."""
        self._play.live(req, camera_id)
        if not _LIVE_NAME.fullmatch(name):
            raise SegmentNotFound("there is no such file")
        relay(req, resp, partial(self._streaming.open_live, camera_id, name))


def _playlist(found: LiveModel) -> Playlist:
    parts = [
        Part(
            uri=f"live/{part.name}",
            init_bytes=part.init_bytes,
            offset=part.offset,
            size_bytes=part.size_bytes,
            media_ms=part.media_ms,
            started_at=part.started_at,
        )
        for part in found.parts
    ]
    return Playlist(
        parts=parts,
        sequence=found.sequence,
        discontinuities=found.discontinuities,
        target=timedelta(seconds=found.target_s),
    )


class Snapshot(Resource):
    """``GET /api/v1/camera/{camera_id}/snapshot.jpg``."""

    def __init__(
        self,
        play: PlayAccess,
        streaming: StreamingClient,
    ) -> None:
        self._play = play
        self._streaming = streaming

    @operation(
        "A camera's last picture",
        access=Access.PLAYER,
        query=PictureQuery,
        answers={200: PICTURE_ANSWER},
        rate_limit="heavy",
        refusals=(403, 404, 503),
        about=(
            "The newest key frame, of any age; `Last-Modified` is when it was taken. With `max_age` an "
            "older one is 404 `no_picture`; 503 `pictures_busy` with Retry-After."
        ),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Relay it from the streaming role."""
        self._play.live(req, camera_id)
        query = query_of(req, PictureQuery)
        resp.data, taken_at = self._streaming.snapshot(
            camera_id,
            query.width,
            max_age_s=query.max_age,
            user_id=subject_of(req),
            request_id=name_request(req),
        )
        resp.content_type = JPEG
        if taken_at:
            resp.set_header("Last-Modified", taken_at)
        private(resp)
