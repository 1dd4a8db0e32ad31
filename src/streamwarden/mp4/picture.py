"""The last picture of a fragmented MP4: its newest key frame, decoded by FFmpeg."""

from __future__ import annotations

import os
from typing import Final

from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import Fragment, FragmentScan

_MAX_BYTES: Final = 32 * 1024 * 1024
"""Of a fragment: a second at 250 Mbit/s."""


def newest_key_frame(fd: int) -> tuple[int, bytes] | None:
    """Return where a file's newest key frame is, and a file of its own that begins with it.

    None where there is none. Only the structure is read, and that one fragment.
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
    """Return the arguments that make a JPEG, at most ``width`` wide, of the MP4 on standard input."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-v", "error"),
        *("-protocol_whitelist", "pipe", "-threads", "1", "-f", "mp4", "-i", "pipe:0"),
        *("-map", "0:v:0", "-frames:v", "1"),
        *("-vf", f"scale='min({width},iw)':-2,format=yuvj420p", "-q:v", "4"),
        *("-f", "mjpeg", "pipe:1"),
    ]
