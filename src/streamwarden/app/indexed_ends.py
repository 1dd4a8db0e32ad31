"""Where stored segments end by their rows: what a ledger that was lost is made again from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.storage.journal import Journal
from streamwarden.storage.rows import Segment

log = structlog.get_logger(__name__)

_LOOKED_AT: Final = 1_000
_QUIET_S: Final = 60.0
"""An index that has not answered is not asked for this long: recording waits for it once, not for
each of hundreds of cameras."""


class Segments(Protocol):
    """The table of segments."""

    def get(self, camera_id: UUID, segment_id: UUID, /) -> Segment | None:
        """Return the segment."""


class IndexedEnds:
    """Asks the journal, then the index. Blocking, a few seconds at most. Any thread."""

    def __init__(self, *, journal: Journal, segments: Segments, clock: Clock) -> None:
        self._journal = journal
        self._segments = segments
        self._clock = clock
        self._ask_at_s = clock.monotonic()

    def end_of(self, camera_id: UUID, segment_id: UUID) -> datetime | None:
        """Return where a segment ends; None where no row is known, or Postgres is away."""
        rows = self._rows(camera_id, segment_id)
        return next((row.ended_at for row in rows if row.id == segment_id), None)

    def _rows(self, camera_id: UUID, segment_id: UUID) -> Iterator[Segment]:
        # In the order in which a row moves, so that it is seen at least once.
        for entry in self._journal.take(_LOOKED_AT).entries:
            if isinstance(entry, Segment):
                yield entry
        if self._clock.monotonic() < self._ask_at_s:
            return
        try:
            row = self._segments.get(camera_id, segment_id)
        except Unavailable as error:
            self._ask_at_s = self._clock.monotonic() + _QUIET_S
            log.warning("ends_by_media", reason=str(error))
            return
        if row is not None:
            yield row
