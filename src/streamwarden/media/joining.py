"""Many segments made one MP4, without decoding anything: FFmpeg's concat demuxer and a plain muxer.

What is left out at both ends ends at a fragment that begins with a key frame, so every frame of the
result can be decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamwarden.media.beneath import open_plain
from streamwarden.media.fmp4 import FragmentScan, NotFragmentedMp4

_SLACK_MS: Final = 100
"""FFmpeg seeks to the key frame at or before a time; sound that begins first sets the picture's times
back by a frame of sound, 64 ms at 16 kHz, and the key frame meant would come just after."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file and which milliseconds of its media are taken."""

    path: Path
    from_ms: int
    to_ms: int

    @property
    def media_ms(self) -> int:
        """How long it plays."""
        return self.to_ms - self.from_ms


def piece_of(path: Path, *, from_ms: int, to_ms: int) -> Piece | None:
    """Return what of ``path`` plays from ``from_ms`` to ``to_ms``, widened to key frames.

    None where the file is gone or holds nothing of it.
    """
    try:
        fd = open_plain(path)
    except OSError:
        return None
    try:
        return _piece(path, fd, from_ms, to_ms)
    except NotFragmentedMp4:
        return None
    finally:
        os.close(fd)


def _piece(path: Path, fd: int, from_ms: int, to_ms: int) -> Piece | None:
    begin = at = 0
    for fragment in FragmentScan().advance(fd, os.fstat(fd).st_size):
        if fragment.key and at <= from_ms:
            begin = at
        if at >= to_ms:
            break
        at += fragment.media_ms
    return Piece(path, begin, at) if at > max(begin, from_ms) else None


def concat_list(pieces: Iterable[Piece]) -> str:
    """Return the list that FFmpeg's concat demuxer reads."""
    lines = ["ffconcat version 1.0"]
    for piece in pieces:
        quoted = str(piece.path).replace("'", "'\\''")
        lines.append(f"file 'file:{quoted}'")
        begin_ms = piece.from_ms + _SLACK_MS if piece.from_ms else 0
        if begin_ms:
            lines.append(f"inpoint {begin_ms / 1000:.3f}")
        lines.append(f"outpoint {(piece.to_ms + _SLACK_MS) / 1000:.3f}")
        lines.append(f"duration {(piece.to_ms - begin_ms) / 1000:.3f}")
    return "\n".join(lines) + "\n"


def joining_argv(ffmpeg: str, listed: str, target: str) -> Sequence[str]:
    """Return the arguments that join what ``listed`` names into ``target``, and tell the progress."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y"),
        *("-progress", "pipe:1", "-protocol_whitelist", "file"),
        *("-f", "concat", "-safe", "0", "-i", listed),
        *("-map", "0:v:0", "-map", "0:a:0?", "-c", "copy"),
        *("-movflags", "+faststart", "-f", "mp4", target),
    ]


def progress_ms(said: bytes) -> int | None:
    """Return how far FFmpeg has come by the last whole line of its progress that says so."""
    for line in reversed(said.splitlines()):
        name, _, value = line.partition(b"=")
        if name == b"out_time_us" and value.strip().isdigit():
            return int(value) // 1000
    return None
