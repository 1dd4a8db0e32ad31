"""The supervision tree of the streaming role, and the counting of its restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from streamwarden.actors.stream_manager import StreamManager
from streamwarden.app.resources import Resources
from streamwarden.clock import Clock
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.supervision import (
    ActorRef,
    ChildExited,
    ChildStarted,
    Link,
    Shutdown,
    Supervisor,
    SupervisorSpec,
    tell,
)
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)


class SupervisionTree:
    """The root supervisor and its children: started, stopped in order, its failure reported once."""

    def __init__(
        self,
        *,
        spec: SupervisorSpec,
        timers: Timers,
        clock: Clock,
        metrics: RecordingMetrics,
        on_failure: Callable[[str], None],
    ) -> None:
        self._on_failure = on_failure
        self._up = threading.Event()
        self._down = threading.Event()
        self._stopping = False
        for child in spec.children:
            metrics.actor_added(child.id, "")
        self._ref = Supervisor.start(
            link=Link("root", 1, self._notified),
            spec=spec,
            timers=timers,
            clock=clock,
            observer=Restarts(metrics),
        )

    @property
    def supervisor(self) -> ActorRef:
        """The root supervisor, to ask which children it has."""
        return self._ref

    def wait_until_up(self, timeout_s: float) -> bool:
        """Return whether every child has started within ``timeout_s``."""
        return self._up.wait(timeout_s) and not self._down.is_set()

    def stop(self, deadline_s: float) -> bool:
        """Stop every child in order; False when that takes longer than ``deadline_s``."""
        self._stopping = True
        tell(self._ref, Shutdown())
        return self._down.wait(deadline_s)

    def _notified(self, notice: ChildStarted | ChildExited) -> None:
        if isinstance(notice, ChildStarted):
            self._up.set()
            return
        self._down.set()
        self._up.set()
        if not self._stopping:
            self._on_failure(f"the supervision tree has given up: {notice.reason.error}")


class Restarts:
    """Counts restarts, of the root's children by name or of recorders by camera."""

    def __init__(self, metrics: RecordingMetrics, *, actor: str | None = None) -> None:
        self._metrics = metrics
        self._actor = actor

    def restarted(self, child_id: str) -> None:
        """Count one restart."""
        actor, camera = self._labels(child_id)
        log.warning("actor_restarted", actor=actor, camera=camera)
        self._metrics.actor_restarted(actor, camera)

    def parked(self, child_id: str, *, parked: bool) -> None:
        """Show whether a child is parked."""
        actor, camera = self._labels(child_id)
        write = log.error if parked else log.info
        write("actor_parked", actor=actor, camera=camera, parked=parked)
        self._metrics.actor_parked(actor, camera, parked=parked)

    def abandoned(self, child_id: str) -> None:
        """Count a child that was abandoned."""
        actor, camera = self._labels(child_id)
        log.error("actor_abandoned", actor=actor, camera=camera)
        self._metrics.actor_abandoned(actor, camera)

    def _labels(self, child_id: str) -> tuple[str, str]:
        return (self._actor, child_id) if self._actor else (child_id, "")


def start_stream_manager(link: Link, resources: Resources, *, shutdown_s: float) -> ActorRef:
    """Start the manager of the recorders, which are stopped within ``shutdown_s``."""
    return StreamManager.start(
        link=link,
        recorders=resources.recorders,
        wanted=resources.wanted,
        registry=resources.registry,
        callers=resources.callers,
        timers=resources.timers,
        clock=resources.clock,
        observer=Restarts(resources.metrics, actor="recorder"),
        shutdown_s=shutdown_s,
    )
