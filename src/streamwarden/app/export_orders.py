"""What an export is: its order, what it covers, and why one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from streamwarden.errors import InvalidInput, NotFound, Unavailable
from streamwarden.http.exports import OwnedExport, Stretch
from streamwarden.media.jobs import Job
from streamwarden.storage.rows import Segment

KEPT_FOR: Final = timedelta(days=1)
SEAM: Final = timedelta(seconds=1)

State = Literal["queued", "running", "done", "failed", "cancelled"]


class ExportNotFound(NotFound):
    """No such export of this camera, or no longer."""

    code = "export_not_found"


class ExportNotReady(NotFound):
    """The export has no file yet, or never will."""

    code = "export_not_ready"


class ProofNotAvailable(NotFound):
    """The export is done and has no proof: there is no key, or a source is not what was stored."""

    code = "proof_not_available"


class NothingRecorded(NotFound):
    """Nothing was recorded in the range."""

    code = "nothing_recorded"


class RangeTooLong(InvalidInput):
    """The range holds more than one export may."""

    code = "range_too_long"


class ExportsBusy(Unavailable):
    """Too many exports are waiting already."""

    code = "exports_busy"


class NoSpace(Unavailable):
    """The export would reach into the free space that is kept in reserve."""

    code = "no_space"


@dataclass(slots=True, kw_only=True)
class Export:
    """One order and how far it is; changed under its keeper's lock alone."""

    id: UUID
    camera_id: UUID
    user_id: str
    from_: datetime
    to: datetime
    created_at: datetime
    segments: Sequence[Segment]
    state: State = "queued"
    progress_ms: int = 0
    total_ms: int = 1
    size_bytes: int | None = None
    error: str | None = None
    job: Job | None = None
    said: bytes = b""
    proven: bool = False
    unproven: str = "nothing is signed here: no SEAL_KEY_FILE is set"
    covers: list[Stretch] = field(default_factory=list)

    @property
    def unfinished(self) -> bool:
        """Whether it is still to be made."""
        return self.state in {"queued", "running"}

    @property
    def needs_bytes(self) -> int:
        """Return how much of the disk it will still take, at most."""
        return sum(segment.size_bytes for segment in self.segments) if self.unfinished else 0


def without_overlap(segments: Sequence[Segment]) -> list[Segment]:
    """Leave out what another segment covers: runs overlap where one took over from another."""
    kept: list[Segment] = []
    for segment in segments:
        if kept and segment.run != kept[-1].run and segment.ended_at <= kept[-1].ended_at:
            continue
        kept.append(segment)
    return kept


def stretches(segments: Sequence[Segment], from_: datetime, to: datetime) -> list[Stretch]:
    """Return when there is something between ``from_`` and ``to``, without the seams."""
    found: list[tuple[datetime, datetime]] = []
    for segment in segments:
        started, ended = max(segment.started_at, from_), min(segment.ended_at, to)
        if found and started - found[-1][1] < SEAM:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((started, ended))
    return [Stretch(**{"from": started, "to": ended}) for started, ended in found]


def shown(export: Export) -> OwnedExport:
    """Return an export as HTTP shows it."""
    done = export.state == "done"
    return OwnedExport(
        id=export.id,
        state=export.state,
        progress=1.0 if done else round(min(0.99, export.progress_ms / export.total_ms), 3),
        **{"from": export.from_, "bytes": export.size_bytes},
        to=export.to,
        error=export.error,
        proven=export.proven and done,
        created_at=export.created_at,
        expires_at=export.created_at + KEPT_FOR,
        covers=export.covers,
        user_id=export.user_id,
    )
