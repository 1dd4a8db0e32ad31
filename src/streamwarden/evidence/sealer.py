"""The sealer: signs a camera's segments and gaps, each exactly once, and the daily schedule for it.

The files of seals are the evidence; the table of seals in Postgres follows them. If a crash comes between
the two, the next seal first enters what only the files have (``docs/design/0012-verifiable-footage.md``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.clock import Clock, to_milliseconds
from streamwarden.config.settings import Settings
from streamwarden.errors import StreamwardenError, Unavailable, in_full
from streamwarden.evidence.seal_files import SealFiles, SealingFailed, orphan_seals
from streamwarden.evidence.seal_keys import SealKey
from streamwarden.evidence.seals import (
    GapEntry,
    Head,
    SealDraft,
    SegmentEntry,
    StoredSeal,
    decode_entries,
    entries_of,
    make_seal,
)
from streamwarden.metrics.recording_metrics import SealMetrics
from streamwarden.model import Gap, SealRow, Segment
from streamwarden.paths import parse_stored, segment_id
from streamwarden.recordings.verify import BEGINNING
from streamwarden.storage.pool import Database
from streamwarden.storage.seal_records import SealRepository
from streamwarden.storage.streams import PeriodRepository

log = structlog.get_logger(__name__)

SETTLED_AFTER: Final = timedelta(seconds=120)
"""``recordings.gap_ledger``: a late segment may be subtracted from a gap that ended this long ago."""

MOST_ROWS: Final = 5_000
"""Rows of a kind in one seal: a megabyte of entries."""

GRACE: Final = timedelta(minutes=5)
"""After midnight: segments that ended before it are stored by then, and their gaps settled."""

_AHEAD: Final = timedelta(hours=25)
"""Removal is announced this far ahead, so that the daily seal reaches to the next one."""

_SHARE: Final = 24
"""At most this share of the age of recordings is announced ahead."""

_FIRST_S: Final = 180.0
"""After the start: salvage and reconcile come first."""

_LOOK_EVERY_S: Final = 60.0
_STOP_WITHIN_S: Final = 5.0
_PAUSE_S: Final = 2.0


def sealer_of(
    settings: Settings,
    record_root: Path,
    key: SealKey,
    database: Database,
    clock: Clock,
    *,
    settled_after: timedelta = SETTLED_AFTER,
) -> Sealer:
    """Return the sealer of a record root and its index."""
    return Sealer(
        record_root=record_root,
        key=key,
        table=SealRepository(database),
        periods=PeriodRepository(database),
        clock=clock,
        keep_for=timedelta(days=settings.retention_days),
        settled_after=settled_after,
    )


@dataclass(frozen=True, slots=True)
class _Due:
    """The rows for the next seal; ``more``: there are others after them, for one more seal."""

    segments: Sequence[Segment]
    gaps: Sequence[Gap]
    before: datetime
    more: bool


class Sealer:
    """Makes seals. Any thread; a lock on the camera's files admits one at a time, of any process.

    ``keep_for`` is the retention time: removals by age are announced a day ahead.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        key: SealKey,
        table: SealRepository,
        periods: PeriodRepository,
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
        self._announced: dict[UUID, datetime] = {}
        self._to_announce: dict[UUID, datetime] = {}
        self._lock = threading.Lock()

    def cameras(self) -> list[UUID]:
        """Return the cameras that have something to seal; raises Unavailable."""
        return self._table.cameras()

    def seal(
        self, camera_id: UUID, before: datetime, *, go_on: Callable[[], bool] = lambda: True
    ) -> int:
        """Seal what began before ``before``, while ``go_on``; return the number of seals made.

        Raises:
            Unavailable: Postgres is unavailable. What was sealed is sealed.
            OSError: the disk refuses; no seal is written in part.
            SealingFailed: an existing seal cannot be read.
        """
        files, made = SealFiles(self._root, camera_id), 0
        with files.locked():
            head = self._enter_orphans(camera_id, files)
            while go_on() and (due := self._due(camera_id, before)) is not None:
                head = self._publish(files, self._draft(camera_id, due, head), head)
                made += 1
                if not due.more:
                    break
            if made and head is not None:
                files.drop_entries_until(head.removed_until)
        return made

    def announce(self, camera_id: UUID, until: datetime) -> None:
        """Sign that recordings that ended up to ``until`` may be deleted, before they are.

        Raises:
            Unavailable, OSError, SealingFailed: as ``seal``; the next seal then announces it.
        """
        with self._lock:
            announced = self._announced.get(camera_id)
            if announced is not None and until <= announced:
                return
            self._to_announce[camera_id] = max(until, self._to_announce.get(camera_id, until))
        files = SealFiles(self._root, camera_id)
        with files.locked():
            head = self._enter_orphans(camera_id, files)
            if head is not None and (head.removed_until or BEGINNING) < until:
                head = self._publish(files, self._removal(camera_id, head, until), head)
                files.drop_entries_until(head.removed_until)
            with self._lock:
                # Without a chain there is no statement that the removal could contradict.
                removed_until = None if head is None else head.removed_until
                self._announced[camera_id] = max(until, removed_until or until)

    # One camera, under its lock

    def _enter_orphans(self, camera_id: UUID, files: SealFiles) -> Head | None:
        """Return the head of the chain, after entering the seals that only the files have."""
        row = self._table.head(camera_id)
        head = None if row is None else _head_of(row)
        numbers = files.numbers()
        if head is not None and (not numbers or head.number not in numbers):
            log.error("seal_files_missing", camera=str(camera_id), number=head.number)
        for orphan in orphan_seals(files, numbers, head, self._key.public):
            self._enter(orphan)
            head = orphan.head
            log.warning("seal_made_up_for", camera=str(camera_id), number=head.number)
        return head

    def _due(self, camera_id: UUID, before: datetime) -> _Due | None:
        limit = MOST_ROWS + 1
        segments = self._table.unsealed_segments(camera_id, before, limit=limit)
        gaps = self._table.unsealed_gaps(camera_id, before, limit=limit)
        horizon = self._clock.now() - self._settled_after
        unsettled = [gap.started_at for gap in gaps if (gap.ended_at or horizon) > horizon]
        cut = [rows[MOST_ROWS].started_at for rows in (segments, gaps) if len(rows) > MOST_ROWS]
        before = min([before, *unsettled, *cut])
        due = _Due(
            segments=[row for row in segments if row.started_at < before],
            gaps=[row for row in gaps if row.started_at < before],
            before=before,
            more=bool(cut),
        )
        return due if due.segments or due.gaps else None

    def _draft(self, camera_id: UUID, due: _Due, head: Head | None) -> SealDraft:
        since = BEGINNING if head is None else head.until
        entries, until = entries_of(
            due.segments,
            due.gaps,
            self._periods.in_range(camera_id, since, due.before),
            since=since,
            before=due.before,
            open_gaps_end=due.before,
        )
        starts = [entry.started_at for entry in entries]
        return SealDraft(
            camera_id=camera_id,
            from_=min([*starts, until]) if head is None else head.until,
            until=until,
            entries=entries,
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
            to_announce = self._to_announce.get(camera_id, BEGINNING)
        announced = BEGINNING if head is None else head.removed_until or BEGINNING
        return max(to_milliseconds(by_age), to_announce, announced)

    def _publish(self, files: SealFiles, draft: SealDraft, head: Head | None) -> Head:
        sealed = make_seal(self._key, draft, after=head, signed_at=self._clock.now())
        files.publish(sealed)
        self._enter(sealed)
        log.info(
            "sealed",
            camera=str(draft.camera_id),
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
    """Return a segment's id, which its file's name determines."""
    place = Path(path)
    name = parse_stored(place.parent.name, place.name)
    if name is None:
        raise SealingFailed(f"{path} is no name of a stored segment")
    return segment_id(camera_id, name.run, name.number)


class SealSchedule:
    """Seals all cameras once a day: what began before midnight (UTC), once the index has all of it.

    Runs in a thread of its own. ``waiting_since`` returns since when a row has been waiting for the
    index, None for none.
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
        """Start the thread; it seals some minutes later."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the seal that is being made, and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)

    def announce(self, camera_id: UUID, until: datetime) -> None:
        """Sign a removal before it happens; retention does not wait for a failure here."""
        try:
            self._sealer.announce(camera_id, until)
        except (StreamwardenError, OSError) as error:
            self._note_failure(camera_id, error)

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

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._stopping.wait(wait_s):
            wait_s = _LOOK_EVERY_S
            try:
                self.attempt()
            except Unavailable as error:
                log.warning("sealing_waits_for_postgres", detail=in_full(error))
            except Exception:  # edge of a thread: the next attempt may succeed
                self._metrics.failed()
                log.exception("sealing_failed")

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
                # A camera that cannot be sealed does not keep the others.
                self._note_failure(camera_id, error)
                good = False
            else:
                self._metrics.made(made)
                self._failing.pop(camera_id, None)
            # Half of the time at most: sealing a thousand cameras must leave the core to recording.
            self._stopping.wait(min(_PAUSE_S, self._clock.monotonic() - began_s))
        return good and self._goes_on()

    def _goes_on(self) -> bool:
        return not self._stopping.is_set()

    def _note_failure(self, camera_id: UUID, error: Exception) -> None:
        """Count a failure, and log it once: retention comes back every few seconds."""
        self._metrics.failed()
        if self._failing.get(camera_id) != str(error):
            self._failing[camera_id] = str(error)
            log.error("sealing_failed", camera=str(camera_id), error=str(error))
