"""Writes the audit trail from a bounded queue, so that Postgres away blocks nobody."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog

from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import Unavailable
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import AuditEvent
from streamwarden.storage.pool import RowsRefused

log = structlog.get_logger(__name__)


MOST_WAITING: Final = 10_000


BATCH: Final = 200


_GATHER_S: Final = 0.2


_AGAIN_S: Final = 2.0


PRUNE_EVERY_S: Final = 3600.0


_MOST_TEXT: Final = 500


_STOP_WITHIN_S: Final = 3.0


class AuditTable(Protocol):
    """The table ``audit``, to be written; raises Unavailable."""

    def insert_many(self, events: Sequence[AuditEvent], /) -> int:
        """Append; harmless when repeated."""

    def prune(self, before: datetime, /) -> int:
        """Delete some of what is older; 0 when none is left."""


class AuditSink:
    """Takes events from any thread and writes them on its own.

    ``ready`` raises Unavailable while the table is not there yet.
    """

    def __init__(
        self,
        table: AuditTable,
        *,
        clock: Clock,
        metrics: AccessMetrics,
        keep_days: int,
        ready: Callable[[], None],
        most: int = MOST_WAITING,
    ) -> None:
        self._table = table
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._keep = timedelta(days=keep_days)
        self._most = most
        self._queue: deque[AuditEvent] = deque()
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._stopping = threading.Event()
        self._pruned_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, as far as Postgres lets us, and put the rest into the log."""
        self._stopping.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)
        with self._lock:
            left = list(self._queue)
            self._queue.clear()
        self._drop(left, why="stopped")

    def note(
        self,
        *,
        who: str,
        action: str,
        outcome: str,
        camera_id: UUID | None,
        subject: str | None,
        address: str,
        request_id: str | None,
        detail: Mapping[str, object],
    ) -> None:
        """Take an event in; one that does not fit any more goes into the log. Never waits."""
        event = AuditEvent(
            id=uuid4(),
            at=self._clock.now(),
            who=who,
            action=action,
            outcome=outcome,
            camera_id=camera_id,
            subject=subject,
            address=address[:_MOST_TEXT],
            request_id=request_id,
            detail=json.dumps(detail, ensure_ascii=False),
        )
        with self._lock:
            fits = len(self._queue) < self._most
            if fits:
                self._queue.append(event)
        if fits:
            self._some.set()
        else:
            self._drop([event], why="full")

    def flush(self) -> None:
        """Write all that waits; raise Unavailable where Postgres does not answer."""
        while batch := self._first():
            self._write(batch)
            with self._lock:
                for _ in batch:
                    self._queue.popleft()
            self._metrics.audit_waiting(len(self._queue))

    def prune(self) -> None:
        """Delete what is older than is kept; raise Unavailable where Postgres does not answer."""
        before = self._clock.now() - self._keep
        while self._table.prune(before):
            pass

    def _run(self) -> None:
        while True:
            self._some.wait(PRUNE_EVERY_S)
            self._stopping.wait(_GATHER_S)  # one round trip for what comes together
            self._some.clear()
            done = self._attempt()
            if self._stopping.is_set():
                return
            if not done:
                self._stopping.wait(_AGAIN_S)
                self._some.set()

    def _attempt(self) -> bool:
        try:
            self._ready()
            self.flush()
            self._prune_if_due()
        except Unavailable as error:
            self._metrics.audit_waiting(len(self._queue))
            log.info("audit_waits", events=len(self._queue), why=error.code)
            return False
        except Exception:
            log.exception("audit_failed")
            return False
        return True

    def _prune_if_due(self) -> None:
        now_s = self._clock.monotonic()
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
