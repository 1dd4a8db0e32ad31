"""Plays a file to nowhere, and says what was wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

_AT_MOST_S: Final = 600.0
_SHOWN_CHARS: Final = 200


def decode(ffmpeg: str, path: Path) -> str:
    """Decode every frame of ``path``; return what FFmpeg complained of, or an empty text."""
    argv = [ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-xerror"]
    argv += ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    # After a jump of the camera's time stamps pictures lie closer together than a frame. That is no
    # damage; but rounded to the frame rate they would meet, and FFmpeg would complain.
    argv += ["-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-f", "null", "-"]
    try:
        played = subprocess.run(  # noqa: S603 - our own argument list, no shell
            argv, capture_output=True, check=False, timeout=_AT_MOST_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"not decoded within {_AT_MOST_S:.0f} s"
    said = played.stderr.decode("utf-8", "replace").strip()
    if played.returncode == 0 and not said:
        return ""
    return said[-_SHOWN_CHARS:] or f"FFmpeg ended with code {played.returncode}"
