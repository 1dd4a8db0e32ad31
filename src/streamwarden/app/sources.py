"""Has the media server pull the cameras that serve RTSP: sweeps over what is, as `app.eviction` does.

docs/design/0011-cameras-that-are-pulled.md says whose paths are touched, and why several processes that
do this do not disturb each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from streamwarden.app.resealing import seal_anew
from streamwarden.app.source_plans import SourcePlan, SourcePlans
from streamwarden.app.sweeping import Events, SweepThread, rest_s
from streamwarden.auth.pulled import PulledPaths
from streamwarden.auth.source_secrets import SourceSealer
from streamwarden.clients.mediamtx import MediaPath, PathRefused
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.metrics.sources import SourceMetrics
from streamwarden.storage.rows import CameraSource

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
LEAVE_S: Final = 2.0
"""So long a path stays that is no longer wanted: its recorder ends the last segment meanwhile."""
_STOP_WITHIN_S: Final = 10.0
_EVENTS: Final = Events(
    failed="sources_not_compared", recovered="sources_compared_again", bug="source_sweep_failed"
)


class MediaServer(Protocol):
    """The media server's control API; every call raises Unavailable."""

    def paths(self) -> Sequence[MediaPath]:
        """Return every configured path."""

    def pull(self, path: str, source: str, /) -> None:
        """Have a path pulled; raise PathRefused."""

    def forget(self, path: str, /) -> None:
        """Have a path pulled no more."""

    def close(self) -> None:
        """Close the connection."""


class Table(Protocol):
    """The tables ``camera_source`` and ``pulled_path``; every call raises Unavailable."""

    def all(self) -> Sequence[CameraSource]:
        """Return every source."""

    def paths_set(self) -> Collection[str]:
        """Return the paths that may be set."""

    def renew(self, camera_id: UUID, before: bytes, after: bytes, /) -> bool:
        """Replace sealed credentials; False if they have changed since."""

    def note_path(self, path: str, /) -> None:
        """Note that a path is about to be set."""

    def forget_path(self, path: str, /) -> None:
        """Note that a path is set no more."""


class SourceKeeper:
    """A thread of its own. ``ready`` raises Unavailable while the tables are not there yet.

    Credentials that another key than ``sealer``'s first has sealed are sealed anew, once.
    """

    def __init__(
        self,
        *,
        server: MediaServer,
        table: Table,
        plans: SourcePlans,
        pulled: PulledPaths,
        clock: Clock,
        metrics: SourceMetrics,
        ready: Callable[[], None],
        sealer: SourceSealer | None = None,
    ) -> None:
        self._server = server
        self._table = table
        self._plans = plans
        self._pulled = pulled
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._renewing = sealer
        self._rows: Sequence[CameraSource] | None = None
        self._ours: set[str] = set()
        self._leaving: dict[str, float] = {}
        self._said: dict[UUID, str] = {}
        self._looked_s = 0.0
        self._thread = SweepThread(
            "sources",
            self._turn,
            events=_EVENTS,
            on_failure=metrics.sweep_failed,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the media server goes on pulling."""
        self._thread.stop()
        self._server.close()

    def wake(self) -> None:
        """Look now. Any thread; returns at once."""
        self._thread.wake()

    def sweep(self) -> None:
        """Compare what is wanted with what is, once, and mend the difference.

        Raises:
            Unavailable: the media server does not answer; or Postgres, and nothing is known yet.
        """
        current = self._read()
        wanted = [row for row in self._rows or () if row.status == "active"]
        plans = {row.path: self._plans.plan(row) for row in wanted}
        self._plans.keep({urlsplit(row.url).hostname or "" for row in wanted})
        began_s = self._clock.monotonic()
        given = {path.name: path.source for path in self._server.paths()}
        self._looked_s = self._clock.monotonic() - began_s
        if current:
            self._leave({path for path, plan in plans.items() if plan.stays}, given)
        reasons = [self._settle(row, plans[row.path], given, current=current) for row in wanted]
        faults = Counter(reason for reason in reasons if reason)
        self._metrics.show(wanted=len(wanted), are_set=len(wanted) - faults.total(), faults=faults)
        self._said = {row.camera_id: self._said.get(row.camera_id, "") for row in wanted}

    def _turn(self) -> float:
        self.sweep()
        return rest_s(LEAVE_S if self._leaving else EVERY_S, looked_s=self._looked_s)

    def _read(self) -> bool:
        """Read the tables; return whether they answered, or what they said last has to do."""
        try:
            self._ready()
            # In this order: a path that is noted meanwhile is not taken for one that nobody wants.
            ours = set(self._table.paths_set())
            self._rows, self._ours = self._table.all(), ours
        except Unavailable:
            if self._rows is None:
                raise
            return False
        self._pulled.know(row.path for row in self._rows)
        if self._renewing is not None:
            seal_anew(self._rows, self._renewing, self._table)
            self._renewing = None
        return True

    def _leave(self, staying: Collection[str], given: Mapping[str, str]) -> None:
        """Take back what we have set and want no more, a while after it was wanted last."""
        now_s = self._clock.monotonic()
        gone = self._ours - set(staying)
        self._leaving = {path: self._leaving.get(path, now_s) for path in gone}
        for path in sorted(gone):
            if now_s - self._leaving[path] < LEAVE_S:
                continue
            if path in given:
                self._server.forget(path)
                log.info("source_path_removed", path=path)
            self._table.forget_path(path)
            del self._leaving[path]

    def _settle(
        self, row: CameraSource, plan: SourcePlan, given: Mapping[str, str], *, current: bool
    ) -> str | None:
        """Have one camera pulled as planned; return what is wrong, None where nothing is."""
        reason = plan.reason
        if reason is None and current and row.path not in self._ours:
            self._table.note_path(row.path)
        if reason is None and given.get(row.path) not in plan.acceptable:
            reason = self._set(row, plan.acceptable[0])
        self._say(row, reason)
        return reason

    def _set(self, row: CameraSource, source: str) -> str | None:
        try:
            self._server.pull(row.path, source)
        except PathRefused:
            return "refused"
        log.info("source_path_set", camera_id=str(row.camera_id), path=row.path)
        return None

    def _say(self, row: CameraSource, reason: str | None) -> None:
        """Log a camera's trouble once, and its end."""
        before, now = self._said.get(row.camera_id, ""), reason or ""
        self._said[row.camera_id] = now
        if now and now != before:
            log.warning("source_not_set", camera_id=str(row.camera_id), path=row.path, why=now)
        elif before and not now:
            log.info("source_set_again", camera_id=str(row.camera_id), path=row.path, was=before)
