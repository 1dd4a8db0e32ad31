"""What was recorded and what is missing over all cameras, for those who operate them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from streamwarden.storage.pool import Database
from streamwarden.storage.sql import load_queries

_SQL = load_queries("coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Seconds and bytes in segments; seconds count twice where one run took over from another."""

    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Seconds that were wanted and not recorded, for one cause."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    status: str
    cameras: int


class CoverageRepository:
    """Sums over recent time, by index; a day of 500 cameras takes about a second: keep the answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recorded(self, since: datetime) -> Recorded:
        """Return what was recorded since ``since``."""
        found = self._database.fetch_one(_SQL["recorded"], {"since": since}, row=Recorded)
        return found or Recorded(seconds=0.0, size_bytes=0)

    def missing(self, since: datetime, now: datetime) -> list[Missing]:
        """Return what is missing since ``since``, the gravest cause first; open gaps count to now."""
        return self._database.fetch_all(_SQL["missing"], {"since": since, "now": now}, row=Missing)

    def oldest(self) -> datetime | None:
        """Return when the oldest segment ended."""
        (found, *_) = [*self._database.fetch_values(_SQL["oldest"]), None]
        return found if isinstance(found, datetime) else None

    def cameras(self) -> dict[str, int]:
        """Return how many cameras there are of each status."""
        rows = self._database.fetch_all(_SQL["cameras"], row=_Count)
        return {row.status: row.cameras for row in rows}
