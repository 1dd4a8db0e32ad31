"""``recordings reconcile``: mends what ``verify`` finds, and says what it cannot mend.

Whole files without a row are indexed; rows without a file are reported as lost and become a gap; a
second that is neither becomes a gap. Files that were changed are left as they are: nobody can say
what they were. Nothing is silently dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from streamwarden.app.verify import Finding, Kind, Scope, Verifier, camera_folders
from streamwarden.causes import Cause
from streamwarden.media.fmp4 import NotFragmentedMp4, summarise
from streamwarden.media.names import parse_stored, segment_id
from streamwarden.media.store import file_digest
from streamwarden.storage.gaps import GapRepository
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.rows import Gap, Segment
from streamwarden.storage.segments import SegmentRepository

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of a finding; ``how`` is empty when it could not be mended."""

    finding: Finding
    how: str = ""


class Reconciler:
    """Looks with a ``Verifier`` and mends."""

    def __init__(self, *, record_root: Path, database: Database, verifier: Verifier) -> None:
        self._root = record_root
        self._verifier = verifier
        self._segments = SegmentRepository(database)
        self._gaps = GapRepository(database)
        self._periods = PeriodRepository(database)

    def reconcile(self, camera_id: UUID, scope: Scope) -> Iterator[Mended]:
        """Mend one camera: first its files, then what is still not accounted for."""
        for finding in list(self._verifier.verify(camera_id, scope)):
            if finding.kind not in {Kind.SECOND_MISSING, Kind.SECOND_TWICE}:
                yield Mended(finding, self._mend(finding))
        for finding in list(self._verifier.verify(camera_id, scope)):
            if finding.kind is Kind.SECOND_MISSING and finding.ended_at is not None:
                self._add_gap(camera_id, finding.started_at, finding.ended_at, Cause.INTERNAL)
                yield Mended(finding, "entered in the ledger")
            elif finding.kind is Kind.SECOND_TWICE:
                yield Mended(finding, "")

    def _mend(self, finding: Finding) -> str:
        match finding.kind:
            case Kind.ROW_MISSING:
                return self._index(finding)
            case Kind.FILE_MISSING:
                return self._give_up(finding)
            case Kind.GAP_LEFT_OPEN:
                return self._close(finding)
            case _:
                return ""

    def _index(self, finding: Finding) -> str:
        row = self._row_of(self._root / str(finding.path), finding.camera_id)
        if row is None:
            return ""
        self._segments.insert_many([row])
        return "indexed"

    def _row_of(self, path: Path, camera_id: UUID) -> Segment | None:
        name = parse_stored(path.parent.name, path.name)
        owner = next(
            (f.owner for f in camera_folders(self._root) if f.path == path.parent.parent), None
        )
        if name is None or owner is None:
            return None
        try:
            media_ms = summarise(path).media_ms
        except (NotFragmentedMp4, OSError):
            return None
        ended_at = self._end_of(name.started_at, media_ms, camera_id)
        return Segment(
            id=segment_id(camera_id, name.run, name.number),
            camera_id=camera_id,
            owner=owner,
            run=name.run,
            number=name.number,
            started_at=name.started_at,
            ended_at=ended_at,
            media_ms=media_ms,
            size_bytes=path.stat().st_size,
            path=str(path.relative_to(self._root)),
            digest=file_digest(path),
        )

    def _end_of(self, started_at: datetime, media_ms: int, camera_id: UUID) -> datetime:
        """Return its media's end, or the start of what follows it closely: there it ended."""
        by_media = started_at + timedelta(milliseconds=media_ms)
        around = timedelta(seconds=2)
        first, last = by_media - around, by_media + around
        starts = [row.started_at for row in self._segments.in_range(camera_id, first, last)]
        starts += [gap.started_at for gap in self._gaps.in_range(camera_id, first, last)]
        following = [at for at in starts if first < at < last and at > started_at]
        return min(following, key=lambda at: abs(at - by_media), default=by_media)

    def _give_up(self, finding: Finding) -> str:
        row = finding.segment
        if row is None:
            return ""
        self._segments.mark_deleting([row.id])
        self._segments.delete([row.id])
        self._add_gap(row.camera_id, row.started_at, row.ended_at, Cause.FILE_LOST)
        return "lost: entered in the ledger"

    def _close(self, finding: Finding) -> str:
        gap = finding.gap
        if gap is None:
            return ""
        periods = self._periods.in_range(gap.camera_id, gap.started_at, END_OF_TIME)
        ends = [period.ended_at for period in periods if period.ended_at is not None]
        ended_at = max((end for end in ends if end > gap.started_at), default=gap.started_at)
        self._gaps.upsert_many([replace(gap, ended_at=ended_at)])
        return "closed where the wish ended"

    def _add_gap(
        self, camera_id: UUID, started_at: datetime, ended_at: datetime, cause: Cause
    ) -> None:
        gap = Gap(
            id=uuid4(), camera_id=camera_id, started_at=started_at, ended_at=ended_at, cause=cause
        )
        self._gaps.upsert_many([gap])
