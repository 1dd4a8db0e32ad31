"""What ``recordings verify`` can find, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.storage.rows import Gap, Segment

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What is wrong at a place."""

    FILE_MISSING = "file_missing"
    FILE_CUT_SHORT = "file_cut_short"
    FILE_GROWN = "file_grown"
    BYTES_CHANGED = "bytes_changed"
    FILE_UNREADABLE = "file_unreadable"
    ROW_MISSING = "row_missing"
    SECOND_MISSING = "second_missing"
    SECOND_TWICE = "second_twice"
    GAP_LEFT_OPEN = "gap_left_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One place where disk, index and wishes disagree."""

    kind: Kind
    camera_id: UUID
    started_at: datetime
    ended_at: datetime | None
    path: str | None = None
    detail: str = ""
    segment: Segment | None = None
    gap: Gap | None = None

    def as_json(self) -> dict[str, object]:
        """Return the finding for scripts."""
        return {
            "kind": self.kind,
            "camera_id": str(self.camera_id),
            "started_at": rfc3339(self.started_at),
            "ended_at": self.ended_at and rfc3339(self.ended_at),
            "path": self.path,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is looked at, and how closely. ``decode`` plays a file and returns what was wrong."""

    from_: datetime = BEGINNING
    to: datetime
    digests: bool = True
    decode: Callable[[Path], str] | None = None
