"""The StreamManager: a supervisor of recorders, one for each camera that is wanted.

Its own state is none: what is wanted stands in the wish book, what is shown on the board, what runs
with the watching thread. So a new incarnation begins where the last one failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.desired import Desired, DesiredStream, WantedStream, WishBook
from streamwarden.actors.messages import (
    ChildSettled,
    ReconcileDue,
    RecorderState,
    RestartRun,
    RestartStream,
    StartStream,
    StopRecording,
    StopStream,
    StreamStatus,
    UpdateStream,
    WishesRead,
)
from streamwarden.actors.recorder_deps import Asked, RecorderSpec
from streamwarden.actors.status import StatusBoard
from streamwarden.clock import Clock
from streamwarden.errors import OtherOwner, Unavailable
from streamwarden.supervision import (
    ActorRef,
    ChildInfo,
    ChildSpec,
    ChildStatus,
    Intensity,
    Link,
    Observer,
    Parking,
    Supervisor,
    SupervisorSpec,
    tell,
)
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


RECONCILE_EVERY_S: Final = 30.0


_BY_NOBODY: Final = Asked()
"""The wish stands in the book or in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerDeps:
    """What the manager works with.

    ``park`` ends the runs of a camera whose recorder is parked; ``release`` closes the books of one
    that is no longer wanted since a moment; ``forget`` drops one that no longer exists. None blocks.
    """

    start_recorder: Callable[[Link, RecorderSpec, str], ActorRef]
    park: Callable[[UUID, str], None]
    release: Callable[[UUID, str, datetime], None]
    forget: Callable[[UUID], None]
    read_wishes: Callable[[], Desired]
    wishes: WishBook
    board: StatusBoard
    callers: WorkerPool
    timers: Timers
    clock: Clock
    observer: Observer
    recorder_shutdown_s: float


def manager_spec() -> SupervisorSpec:
    """Return the manager's flags: intensity counted per child, parking, all stopped together."""
    return SupervisorSpec(
        limit=Intensity(intensity=5, period_s=60.0), parking=Parking(), stop_together=True
    )


class StreamManager(Supervisor):
    """Starts and stops recorders as asked, and as the wishes in the database say."""

    def __init__(self, *, link: Link, deps: ManagerDeps) -> None:
        super().__init__(
            link=link,
            spec=manager_spec(),
            timers=deps.timers,
            clock=deps.clock,
            observer=deps.observer,
        )
        self._deps = deps
        self._touched_s: dict[UUID, float] = {}
        self._released: dict[UUID, tuple[str, datetime]] = {}
        self._asked_meanwhile: dict[UUID, Asked] = {}

    def init(self) -> None:
        """Record what the wish book says, and compare it with the database at once."""
        super().init()
        for wish in self._deps.wishes.all().values():
            self._begin(wish)
        tell(self.actor_ref, ReconcileDue())

    def receive(self, message: object) -> object:
        """Handle what HTTP asks and what the reconciliation finds; the rest is the supervisor's."""
        match message:
            case StartStream():
                return self._start_stream(message)
            case StopStream(camera_id):
                return self._stop_stream(camera_id)
            case RestartStream(camera_id):
                return self._restart_stream(camera_id)
            case ReconcileDue():
                self._read_wishes()
            case WishesRead():
                self._wishes_read(message)
            case ChildSettled(camera_id):
                self._child_settled(camera_id)
            case _:
                return super().receive(message)
        return None

    # What HTTP asks

    def _start_stream(self, start: StartStream) -> StreamStatus:
        if self.stopping:
            raise Unavailable("the server is being stopped")
        known = self._deps.wishes.get(start.camera_id)
        if known is not None and known.owner != start.owner:
            raise OtherOwner("this camera is being recorded for another owner")
        self._touch(start.camera_id)
        wish = WantedStream(
            camera_id=start.camera_id,
            owner=start.owner,
            segment_seconds=start.segment_seconds,
            since=known.since if known else self._deps.clock.now(),
        )
        self._deps.wishes.put(wish)
        asked = Asked(
            url=start.rtsp_url,
            request_id=start.request_id,
            wished_s=self._deps.clock.monotonic(),
        )
        self._begin(wish, asked)
        return self._deps.board.get(start.camera_id)

    def _stop_stream(self, camera_id: UUID) -> StreamStatus:
        self._touch(camera_id)
        shown = self._deps.board.get(camera_id)
        wish = self._deps.wishes.remove(camera_id)
        if wish is None:
            return shown
        at = self._deps.clock.now()
        self._end_stream(wish, at)
        if shown.status is RecorderState.STOPPED:
            return shown
        # The recorder says the same as soon as it comes to it.
        return replace(shown, status=RecorderState.STOPPING, since=at, next_retry_at=None)

    def _restart_stream(self, camera_id: UUID) -> StreamStatus:
        status = self._child_status(camera_id)
        if status is ChildStatus.PARKED:
            self.restart_child(str(camera_id))
        elif status is not None:
            self.tell_child(str(camera_id), RestartRun())
        return self._deps.board.get(camera_id)

    # Recorders

    def _begin(self, wish: WantedStream, asked: Asked = _BY_NOBODY) -> None:
        child_id = str(wish.camera_id)
        status = self._child_status(wish.camera_id)
        if status in {ChildStatus.STARTING, ChildStatus.RUNNING}:
            update = UpdateStream(rtsp_url=asked.url, segment_seconds=wish.segment_seconds)
            self.tell_child(child_id, update)
        elif status is None:
            spec = RecorderSpec(
                camera_id=wish.camera_id,
                segment_seconds=wish.segment_seconds,
                wanted_at=wish.since,
                url=asked.url,
                request_id=asked.request_id,
                wished_s=asked.wished_s,
            )
            self.start_child(self._child_spec(wish.camera_id, spec, wish.owner))
        elif status is not ChildStatus.PARKED and asked is not _BY_NOBODY:
            # It is started again once it has stopped; a parked one keeps its rest.
            self._asked_meanwhile[wish.camera_id] = asked

    def _child_spec(self, camera_id: UUID, first: RecorderSpec, owner: str) -> ChildSpec:
        waiting = [first]

        def start(link: Link) -> ActorRef:
            # The first incarnation takes the URL it was asked with, later ones what is wished now.
            spec = waiting.pop() if waiting else self._spec_now(camera_id)
            return self._deps.start_recorder(link, spec, owner)

        return ChildSpec(
            id=str(camera_id),
            start=start,
            shutdown_s=self._deps.recorder_shutdown_s,
        )

    def _spec_now(self, camera_id: UUID) -> RecorderSpec:
        wish = self._deps.wishes.get(camera_id)
        if wish is None:
            raise LookupError("this camera is no longer wanted")
        child = self.child(str(camera_id))
        return RecorderSpec(
            camera_id=camera_id,
            segment_seconds=wish.segment_seconds,
            wanted_at=wish.since,
            restarts=child.restarts if child else 0,
        )

    def _end_stream(self, wish: WantedStream, at: datetime) -> None:
        self._released[wish.camera_id] = (wish.owner, at)
        self._asked_meanwhile.pop(wish.camera_id, None)
        if self._child_status(wish.camera_id) is None:
            self._release(wish.camera_id)
            return
        self.tell_child(str(wish.camera_id), StopRecording(at))
        self.terminate_child(str(wish.camera_id))

    def _release(self, camera_id: UUID) -> None:
        if (released := self._released.pop(camera_id, None)) is not None:
            self._deps.release(camera_id, *released)

    def child_changed(self, info: ChildInfo) -> None:
        """React to a recorder that has stopped or been parked; in this actor's thread."""
        camera_id = UUID(info.child_id)
        if info.status is ChildStatus.STOPPED:
            # The supervisor is still in the middle of it: look at it with the next message.
            tell(self.actor_ref, ChildSettled(camera_id))
        elif info.status is ChildStatus.PARKED and (wish := self._deps.wishes.get(camera_id)):
            self._deps.park(camera_id, wish.owner)

    def _child_settled(self, camera_id: UUID) -> None:
        if self.stopping or self._child_status(camera_id) is not ChildStatus.STOPPED:
            return
        self.delete_child(str(camera_id))
        self._release(camera_id)
        asked = self._asked_meanwhile.pop(camera_id, _BY_NOBODY)
        if (wish := self._deps.wishes.get(camera_id)) is not None:
            self._begin(wish, asked)

    def _child_status(self, camera_id: UUID) -> ChildStatus | None:
        info = self.child(str(camera_id))
        return info.status if info is not None else None

    # Reconciling with the database

    def _read_wishes(self) -> None:
        asked_at_s = self._deps.clock.monotonic()
        self._deps.callers.run(
            self._deps.read_wishes,
            lambda result: self._tell_self(WishesRead(asked_at_s, result)),
        )

    def _wishes_read(self, read: WishesRead) -> None:
        self._deps.timers.after(RECONCILE_EVERY_S, lambda: self._tell_self(ReconcileDue()))
        if self.stopping:
            return
        if not isinstance(read.result, Desired):
            log.warning("wishes_not_read", error=str(read.result))
            return
        for desired in read.result.streams:
            # What was asked for while the rows were being read is newer than the rows.
            if self._touched_s.get(desired.camera_id, -1.0) < read.asked_at_s:
                self._reconcile(desired, read.result.segment_seconds)
        for camera_id in read.result.gone:
            if self._deps.wishes.get(camera_id) is None and self._child_status(camera_id) is None:
                self._deps.forget(camera_id)
        self._touched_s = {
            camera_id: at_s
            for camera_id, at_s in self._touched_s.items()
            if at_s >= read.asked_at_s
        }

    def _reconcile(self, desired: DesiredStream, segment_seconds: int) -> None:
        known = self._deps.wishes.get(desired.camera_id)
        if not desired.wanted:
            if known is not None:
                log.info("wish_ended_meanwhile", camera=str(desired.camera_id))
                self._deps.wishes.remove(desired.camera_id)
                self._end_stream(known, desired.changed_at)
            return
        same_owner = known is not None and known.owner == desired.owner
        wish = WantedStream(
            camera_id=desired.camera_id,
            owner=desired.owner,
            segment_seconds=segment_seconds,
            # A new owner's books begin where those of the last one are closed.
            since=known.since if known is not None and same_owner else desired.changed_at,
        )
        if known == wish:
            return
        if known is not None and not same_owner:
            self._end_stream(known, desired.changed_at)
        self._deps.wishes.put(wish)
        self._begin(wish)

    def _touch(self, camera_id: UUID) -> None:
        self._touched_s[camera_id] = self._deps.clock.monotonic()
