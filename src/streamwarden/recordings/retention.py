"""Retention: which recordings are deleted when, and the deletion itself.

What is too old, and whether a quota is in force yet, is in ``deletion_rules``; the reserve deletes at once.
Deletion takes the steps of storing in reverse: mark the row, unlink the file, sync the folder, delete the
row. A crash in between leaves a marked row, and the next sweep continues from it. Files in progress have
no row and are never touched. Whatever the reason why the index cannot be asked or changed,
``offline_retention`` deletes what the reserve needs, by the names of the files.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.age_clock import read_clocks
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable, in_full
from streamwarden.model import Segment, Usage
from streamwarden.paths import has_no_symlink, parse_stored
from streamwarden.recordings.camera_shares import most_beyond
from streamwarden.recordings.deletion_rules import (
    DeletionRules,
    DeletionRulesFile,
    Rules,
    Wait,
    first_rules,
    size_in_words,
)
from streamwarden.recordings.durable import free_bytes, free_space_of
from streamwarden.recordings.offline_retention import OfflineRetention, tidy_folders
from streamwarden.recordings.root_identity import RootNotKnown
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository

log = structlog.get_logger(__name__)

BATCH: Final = 200

FORGET_EVERY: Final = timedelta(hours=1)

_USAGE_AT_MOST_S: Final = 300.0

FLOOD: Final = 4
"""How many times the rate of the others is a flood."""

STUCK_AT_MOST: Final = 20
"""Up to this many files that cannot be unlinked are passed over; more are a fault of the disk."""


class DeletionReason(StrEnum):
    """The limits that delete segments."""

    AGE = "age"
    CAMERA_QUOTA = "camera_quota"
    TOTAL_QUOTA = "total_quota"
    RESERVE = "reserve"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """The age and the sizes that recordings are kept to."""

    keep_for: timedelta
    reserve_bytes: int
    reserve_inodes: int = 0
    total_bytes: int | None = None
    camera_bytes: int | None = None
    floor: timedelta = timedelta()
    """What is younger is not deleted for the reserve."""

    @property
    def rules(self) -> Rules:
        """The limits that come into force only after a wait."""
        return Rules(
            keep_for=self.keep_for,
            total_bytes=self.total_bytes,
            camera_bytes=self.camera_bytes,
        )

    def in_words(self) -> str:
        """Return the limits as a sentence."""
        reserve = size_in_words(self.reserve_bytes)
        parts = [
            f"recordings older than {self.keep_for.days} days are deleted",
            f"others as well while less than {reserve} of the disk is free",
            "first those of cameras beyond their share",
        ]
        if self.floor > timedelta():
            parts[-1] += f", none younger than {self.floor.total_seconds() / 3600:g} h"
        if self.total_bytes is not None:
            parts.append(f"or all take more than {size_in_words(self.total_bytes)}")
        if self.camera_bytes is not None:
            parts.append(f"or one camera's take more than {size_in_words(self.camera_bytes)}")
        return ", ".join(parts)


_WRITTEN_EVERY_S: Final = 60.0

_SAID_EVERY_S: Final = 86_400.0


class RulesInForce:
    """The rules of deletion by the present clocks, kept on disk, logged and metered.

    ``known`` returns a time that has passed for certain, for a record root without a state. ``current`` and
    ``judged`` are called by retention's one thread, ``waits`` and ``now`` by any.
    """

    def __init__(
        self,
        *,
        file: DeletionRulesFile,
        limits: Rules,
        grace: timedelta,
        known: Callable[[], datetime | None],
        clock: Clock,
        on_waits: Callable[[Collection[Wait]], None],
        on_floor: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.grace = grace
        self._file = file
        self._limits = limits
        self._clock = clock
        self._on_waits = on_waits
        self._on_floor = on_floor
        self.at_floor = False
        """Whether the reserve lacks space that only the youngest recordings could give."""
        self._written_s: float | None = None
        self._said: dict[str, float] = {}
        self._known = known
        self._rules: DeletionRules | None = None
        """None until the first sweep: before, the record root may not be the known one."""

    def current(self) -> DeletionRules:
        """Return the rules as of now, once what an operator has confirmed is taken."""
        reading = read_clocks(self._clock)
        before = self._rules or self._file.read()
        before = before or first_rules(self._limits, reading, self._known())
        rules = before.moved_on(self._limits, reading, self.grace)
        try:
            confirmed = self._file.take_confirmed()
        except OSError as error:
            log.warning("retention_state_not_read", error=error.strerror)
            confirmed = []
        if confirmed:
            rules = rules.confirmed(confirmed, reading)
            log.warning("retention_confirmed", reasons=[wait.reason for wait in confirmed])
        return self._keep(rules)

    def judged(self, expired: int, segments: int) -> DeletionRules:
        """Return the rules once it is known how many of the segments are too old."""
        rules = self._rules or self.current()
        return self._keep(rules.judged(expired, segments, self.grace))

    def waits(self) -> tuple[Wait, ...]:
        """Return what waits."""
        return () if self._rules is None else self._rules.waits()

    def now(self) -> datetime:
        """Return the time by which ages are reckoned; it is not ahead of the wall clock.

        Raises:
            Unavailable: retention has not begun, so the time is not known.
        """
        if self._rules is None:
            raise Unavailable("retention has not begun")
        reading, clock = read_clocks(self._clock), self._rules.clock
        passed = timedelta(seconds=clock.passed_s(reading))
        return min(reading.wall, clock.low + passed)

    def aged(self, age: timedelta) -> datetime:
        """Return the date before which footage is older than ``age``; no clock that is set moves it.

        Raises:
            Unavailable: retention has not begun, so the time is not known.
        """
        if self._rules is None:
            raise Unavailable("retention has not begun")
        clock = self._rules.clock
        return clock.low + timedelta(seconds=clock.passed_s(read_clocks(self._clock))) - age

    def note_floor(self, reached: bool, missing_bytes: int = 0) -> None:  # noqa: FBT001 - the one value of a gauge
        """Log and meter whether the reserve lacks space that only recordings of the floor could give."""
        if reached and not self.at_floor:
            log.error("retention_floor_reached", missing_bytes=max(0, missing_bytes))
        elif self.at_floor and not reached:
            log.info("retention_floor_left")
        self.at_floor = reached
        self._on_floor(reached)

    def _keep(self, rules: DeletionRules) -> DeletionRules:
        changed = self._rules is None or rules.settled() != self._rules.settled()
        self._rules = rules
        self._say(rules.waits())
        now_s = self._clock.monotonic()
        if changed or self._written_s is None or now_s - self._written_s > _WRITTEN_EVERY_S:
            try:
                self._file.write(rules)
            except OSError as error:
                # A full disk must not keep the reserve from being freed.
                log.warning("retention_state_not_written", error=error.strerror)
            self._written_s = now_s
        return rules

    def _say(self, waits: Collection[Wait]) -> None:
        """Log what waits, at first and once a day, and what no longer does."""
        self._on_waits(waits)
        now_s, said = self._clock.monotonic(), self._said
        self._said = {}
        for wait in waits:
            said_s = said.get(wait.reason)
            if said_s is None or now_s - said_s >= _SAID_EVERY_S:
                left_s = max(0.0, self.grace.total_seconds() - wait.waited_s)
                log.warning(
                    "retention_waits",
                    reason=wait.reason,
                    value=wait.value,
                    goes_on_in_s=round(left_s),
                    confirm="streamwarden retention confirm",
                )
                said_s = now_s
            self._said[wait.reason] = said_s
        for reason in said.keys() - self._said.keys():
            log.info("retention_goes_on", reason=reason)


class ReckonedClock(Clock):
    """The clocks of a machine, with the time by which ages are reckoned as the wall clock."""

    def __init__(self, clock: Clock, rules: RulesInForce) -> None:
        self._clock = clock
        self._rules = rules

    def now(self) -> datetime:
        """Return the reckoned time."""
        return self._rules.now()

    def monotonic(self) -> float:
        """Return ``CLOCK_MONOTONIC`` in seconds."""
        return self._clock.monotonic()


class Retention:
    """Sweeps: delete the segments that are marked, else mark the next ones. Blocking; one thread.

    ``announce`` is called with the time up to which a camera's recordings are about to be deleted, before
    they are; it raises nothing. ``require_root`` raises RootNotKnown unless the record root is the known
    one. ``give_way`` is called with the bytes that the reserve lacks, and returns how many of them
    recordings need not make room for (``Exports.give_way``). The same time is taken out of the wanted
    periods first, so that ``recordings verify`` does not find it missing.
    """

    def __init__(
        self,
        *,
        record_root: Path,
        limits: RetentionLimits,
        rules: RulesInForce,
        segments: SegmentRepository,
        gaps: GapRepository,
        periods: PeriodRepository,
        on_deleted: Callable[[DeletionReason, int, int], None],
        offline: OfflineRetention,
        announce: Callable[[UUID, datetime], None] | None = None,
        require_root: Callable[[], None] = lambda: None,
        give_way: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self._require_root = require_root
        self._give_way = give_way
        self._root = record_root
        self._offline = offline
        self._announce = announce
        self._limits = limits
        self._in_force = rules
        self._rules = rules.current()
        self._segments = segments
        self._gaps = gaps
        self._periods = periods
        self._forgotten_at: datetime | None = None
        self._on_deleted = on_deleted
        self._out_of_reach = False
        self._stuck: frozenset[UUID] = frozenset()
        self._usages: Sequence[Usage] = ()
        self._usage_until_s = 0.0

    def sweep(self) -> bool:
        """Do one batch; return whether there may be more to do at once.

        Raises:
            StreamwardenError: the index does not answer or refuses, and the reserve needs nothing.
            OSError: the disk refuses; what is marked stays marked, and nothing more is.
            RootNotKnown: the record root is not the known one; nothing is marked or deleted.
        """
        self._require_root()
        self._rules = self._in_force.current()
        self._offline.prepare()
        try:
            self._offline.settle(self._segments.mark_deleting)
            return self._sweep()
        except (RootNotKnown, OSError):
            raise
        except Exception as error:
            # The reserve does not depend on the reason: down, read-only, damaged, or a bug of ours.
            if not self._delete_without_index(error):
                raise
            return True

    def _delete_without_index(self, error: Exception) -> bool:
        """Delete what the reserve needs; return whether anything was deleted."""
        self._require_root()
        missing = self._missing_bytes()
        gone = self._offline.delete(missing, self._missing_inodes())
        self._in_force.note_floor(self._offline.at_floor and not gone, missing)
        if gone:
            size = sum(each.size_bytes for each in gone)
            self._on_deleted(DeletionReason.RESERVE, len(gone), size)
            log.warning(
                "segments_expired_without_index",
                segments=len(gone),
                size_bytes=size,
                why=in_full(error),
            )
        return bool(gone)

    def _sweep(self) -> bool:
        marked = self._segments.deleting(limit=BATCH)
        if marked and self._delete(marked):
            return True
        reason, chosen = self._next()
        if not chosen:
            return False
        self._trim(chosen)
        self._segments.mark_deleting([segment.id for segment in chosen])
        size = sum(segment.size_bytes for segment in chosen)
        self._on_deleted(reason, len(chosen), size)
        log.info("segments_expired", reason=reason, segments=len(chosen), size_bytes=size)
        return True

    def _next(self) -> tuple[DeletionReason, list[Segment]]:
        if self._rules.jumps and not self._rules.share_waits(self._in_force.grace):
            self._rules = self._in_force.judged(*self._share())
        for each in self._rules.expired():
            if expired := self._segments.oldest(
                limit=BATCH, ended_from=each.from_, ended_before=each.to
            ):
                return DeletionReason.AGE, expired
        if (forgettable := self._rules.forgettable()) is not None:
            self._forget(forgettable)
        return self._over_quota() or (DeletionReason.RESERVE, self._under_reserve())

    def _share(self) -> tuple[int, int]:
        """Return how many segments are too old, and how many there are."""
        rules = self._rules
        expired = sum(
            self._segments.count(ended_from=each.from_, ended_before=each.to).segments
            for each in rules.clock.older_than(rules.rules.keep_for)
        )
        return expired, sum(usage.segments for usage in self._segments.usage())

    def _forget(self, horizon: datetime) -> None:
        """Drop gaps and periods that are older than every recording, once an hour."""
        if self._forgotten_at is None or horizon - self._forgotten_at > FORGET_EVERY:
            self._periods.drop_before(horizon)
            self._gaps.drop_before(horizon)
            self._forgotten_at = horizon

    def _over_quota(self) -> tuple[DeletionReason, list[Segment]] | None:
        limits = self._rules.rules
        if limits.total_bytes is None and limits.camera_bytes is None:
            return None
        usages = self._segments.usage()
        for usage in usages:
            if limits.camera_bytes is not None and usage.size_bytes > limits.camera_bytes:
                oldest = self._segments.oldest(limit=BATCH, camera_id=usage.camera_id)
                return DeletionReason.CAMERA_QUOTA, first_of(
                    oldest, usage.size_bytes - limits.camera_bytes
                )
        total = sum(usage.size_bytes for usage in usages)
        if limits.total_bytes is not None and total > limits.total_bytes:
            self._usages = usages
            return DeletionReason.TOTAL_QUOTA, self._first_to_go(total - limits.total_bytes, 0)
        return None

    def _first_to_go(
        self, need_bytes: int, need_files: int, floor: timedelta = timedelta()
    ) -> list[Segment]:
        """Return the oldest segments of the camera furthest beyond its share, else of all cameras.

        None that is younger than ``floor``, but of a flood.
        """
        by_bytes = need_bytes > 0
        taken = {
            each.camera_id: each.size_bytes if by_bytes else each.segments for each in self._usage()
        }
        beyond = most_beyond(taken)
        oldest: list[Segment] = []
        if beyond is not None:
            oldest = self._oldest(floor, beyond.camera) or self._flood_of(beyond.camera)
        if oldest and beyond is not None:
            need_bytes = min(need_bytes, beyond.excess)
            need_files = 0 if by_bytes else min(need_files, beyond.excess)
        else:
            oldest = self._oldest(floor)
        # Each file frees an inode.
        chosen = oldest[: max(len(first_of(oldest, need_bytes)), need_files)]
        self._usages = without(self._usages, chosen)
        return chosen

    def _usage(self) -> Sequence[Usage]:
        """Return what each camera takes; it is counted again after a hundred times what counting took."""
        began_s = time.monotonic()
        if began_s >= self._usage_until_s:
            self._usages = self._segments.usage()
            now_s = time.monotonic()
            self._usage_until_s = now_s + min(_USAGE_AT_MOST_S, 100 * (now_s - began_s))
        return self._usages

    def _under_reserve(self) -> list[Segment]:
        missing = self._missing_bytes()
        inodes = self._missing_inodes()
        if missing <= 0 and inodes <= 0:
            self._out_of_reach = False
            self._in_force.note_floor(False)  # noqa: FBT003 - the one value of a gauge
            return []
        chosen = self._first_to_go(missing, inodes, self._limits.floor)
        at_floor = not chosen and bool(self._segments.oldest(limit=1))
        self._in_force.note_floor(at_floor, missing)
        if not chosen and not at_floor and not self._out_of_reach:
            log.error(
                "reserve_out_of_reach", missing_bytes=max(0, missing), missing_inodes=max(0, inodes)
            )
        self._out_of_reach = not chosen
        return chosen

    def _oldest(self, floor: timedelta, camera_id: UUID | None = None) -> list[Segment]:
        """Return the oldest segments, a batch at most, none younger than ``floor``."""
        if floor <= timedelta():
            return self._segments.oldest(limit=BATCH, camera_id=camera_id)
        for each in self._rules.clock.older_than(floor):
            if found := self._segments.oldest(
                limit=BATCH, camera_id=camera_id, ended_from=each.from_, ended_before=each.to
            ):
                return found
        return []

    def _flood_of(self, camera_id: UUID) -> list[Segment]:
        """Return a camera's oldest segments where its rate is far above that of the others, else none.

        It would fill the disk within its floor, and end the recording of all.
        """
        oldest = self._segments.oldest(limit=BATCH, camera_id=camera_id)
        others = [row for row in self._segments.oldest(limit=BATCH) if row.camera_id != camera_id]
        return oldest if others and _rate(oldest) > FLOOD * _rate(others) else []

    def _missing_bytes(self) -> int:
        """Return how many bytes the reserve lacks beyond what exports give; 0 or less for none."""
        missing = self._limits.reserve_bytes - free_bytes(self._root)
        return missing - self._give_way(missing) if missing > 0 else missing

    def _missing_inodes(self) -> int:
        """Return how many inodes the reserve lacks, 0 or less for none."""
        if self._limits.reserve_inodes <= 0:
            return 0
        space = free_space_of(self._root)
        return self._limits.reserve_inodes - space.free_inodes if space.limits_inodes else 0

    def _delete(self, marked: Sequence[Segment]) -> bool:
        """Delete marked segments; return False if all of them are stuck."""
        self._trim(marked)
        refused: dict[UUID, OSError] = {}
        folders = set()
        for segment in marked:
            try:
                folders.add(self._unlink(segment))
            except OSError as error:
                refused[segment.id] = error
        self._note_stuck(refused)
        tidy_folders(folder for folder in folders if folder is not None)
        # A missing file counts as deleted only where the root that it is missing from is the known one.
        self._require_root()
        gone = [segment.id for segment in marked if segment.id not in refused]
        self._segments.delete(gone)
        return bool(gone)

    def _note_stuck(self, refused: Mapping[UUID, OSError]) -> None:
        """Pass over some files that cannot be unlinked; raise when there are many."""
        for segment_id in refused.keys() - self._stuck:
            log.error("segment_stuck", segment_id=str(segment_id), error=str(refused[segment_id]))
        self._stuck = frozenset(refused)
        if len(refused) > STUCK_AT_MOST:
            raise next(iter(refused.values()))

    def _trim(self, segments: Sequence[Segment]) -> None:
        for camera_id in {segment.camera_id for segment in segments}:
            ends = [row.ended_at for row in segments if row.camera_id == camera_id]
            if self._announce is not None:
                self._announce(camera_id, max(ends))
            self._periods.trim(camera_id, max(ends))

    def _unlink(self, segment: Segment) -> Path | None:
        path = self._root / segment.path
        # A row can hold any path, and a folder be replaced by a link: only stored segments are deleted.
        if (
            not has_no_symlink(self._root, path.parent)
            or parse_stored(path.parent.name, path.name) is None
        ):
            log.error("not_a_stored_segment", segment_id=str(segment.id))
            return None
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        return path.parent


def without(usages: Sequence[Usage], segments: Sequence[Segment]) -> list[Usage]:
    """Return the usages once ``segments`` are deleted."""
    files = Counter(segment.camera_id for segment in segments)
    sizes = Counter[UUID]()
    for segment in segments:
        sizes[segment.camera_id] += segment.size_bytes
    return [
        replace(
            each,
            segments=each.segments - files[each.camera_id],
            size_bytes=each.size_bytes - sizes[each.camera_id],
        )
        for each in usages
    ]


def _rate(segments: Sequence[Segment]) -> float:
    """Return the bytes in a second of footage."""
    seconds = sum((each.ended_at - each.started_at).total_seconds() for each in segments)
    return sum(each.size_bytes for each in segments) / max(seconds, 1.0)


def first_of(segments: Iterable[Segment], need_bytes: int) -> list[Segment]:
    """Return the first segments, as many as free ``need_bytes``."""
    chosen: list[Segment] = []
    for segment in segments:
        if need_bytes <= 0:
            break
        chosen.append(segment)
        need_bytes -= segment.size_bytes
    return chosen
