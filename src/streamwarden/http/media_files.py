"""What a route that answers with a recording's file declares, here and behind the API."""

from __future__ import annotations

from collections.abc import Mapping

from streamwarden.http.operations import Answer, Media

VIDEO_MP4 = "video/mp4"

FILE_HEADERS: Mapping[str, str] = {
    "Range": "One range of bytes (RFC 9110, 14.2); several are answered with the whole file",
    "If-Range": "An entity tag or a date: the range counts only if it still matches",
    "If-None-Match": "An entity tag: 304 if it still matches",
}
FILE_ANSWERS: Mapping[int, Answer] = {
    200: Media(content_type=VIDEO_MP4, about="The whole file"),
    206: Media(content_type=VIDEO_MP4, about="The range asked for"),
    304: None,
}
