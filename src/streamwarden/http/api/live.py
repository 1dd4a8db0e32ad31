"""Live HLS from the recorder's own files: where there is no WebRTC."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final
from uuid import UUID

import falcon

from streamwarden.http.api.answers import (
    SegmentNotFound,
    TokenQuery,
    file_headers,
    pass_on,
    read_answer,
)
from streamwarden.http.api.play import PLAYLIST_ANSWER, Playing
from streamwarden.http.api.play_access import private
from streamwarden.http.api.playlist import MEDIA_TYPE, Part, Playlist
from streamwarden.http.live import LiveModel
from streamwarden.http.media_files import FILE_ANSWERS, FILE_HEADERS
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.request_ids import name_request

_NAME: Final = re.compile(r"r\d{1,15}-\d{6,15}\.mp4", re.ASCII)


class LivePlaylist(Resource):
    """``GET /api/v1/camera/{camera_id}/live.m3u8``."""

    def __init__(self, playing: Playing) -> None:
        self._playing = playing

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
        allowed = self._playing.play.live(req, camera_id)
        found = read_answer(
            LiveModel, self._playing.streaming.live(camera_id, request_id=name_request(req))
        )
        resp.content_type = MEDIA_TYPE
        resp.text = _playlist(found).text(allowed.token)
        private(resp, cached="no-store")


class LiveFile(Resource):
    """``GET /api/v1/camera/{camera_id}/live/{name}``."""

    def __init__(self, playing: Playing) -> None:
        self._playing = playing

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
        """Pass it on from the streaming role."""
        self._playing.play.live(req, camera_id)
        if not _NAME.fullmatch(name):
            raise SegmentNotFound("there is no such file")
        found = self._playing.streaming.open_live(
            camera_id,
            name,
            method=req.method,
            headers=file_headers(req),
            request_id=name_request(req),
        )
        pass_on(req, resp, found)


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
