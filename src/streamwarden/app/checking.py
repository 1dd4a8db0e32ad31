"""``recordings verify`` and ``reconcile`` as operators call them, and the one at start-up."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.workers import WorkerPool
from streamwarden.app.findings import Finding, Scope
from streamwarden.app.outage import Noted
from streamwarden.app.reconcile import Mended, Reconciler
from streamwarden.app.verify import Verifier
from streamwarden.clock import Clock
from streamwarden.media.names import STATE
from streamwarden.storage.journal import read_pending
from streamwarden.storage.pool import Database
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)

JOURNAL: Final = "journal.jsonl"
_LOOK_BACK: Final = timedelta(hours=2)
"""A crash can only have cost rows that had not reached Postgres: those of the last while."""
_AGAIN_S: Final = 30.0


def verifier(record_root: Path, database: Database) -> Verifier:
    """Return a verifier that also knows what a running server has yet to index, or to mark."""
    state = record_root / STATE
    return Verifier(
        record_root=record_root,
        database=database,
        pending=partial(read_pending, state / JOURNAL),
        noted=Noted(state),
    )


def verify(
    record_root: Path, database: Database, cameras: Iterable[UUID], scope: Scope
) -> Iterator[Finding]:
    """Yield everything that is wrong; all cameras where ``cameras`` names none."""
    looking = verifier(record_root, database)
    for camera_id in list(cameras) or looking.cameras():
        yield from looking.verify(camera_id, scope)


def reconcile(
    record_root: Path, database: Database, cameras: Iterable[UUID], scope: Scope
) -> Iterator[Mended]:
    """Mend what can be mended, and yield what became of everything that was wrong."""
    looking = verifier(record_root, database)
    mending = Reconciler(record_root=record_root, database=database, verifier=looking)
    for camera_id in list(cameras) or looking.cameras():
        yield from mending.reconcile(camera_id, scope)


class StartupReconcile:
    """Once after the start, as soon as Postgres answers: the last two hours before it."""

    def __init__(
        self,
        *,
        record_root: Path,
        database: Database,
        clock: Clock,
        workers: WorkerPool,
        timers: Timers,
    ) -> None:
        self._record_root = record_root
        self._database = database
        self._workers = workers
        self._timers = timers
        self._until = clock.now()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Look at no further camera: the server is being stopped."""
        self._stopping.set()

    def begin(self) -> None:
        """Start in the background."""
        self._workers.run(self._work, self._done)

    def _work(self) -> int:
        scope = Scope(from_=self._until - _LOOK_BACK, to=self._until, digests=False)
        mended = 0
        for result in self._until_stopped(scope):
            found = result.finding
            write = log.warning if result.how else log.error
            write(
                "reconciled",
                kind=found.kind,
                camera=str(found.camera_id),
                path=found.path,
                detail=found.detail,
                how=result.how or "not mended",
            )
            mended += bool(result.how)
        return mended

    def _until_stopped(self, scope: Scope) -> Iterator[Mended]:
        looking = verifier(self._record_root, self._database)
        mending = Reconciler(
            record_root=self._record_root, database=self._database, verifier=looking
        )
        for camera_id in looking.cameras():
            if self._stopping.is_set():
                return
            yield from mending.reconcile(camera_id, scope)

    def _done(self, result: object) -> None:
        if isinstance(result, Exception):
            log.warning("reconcile_failed", error=str(result), again_in_s=_AGAIN_S)
            self._timers.after(_AGAIN_S, self.begin)
        else:
            log.info("reconcile_done", mended=result)
