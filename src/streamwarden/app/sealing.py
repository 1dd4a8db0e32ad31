"""Keeps the chains of seals: a thread of its own, once a day, off the path of every recording."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.app.sealer import SETTLED_AFTER, Sealer
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import StreamwardenError, Unavailable
from streamwarden.evidence.keys import SigningKey
from streamwarden.metrics.sealing import SealMetrics
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.seals import SealRepository

log = structlog.get_logger(__name__)

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
    key: SigningKey,
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


class SealKeeper:
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
