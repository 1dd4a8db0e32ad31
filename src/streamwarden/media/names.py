"""Names of folders and files under the record root; no value can leave its folder or meet another.

Layout: ``{owner}/{camera_id}/{YYYY-MM-DD}/{HHMMSS.mmm}Z-r{run}-{number}.mp4``, and in progress
``{owner}/{camera_id}/.live/r{run}-{number}.mp4``. All times are UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from streamwarden.owners import encode_owner

LIVE: Final = ".live"
STATE: Final = ".streamwarden"
"""streamwarden's own folder in the record root. No owner's folder begins with a dot."""

# Numbers are bounded, so that no line or name of any length can be a number that overflows.
_STORED: Final = re.compile(r"(\d{6})\.(\d{3})Z-r(\d{1,15})-(\d{1,15})\.mp4", re.ASCII)
_LIVE_NAME: Final = re.compile(r"r(\d{1,15})-(\d{6,15})\.mp4", re.ASCII)


def camera_folder(record_root: Path, owner: str, camera_id: UUID) -> Path:
    """Return where a camera's recordings are."""
    return record_root / encode_owner(owner) / str(camera_id)


def live_pattern(run: int) -> str:
    """Return the segment muxer's file name pattern: relative, and the only ``%`` is its own."""
    return f"r{run}-%06d.mp4"


def live_name(run: int, number: int) -> str:
    """Return the name of a segment in progress."""
    return f"r{run}-{number:06d}.mp4"


def parse_live(name: str) -> tuple[int, int] | None:
    """Return run and number of a file in ``.live``, or None for a stranger's file."""
    hit = _LIVE_NAME.fullmatch(name)
    if hit is None or live_name(int(hit[1]), int(hit[2])) != name:
        # A name that we do not give, such as r01-000001.mp4, would be taken for another file.
        return None
    return int(hit[1]), int(hit[2])


def stored_name(started_at: datetime, run: int, number: int) -> str:
    """Return a stored segment's path below its camera's folder."""
    utc = started_at.astimezone(UTC)
    return f"{utc:%Y-%m-%d}/{utc:%H%M%S}.{utc.microsecond // 1000:03d}Z-r{run}-{number}.mp4"


def segment_id(camera_id: UUID, run: int, number: int) -> UUID:
    """Return a segment's id: always the same, also when its row is made again from its file."""
    return uuid5(camera_id, f"{run}-{number}")


@dataclass(frozen=True, slots=True)
class StoredName:
    """What a stored segment's name says."""

    started_at: datetime
    run: int
    number: int


def parse_stored(day: str, name: str) -> StoredName | None:
    """Return what a stored segment's folder and file name say, or None for a stranger's file."""
    hit = _STORED.fullmatch(name)
    if hit is None:
        return None
    try:
        started_at = datetime.strptime(f"{day} {hit[1]} {hit[2]}000Z", "%Y-%m-%d %H%M%S %f%z")
    except ValueError:
        return None
    stored = StoredName(started_at, int(hit[3]), int(hit[4]))
    given = stored_name(stored.started_at, stored.run, stored.number)
    return stored if given == f"{day}/{name}" else None
