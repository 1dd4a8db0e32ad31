"""The newest key frame of a fragmented MP4, and FFmpeg's arguments to make a JPEG of it."""

from __future__ import annotations

import os
from typing import Final

from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import Fragment, FragmentScan

_MAX_BYTES: Final = 32 * 1024 * 1024
"""Maximum size of the fragment: one second at 250 Mbit/s."""


def newest_key_frame(fd: int) -> tuple[int, bytes] | None:
    """Return the offset of a file's newest fragment with a key frame, and an MP4 of that fragment alone.

    None if there is none. Of the media data only that fragment is read.
    """
    scan = FragmentScan()
    newest: Fragment | None = None
    try:
        for fragment in scan.advance(fd, os.fstat(fd).st_size):
            if fragment.key:
                newest = fragment
    except NotFragmentedMp4:
        return None
    if newest is None or newest.end - newest.start > _MAX_BYTES:
        return None
    header = os.pread(fd, scan.init_bytes, 0)
    return newest.start, header + os.pread(fd, newest.end - newest.start, newest.start)


def picture_argv(ffmpeg: str, width: int) -> list[str]:
    """Return the arguments that decode the MP4 on standard input to a JPEG of at most ``width`` pixels."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-v", "error"),
        *("-protocol_whitelist", "pipe", "-threads", "1", "-f", "mp4", "-i", "pipe:0"),
        *("-map", "0:v:0", "-frames:v", "1"),
        *("-vf", f"scale='min({width},iw)':-2,format=yuvj420p", "-q:v", "4"),
        *("-f", "mjpeg", "pipe:1"),
    ]
