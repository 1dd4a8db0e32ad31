"""Seals footage: signs what is stored and what is missing, camera by camera, each row exactly once.

The files are the evidence, and Postgres follows them: a crash between the two is made up for from the
files before the next seal (``docs/design/0012-verifiable-footage.md``).


Keeps the chains of seals: a thread of its own, once a day, off the path of every recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import structlog

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.config.settings import Settings
from streamwarden.errors import StreamwardenError, Unavailable
from streamwarden.evidence.seal_files import SealFiles, SealingFailed, orphan_seals
from streamwarden.evidence.seal_keys import SealKey
from streamwarden.evidence.seals import (
    Entry,
    GapEntry,
    Head,
    SealDraft,
    SegmentEntry,
    StoredSeal,
    account_ends,
    decode_entries,
    gap_entry,
    make_seal,
    segment_entry,
    wanted_entries,
    wanted_spans,
)
from streamwarden.metrics.recording_metrics import SealMetrics
from streamwarden.model import Gap, SealRow, Segment, WantedPeriod
from streamwarden.paths import parse_stored, segment_id
from streamwarden.recordings.verify import BEGINNING, Span
from streamwarden.storage.pool import Database
from streamwarden.storage.seal_records import SealRepository
from streamwarden.storage.streams import PeriodRepository

log = structlog.get_logger(__name__)


SETTLED_AFTER: Final = timedelta(seconds=120)
"""``actors.ledger``: a late segment takes the place of a gap that ended at most so long ago."""


MOST_ROWS: Final = 5_000
"""Of a kind in one seal: a megabyte of entries."""


_AHEAD: Final = timedelta(hours=25)
"""Removal is announced so far ahead, so that the daily seal reaches to the next one."""


_SHARE: Final = 24


class SealTable(Protocol):
    """The table of seals, and what is not sealed yet; raises Unavailable."""

    def head(self, camera_id: UUID) -> SealRow | None:
        """Return the camera's newest seal."""

    def cameras(self) -> list[UUID]:
        """Return the cameras that have something to seal."""

    def unsealed_segments(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Segment]:
        """Return segments to seal."""

    def unsealed_gaps(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Gap]:
        """Return gaps to seal."""

    def enter(
        self, row: SealRow, *, segments: Mapping[UUID, bytes | None], gaps: Collection[UUID]
    ) -> None:
        """Enter a seal and mark what it speaks of."""


class Periods(Protocol):
    """When cameras were wanted."""

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[WantedPeriod]:
        """Return the periods that overlap a range."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the next seal is to speak of; ``more``: and there is more behind it."""

    segments: Sequence[Segment]
    gaps: Sequence[Gap]
    before: datetime
    more: bool


class Sealer:
    """Makes seals. Any thread; one camera is sealed by one at a time.

    ``keep_for`` is retention's age: what it reaches within a day is announced ahead.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        key: SealKey,
        table: SealTable,
        periods: Periods,
        clock: Clock,
        keep_for: timedelta,
        settled_after: timedelta = SETTLED_AFTER,
    ) -> None:
        self._root = record_root
        self._key = key
        self._table = table
        self._periods = periods
        self._clock = clock
        self._keep_for = keep_for
        self._settled_after = settled_after
        self._said: dict[UUID, datetime] = {}
        self._owed: dict[UUID, datetime] = {}
        self._lock = threading.Lock()

    def cameras(self) -> list[UUID]:
        """Return the cameras that have something to seal; raises Unavailable."""
        return self._table.cameras()

    def seal(
        self, camera_id: UUID, before: datetime, *, go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Seal what began before ``before``, while ``go_on``; return how many seals that made.

        Raises:
            Unavailable: Postgres is away. What was sealed is sealed.
            OSError: the disk refuses; nothing is half sealed.
            SealingFailed: a seal that is there cannot be read.
        """
        files, made = SealFiles(self._root, camera_id), 0
        with files.locked():
            head = self._caught_up(camera_id, files)
            while go_on() and (found := self._next(camera_id, before)) is not None:
                head = self._publish(files, self._stretch(camera_id, found, head), head)
                made += 1
                if not found.more:
                    break
            if made and head is not None:
                files.drop_entries_until(head.removed_until)
        return made

    def announce(self, camera_id: UUID, until: datetime) -> None:
        """Sign that what ended up to ``until`` may be gone, before it goes; nothing if that is said.

        Raises:
            Unavailable, OSError, SealingFailed: as ``seal``; the next seal says it then.
        """
        with self._lock:
            said = self._said.get(camera_id)
            if said is not None and until <= said:
                return
            self._owed[camera_id] = max(until, self._owed.get(camera_id, until))
        files = SealFiles(self._root, camera_id)
        with files.locked():
            head = self._caught_up(camera_id, files)
            if head is not None and (head.removed_until or BEGINNING) < until:
                head = self._publish(files, self._removal(camera_id, head, until), head)
                files.drop_entries_until(head.removed_until)
            with self._lock:
                # Without a chain nothing was promised, and there is nothing to take back.
                said = None if head is None else head.removed_until
                self._said[camera_id] = max(until, said or until)

    # One camera, under its lock

    def _caught_up(self, camera_id: UUID, files: SealFiles) -> Head | None:
        """Return the head, after telling Postgres of seals that it does not know."""
        row = self._table.head(camera_id)
        head = None if row is None else _head_of(row)
        there = files.numbers()
        if head is not None and (not there or there[-1] < head.number):
            log.error("seal_files_missing", camera=str(camera_id), number=head.number)
        for sealed in orphan_seals(files, there, head, self._key.public):
            self._enter(sealed)
            head = sealed.head
            log.warning("seal_made_up_for", camera=str(camera_id), number=head.number)
        return head

    def _next(self, camera_id: UUID, before: datetime) -> _Found | None:
        limit = MOST_ROWS + 1
        segments = self._table.unsealed_segments(camera_id, before, limit=limit)
        gaps = self._table.unsealed_gaps(camera_id, before, limit=limit)
        horizon = self._clock.now() - self._settled_after
        unsettled = [gap.started_at for gap in gaps if (gap.ended_at or horizon) > horizon]
        cut = [rows[MOST_ROWS].started_at for rows in (segments, gaps) if len(rows) > MOST_ROWS]
        before = min([before, *unsettled, *cut])
        found = _Found(
            segments=[row for row in segments if row.started_at < before],
            gaps=[row for row in gaps if row.started_at < before],
            before=before,
            more=bool(cut),
        )
        return found if found.segments or found.gaps else None

    def _stretch(self, camera_id: UUID, found: _Found, head: Head | None) -> SealDraft:
        entries: list[Entry] = [segment_entry(row) for row in found.segments]
        entries += [gap_entry(gap, still_open=found.before) for gap in found.gaps]
        known = [Span(entry.started_at, entry.ended_at) for entry in entries]
        since = BEGINNING if head is None else head.until
        periods = self._periods.in_range(camera_id, since, found.before)
        wanted = wanted_spans(periods, since, found.before)
        until = max(since, account_ends(wanted, known, found.before))
        starts = [span.started_at for span in (*wanted, *known)]
        return SealDraft(
            camera_id=camera_id,
            from_=min([*starts, until]) if head is None else head.until,
            until=until,
            entries=[*entries, *wanted_entries(wanted, until)],
            removed_until=self._removed_until(camera_id, head),
        )

    def _removal(self, camera_id: UUID, head: Head, until: datetime) -> SealDraft:
        age = max(timedelta(), self._clock.now() - until)
        ahead = to_milliseconds(until + min(_AHEAD, age / _SHARE))
        removed_until = max(ahead, self._removed_until(camera_id, head))
        return SealDraft(
            camera_id=camera_id,
            from_=head.until,
            until=head.until,
            entries=(),
            removed_until=removed_until,
        )

    def _removed_until(self, camera_id: UUID, head: Head | None) -> datetime:
        by_age = self._clock.now() - self._keep_for + min(_AHEAD, self._keep_for / _SHARE)
        with self._lock:
            owed = self._owed.get(camera_id, BEGINNING)
        said = BEGINNING if head is None else head.removed_until or BEGINNING
        return max(to_milliseconds(by_age), owed, said)

    def _publish(self, files: SealFiles, stretch: SealDraft, head: Head | None) -> Head:
        sealed = make_seal(self._key, stretch, after=head, signed_at=self._clock.now())
        files.publish(sealed)
        self._enter(sealed)
        log.info(
            "sealed",
            camera=str(stretch.camera_id),
            number=sealed.seal.number,
            entries=sealed.seal.entries,
            hash=sealed.signed.hash.hex(),
        )
        return sealed.head

    def _enter(self, sealed: StoredSeal) -> None:
        entries = decode_entries(sealed.body)
        camera_id, head = sealed.seal.camera_id, sealed.head
        row = SealRow(
            camera_id=camera_id,
            number=head.number,
            hash=head.hash,
            until=head.until,
            removed_until=head.removed_until,
            statement=sealed.signed.statement.decode(),
            signature=sealed.signed.signature,
        )
        segments = [entry for entry in entries if isinstance(entry, SegmentEntry)]
        digests = {_id_of(camera_id, entry.path): entry.digest for entry in segments}
        gaps = [entry.id for entry in entries if isinstance(entry, GapEntry)]
        self._table.enter(row, segments=digests, gaps=gaps)


def _head_of(row: SealRow) -> Head:
    return Head(number=row.number, hash=row.hash, until=row.until, removed_until=row.removed_until)


def _id_of(camera_id: UUID, path: str) -> UUID:
    """Return a segment's id, which its name has in it."""
    place = Path(path)
    name = parse_stored(place.parent.name, place.name)
    if name is None:
        raise SealingFailed(f"{path} is no name of a stored segment")
    return segment_id(camera_id, name.run, name.number)


GRACE: Final = timedelta(minutes=5)
"""After midnight: what ended before it has been stored, its gaps have settled."""


_FIRST_S: Final = 180.0
"""After the start: what it salvages and reconciles goes first."""


_LOOK_EVERY_S: Final = 60.0


_STOP_WITHIN_S: Final = 5.0


_REST_S: Final = 2.0


def sealer_of(
    settings: Settings,
    record_root: Path,
    key: SealKey,
    database: Database,
    clock: Clock,
    *,
    settled_after: timedelta = SETTLED_AFTER,
) -> Sealer:
    """Return a sealer of this record root."""
    return Sealer(
        record_root=record_root,
        key=key,
        table=SealRepository(database),
        periods=PeriodRepository(database),
        clock=clock,
        keep_for=timedelta(days=settings.retention_days),
        settled_after=settled_after,
    )


class SealSchedule:
    """Seals what began before the last midnight (UTC), as soon as the index has all of it.

    ``waiting_since`` says since when a row waits for the index, None for none.
    """

    def __init__(
        self,
        *,
        sealer: Sealer,
        waiting_since: Callable[[], datetime | None],
        clock: Clock,
        metrics: SealMetrics,
    ) -> None:
        self._sealer = sealer
        self._waiting_since = waiting_since
        self._clock = clock
        self._metrics = metrics
        self._done: datetime | None = None
        self._failing: dict[UUID, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seals", daemon=True)

    def start(self) -> None:
        """Begin, in a while."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the seal that is being made, and make no other."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)

    def attempt(self) -> bool:
        """Seal what is due; return whether all of it is sealed, or none was due."""
        now = self._clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self._done is not None and self._done >= midnight:
            return True
        waiting = self._waiting_since()
        if now < midnight + GRACE or (waiting is not None and waiting < midnight + GRACE):
            return False
        if not self._seal_all(midnight):
            return False
        self._done = midnight
        self._metrics.sealed_until(midnight.timestamp())
        return True

    def announce(self, camera_id: UUID, until: datetime) -> None:
        """Sign a removal before it happens; if that fails, retention goes on all the same."""
        try:
            self._sealer.announce(camera_id, until)
        except (StreamwardenError, OSError) as error:
            self._note_failure(camera_id, error)

    def _seal_all(self, midnight: datetime) -> bool:
        good = True
        for camera_id in self._sealer.cameras():
            if not self._goes_on():
                return False
            began_s = self._clock.monotonic()
            try:
                made = self._sealer.seal(camera_id, midnight, go_on=self._goes_on)
            except Unavailable:
                raise
            except (StreamwardenError, OSError) as error:
                # One camera's trouble is not the others'.
                self._note_failure(camera_id, error)
                good = False
            else:
                self._metrics.made(made)
                self._failing.pop(camera_id, None)
            # Half of the time at most: a thousand cameras must not keep a core from what records.
            self._stopping.wait(min(_REST_S, self._clock.monotonic() - began_s))
        return good and self._goes_on()

    def _goes_on(self) -> bool:
        return not self._stopping.is_set()

    def _note_failure(self, camera_id: UUID, error: Exception) -> None:
        """Count it, and say it once: retention comes back every few seconds."""
        self._metrics.failed()
        if self._failing.get(camera_id) != str(error):
            self._failing[camera_id] = str(error)
            log.error("sealing_failed", camera=str(camera_id), error=str(error))

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._stopping.wait(wait_s):
            wait_s = _LOOK_EVERY_S
            try:
                self.attempt()
            except Unavailable as error:
                log.warning("sealing_waits_for_postgres", detail=str(error))
            except Exception:  # edge of a thread: the next attempt may succeed
                self._metrics.failed()
                log.exception("sealing_failed")
