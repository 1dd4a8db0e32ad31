"""The writer of the audit trail: a bounded queue, so that no request waits for Postgres."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from streamwarden.age_clock import SteadyClock
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import Unavailable, in_full
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import AuditEvent
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.pool import RowsRefused

log = structlog.get_logger(__name__)


MAX_WAITING: Final = 10_000
BATCH: Final = 200
PRUNE_EVERY_S: Final = 3600.0
_GATHER_S: Final = 0.2
"""A pause before each write, so that one round trip takes several events."""
_RETRY_S: Final = 2.0
REPEATS: Final = 60
_MINUTE_S: Final = 60.0
_STOP_WITHIN_S: Final = 3.0


@dataclass(slots=True)
class _Repetition:
    since_s: float
    events: int = 1
    last: AuditEvent | None = None


class AuditSink:
    """Takes events on any thread and writes them on its own.

    ``ready`` raises Unavailable while the table does not exist yet.
    """

    def __init__(
        self,
        table: AuditRepository,
        *,
        clock: Clock,
        metrics: AccessMetrics,
        keep_days: int,
        ready: Callable[[], None],
        most: int = MAX_WAITING,
    ) -> None:
        self._table = table
        self._clock = clock
        self._ages = SteadyClock(clock)
        self._metrics = metrics
        self._ready = ready
        self._keep = timedelta(days=keep_days)
        self._most = most
        self._queue: deque[AuditEvent] = deque()
        self._counts: dict[tuple[object, ...], _Repetition] = {}
        """What was noted within the minute, by who did what with which outcome to whom."""
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._pruned_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write the waiting events while Postgres answers, and log the others."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)
        self._end_minutes(all_=True)
        with self._lock:
            left = list(self._queue)
            self._queue.clear()
        self._drop(left, why="stopped")

    def note(self, event: AuditEvent) -> None:
        """Queue an event; log it where the queue is full. Never waits.

        Of one that a user repeats, the first `REPEATS` of a minute are stored one by one, and the others
        as one: the last, with their number.
        """
        with self._lock:
            if self._repeated(event):
                return
            fits = len(self._queue) < self._most
            if fits:
                self._queue.append(event)
        if fits:
            self._some.set()
        else:
            self._drop([event], why="full")

    def _repeated(self, event: AuditEvent) -> bool:
        """Count an event; return whether it is among the repeated ones of its minute."""
        key = (event.who, event.action, event.outcome, event.camera_id, event.subject)
        counted = self._counts.get(key)
        if counted is None:
            if len(self._counts) < self._most:
                self._counts[key] = _Repetition(self._clock.monotonic())
            return False
        counted.events += 1
        if counted.events <= REPEATS:
            return False
        counted.last = event
        return True

    def _end_minutes(self, *, all_: bool = False) -> None:
        """Queue the repeated events of each minute that is over, or of all, as one."""
        over_s = self._clock.monotonic() - _MINUTE_S
        with self._lock:
            for key in [k for k, each in self._counts.items() if all_ or each.since_s <= over_s]:
                repeats = self._counts.pop(key)
                if repeats.last is not None:
                    detail = json.loads(repeats.last.detail)
                    detail["repeated"] = repeats.events - REPEATS
                    self._queue.append(replace(repeats.last, detail=json.dumps(detail)))

    def flush(self) -> None:
        """Write all waiting events; raise Unavailable where Postgres does not answer."""
        self._end_minutes(all_=self._stopping.is_set())
        while batch := self._first():
            self._write(batch)
            with self._lock:
                for _ in batch:
                    self._queue.popleft()
            self._metrics.audit_waiting(len(self._queue))

    def prune(self) -> None:
        """Delete events older than ``keep_days``; raise Unavailable where Postgres does not answer."""
        before = self._ages.now() - self._keep
        while self._table.prune(before):
            pass

    def _run(self) -> None:
        while True:
            self._some.wait(_MINUTE_S if self._counts else PRUNE_EVERY_S)
            self._stopping.wait(_GATHER_S)
            self._some.clear()
            done = self._attempt()
            if self._stopping.is_set():
                return
            if not done:
                self._stopping.wait(_RETRY_S)
                self._some.set()

    def _attempt(self) -> bool:
        try:
            self._ready()
            self.flush()
            self._prune_if_due()
        except Unavailable as error:
            log.info("audit_waits", events=len(self._queue), why=in_full(error))
            return False
        except Exception:
            log.exception("audit_failed")
            return False
        finally:
            self._metrics.audit_waiting(len(self._queue))
        return True

    def _prune_if_due(self) -> None:
        now_s = self._clock.monotonic()
        if not self._ages.settled:
            return
        if self._pruned_s is None or now_s - self._pruned_s >= PRUNE_EVERY_S:
            self.prune()
            self._pruned_s = now_s

    def _first(self) -> list[AuditEvent]:
        with self._lock:
            return [self._queue[place] for place in range(min(BATCH, len(self._queue)))]

    def _write(self, batch: Sequence[AuditEvent]) -> None:
        try:
            self._table.insert_many(batch)
        except RowsRefused:
            for event in batch:
                self._write_alone(event)

    def _write_alone(self, event: AuditEvent) -> None:
        try:
            self._table.insert_many([event])
        except RowsRefused:
            self._drop([event], why="refused")

    def _drop(self, events: Sequence[AuditEvent], *, why: str) -> None:
        if not events:
            return
        self._metrics.audit_dropped(len(events))
        for event in events:
            log.error(
                "audit_event_not_stored",
                why=why,
                at=rfc3339(event.at),
                who=event.who,
                action=event.action,
                outcome=event.outcome,
                camera_id=str(event.camera_id) if event.camera_id else None,
                subject=event.subject,
                address=event.address,
                detail=event.detail,
            )
