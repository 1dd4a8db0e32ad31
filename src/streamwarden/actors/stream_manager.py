"""The StreamManager: a supervisor of recorders, one for each camera that is wanted.

It has no state of its own to lose: what is wanted is in ``WantedStreams``, the status in the registry,
the runs with the watching thread. So a new incarnation continues where the last one failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.messages import (
    ChildSettled,
    DesiredRead,
    DesiredState,
    ReconcileDue,
    RecorderState,
    RestartRun,
    RestartStream,
    StartRequest,
    StartStream,
    StopRecording,
    StopStream,
    StreamStatus,
    UpdateStream,
)
from streamwarden.actors.recorders import Recorders
from streamwarden.actors.status import StatusRegistry
from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from streamwarden.clock import Clock
from streamwarden.errors import OtherOwner, Unavailable
from streamwarden.model import DesiredStream
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
)
from streamwarden.timers import Timers
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)


RECONCILE_EVERY_S: Final = 30.0


_NO_REQUEST: Final = StartRequest()
"""No user's request: the stream is wanted by the copy on disk or by the database."""


READS_WITHOUT_ROW: Final = 3
READS_WITHOUT_ROWS: Final = 20
"""Ten minutes: longer than a restore needs for the small tables."""


def manager_spec() -> SupervisorSpec:
    """Return the manager's flags: intensity counted per child, parking, all stopped together."""
    return SupervisorSpec(
        limit=Intensity(intensity=5, period_s=60.0), parking=Parking(), stop_together=True
    )


class StreamManager(Supervisor):
    """Starts and stops recorders, as users ask and as the desired state in the database says.

    ``shutdown_s`` is how long a recorder may take to stop.
    """

    def __init__(
        self,
        *,
        link: Link,
        recorders: Recorders,
        wanted: WantedStreams,
        registry: StatusRegistry,
        callers: WorkerPool,
        timers: Timers,
        clock: Clock,
        observer: Observer,
        shutdown_s: float,
    ) -> None:
        super().__init__(
            link=link, spec=manager_spec(), timers=timers, clock=clock, observer=observer
        )
        self._recorders = recorders
        self._wanted = wanted
        self._registry = registry
        self._callers = callers
        self._timers = timers
        self._clock = clock
        self._shutdown_s = shutdown_s
        self._touched_s: dict[UUID, float] = {}
        """When a user last started or stopped a camera: newer than rows that were read before."""
        self._released: dict[UUID, tuple[str, datetime]] = {}
        self._without_row: dict[UUID, int] = {}
        """How often in a row the database did not know a stream that is wanted here."""
        self._requests: dict[UUID, StartRequest] = {}
        """Requests for cameras whose recorder is still stopping."""

    def init(self) -> None:
        """Record what the copy on disk says, and compare it with the database at once."""
        super().init()
        for stream in self._wanted.all().values():
            self._begin(stream)
        self._tell_self(ReconcileDue())

    def receive(self, message: object) -> object:
        """Handle requests of HTTP and of the reconciliation; the rest is the supervisor's."""
        match message:
            case StartStream():
                return self._start_stream(message)
            case StopStream(camera_id):
                return self._stop_stream(camera_id)
            case RestartStream(camera_id):
                return self._restart_stream(camera_id)
            case ReconcileDue():
                asked_at_s = self._clock.monotonic()
                self._callers.run(
                    self._recorders.read_desired,
                    lambda result: self._tell_self(DesiredRead(asked_at_s, result)),
                )
            case DesiredRead():
                self._desired_read(message)
            case ChildSettled(camera_id):
                self._child_settled(camera_id)
            case _:
                return super().receive(message)
        return None

    # Requests of users

    def _start_stream(self, start: StartStream) -> StreamStatus:
        if self.stopping:
            raise Unavailable("the server is being stopped")
        known = self._wanted.get(start.camera_id)
        if known is not None and known.owner != start.owner:
            raise OtherOwner("this camera is being recorded for another owner")
        now_s = self._clock.monotonic()
        self._touched_s[start.camera_id] = now_s
        stream = WantedStream(
            camera_id=start.camera_id,
            owner=start.owner,
            segment_seconds=start.segment_seconds,
            since=known.since if known else self._clock.now(),
        )
        self._wanted.put(stream)
        self._begin(
            stream,
            StartRequest(url=start.rtsp_url, request_id=start.request_id, asked_s=now_s),
        )
        return self._registry.get(start.camera_id)

    def _stop_stream(self, camera_id: UUID) -> StreamStatus:
        self._touched_s[camera_id] = self._clock.monotonic()
        status = self._registry.get(camera_id)
        stream = self._wanted.remove(camera_id)
        if stream is None:
            return status
        at = self._clock.now()
        self._end_stream(stream, at)
        if status.status is RecorderState.STOPPED:
            return status
        # The recorder enters the same state as soon as it handles its Shutdown.
        return replace(status, status=RecorderState.STOPPING, since=at, next_retry_at=None)

    def _restart_stream(self, camera_id: UUID) -> StreamStatus:
        status = self._child_status(camera_id)
        if status is ChildStatus.PARKED:
            self.restart_child(str(camera_id))
        elif status is not None:
            self.tell_child(str(camera_id), RestartRun())
        return self._registry.get(camera_id)

    # Recorders

    def _begin(self, stream: WantedStream, request: StartRequest = _NO_REQUEST) -> None:
        """Start the camera's recorder, or give a running one the new URL and segment length."""
        camera_id = stream.camera_id
        status = self._child_status(camera_id)
        if status in {ChildStatus.STARTING, ChildStatus.RUNNING}:
            update = UpdateStream(rtsp_url=request.url, segment_seconds=stream.segment_seconds)
            self.tell_child(str(camera_id), update)
        elif status is None:
            self.start_child(
                ChildSpec(
                    id=str(camera_id),
                    start=self._starter(camera_id, request),
                    shutdown_s=self._shutdown_s,
                )
            )
        elif status is not ChildStatus.PARKED and request is not _NO_REQUEST:
            # It starts again once it has stopped; a parked one stays parked.
            self._requests[camera_id] = request

    def _starter(self, camera_id: UUID, request: StartRequest) -> Callable[[Link], ActorRef]:
        # The first incarnation takes the request, later ones only what is wanted by then.
        requests = [request]

        def start(link: Link) -> ActorRef:
            stream = self._wanted.get(camera_id)
            if stream is None:
                raise LookupError("this camera is no longer wanted")
            child = self.child(str(camera_id))
            return self._recorders.start(
                link,
                stream,
                requests.pop() if requests else _NO_REQUEST,
                restarts=child.restarts if child else 0,
            )

        return start

    def _end_stream(self, stream: WantedStream, at: datetime) -> None:
        self._released[stream.camera_id] = (stream.owner, at)
        self._requests.pop(stream.camera_id, None)
        if self._child_status(stream.camera_id) is None:
            self._release(stream.camera_id)
            return
        self.tell_child(str(stream.camera_id), StopRecording(at))
        self.terminate_child(str(stream.camera_id))

    def _release(self, camera_id: UUID) -> None:
        if (released := self._released.pop(camera_id, None)) is not None:
            self._recorders.release(camera_id, *released)

    def child_changed(self, info: ChildInfo) -> None:
        """React to a recorder that has stopped or been parked; in this actor's thread."""
        camera_id = UUID(info.child_id)
        if info.status is ChildStatus.STOPPED:
            # The supervisor is still in the middle of it: handle it with the next message.
            self._tell_self(ChildSettled(camera_id))
        elif info.status is ChildStatus.PARKED and (stream := self._wanted.get(camera_id)):
            self._recorders.park(camera_id, stream.owner)

    def _child_settled(self, camera_id: UUID) -> None:
        if self.stopping or self._child_status(camera_id) is not ChildStatus.STOPPED:
            return
        self.delete_child(str(camera_id))
        self._release(camera_id)
        request = self._requests.pop(camera_id, _NO_REQUEST)
        if (stream := self._wanted.get(camera_id)) is not None:
            self._begin(stream, request)

    def _child_status(self, camera_id: UUID) -> ChildStatus | None:
        info = self.child(str(camera_id))
        return info.status if info is not None else None

    # Reconciling with the database

    def _desired_read(self, read: DesiredRead) -> None:
        self._timers.after(RECONCILE_EVERY_S, lambda: self._tell_self(ReconcileDue()))
        if self.stopping:
            return
        if not isinstance(read.result, DesiredState):
            log.warning("desired_state_not_read", error=str(read.result))
            return
        for row in read.result.streams:
            # A request that came while the rows were being read is newer than the rows.
            if self._touched_s.get(row.camera_id, -1.0) < read.asked_at_s:
                self._reconcile(row, read.result.segment_seconds)
        self._end_without_row(read, {row.camera_id for row in read.result.streams})
        for camera_id in read.result.gone:
            if self._wanted.get(camera_id) is None and self._child_status(camera_id) is None:
                self._recorders.forget(camera_id)
        self._touched_s = {
            camera_id: at_s
            for camera_id, at_s in self._touched_s.items()
            if at_s >= read.asked_at_s
        }

    def _end_without_row(self, read: DesiredRead, rows: Collection[UUID]) -> None:
        """End the streams that the database does not know: it was restored to an earlier time.

        Not at once, and not while it knows no stream at all: its tables may be just being filled.
        """
        unknown = {
            camera_id
            for camera_id in self._wanted.all()
            if camera_id not in rows and self._touched_s.get(camera_id, -1.0) < read.asked_at_s
        }
        self._without_row = {each: self._without_row.get(each, 0) + 1 for each in unknown}
        for camera_id, reads in self._without_row.items():
            patience = READS_WITHOUT_ROW if rows else READS_WITHOUT_ROWS
            if reads >= patience and (stream := self._wanted.remove(camera_id)) is not None:
                log.warning("stream_without_row_ended", camera=str(camera_id), owner=stream.owner)
                self._end_stream(stream, self._clock.now())

    def _reconcile(self, row: DesiredStream, segment_seconds: int) -> None:
        known = self._wanted.get(row.camera_id)
        if not row.wanted:
            if known is not None:
                log.info("stream_ended_meanwhile", camera=str(row.camera_id))
                self._wanted.remove(row.camera_id)
                self._end_stream(known, row.changed_at)
            return
        same_owner = known is not None and known.owner == row.owner
        stream = WantedStream(
            camera_id=row.camera_id,
            owner=row.owner,
            segment_seconds=segment_seconds,
            # A new owner's ledger begins where that of the last one is closed.
            since=known.since if known is not None and same_owner else row.changed_at,
        )
        if known == stream:
            return
        if known is not None and not same_owner:
            self._end_stream(known, row.changed_at)
        self._wanted.put(stream)
        self._begin(stream)
