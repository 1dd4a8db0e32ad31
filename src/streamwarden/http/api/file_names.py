"""What a saved file is called: by its camera and its time, safely on every file system."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

_RESERVED: Final = frozenset('/\\:*?"<>|%')
"""What a file system or a browser takes for something else (a percent sign for an escape)."""
_STEM_BYTES: Final = 180
"""File systems take 255 bytes; the times and the ending need 40 of them."""


def attachment(camera_name: str, from_: datetime, to: datetime, *, ending: str = "mp4") -> str:
    """Return the Content-Disposition of a file of this time (RFC 6266, with RFC 8187's filename*).

    A name in ASCII goes along for who reads no other.
    """
    span = f"{_stamp(from_)}-{_stamp(to)}.{ending}"
    stem = file_stem(camera_name)
    plain = file_stem(stem.encode("ascii", "ignore").decode())
    named = f'attachment; filename="{plain}-{span}"'
    return (
        named if plain == stem else f"{named}; filename*=UTF-8''{quote(f'{stem}-{span}', safe='')}"
    )


def file_stem(name: str) -> str:
    """Return ``name`` without what no file name should hold, or ``camera`` if nothing is left.

    Controls go too, among them those that turn the direction of text: a name must not hide its end.
    """
    kept = "".join(char if _is_safe(char) else " " for char in name)
    stem = "-".join(kept.split()).strip(".-")
    return stem.encode()[:_STEM_BYTES].decode(errors="ignore").rstrip(".-") or "camera"


def _is_safe(char: str) -> bool:
    return char not in _RESERVED and unicodedata.category(char)[0] != "C"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
