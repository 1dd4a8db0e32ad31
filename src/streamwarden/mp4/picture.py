"""The newest key frame of a fragmented MP4, and FFmpeg's arguments to make a JPEG of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import Fragment, FragmentScan

_MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of the fragment: one second at 250 Mbit/s."""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A key frame: its fragment's offset, an MP4 of that alone, and how long before the end it is."""

    offset: int
    mp4: bytes
    before_end_ms: int


def newest_key_frame(fd: int) -> KeyFrame | None:
    """Return a file's newest key frame, None if there is none.

    Of the media data only its fragment is read.
    """
    scan = FragmentScan()
    newest: Fragment | None = None
    before_end_ms = 0
    try:
        for fragment in scan.advance(fd, os.fstat(fd).st_size):
            if fragment.key:
                newest, before_end_ms = fragment, 0
            before_end_ms += fragment.media_ms
    except NotFragmentedMp4:
        return None
    if newest is None or newest.end - newest.start > _MAX_BYTES:
        return None
    header = os.pread(fd, scan.init_bytes, 0)
    mp4 = header + os.pread(fd, newest.end - newest.start, newest.start)
    return KeyFrame(newest.start, mp4, before_end_ms)


def picture_argv(ffmpeg: str, width: int) -> list[str]:
    """Return the arguments that decode the MP4 on standard input to a JPEG of at most ``width`` pixels."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-v", "error"),
        *("-protocol_whitelist", "pipe", "-threads", "1", "-f", "mp4", "-i", "pipe:0"),
        *("-map", "0:v:0", "-frames:v", "1"),
        *("-vf", f"scale='min({width},iw)':-2,format=yuvj420p", "-q:v", "4"),
        *("-f", "mjpeg", "pipe:1"),
    ]
