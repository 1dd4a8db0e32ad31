"""The quarantine: where recording goes on while the record root is not the known one.

It is a record root whose database never answers. What records into it is the same as for the record root
(`open_resources`), with threads, a journal and a ledger of its own, so that nothing of it can reach the
index; `streamwarden recordings adopt-quarantine` brings its segments home.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.messages import RecorderState, StartStream, StopStream
from streamwarden.actors.status import StatusRegistry
from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from streamwarden.app.resources import ENDS_RUNS, open_resources
from streamwarden.app.tree import SupervisionTree, start_stream_manager
from streamwarden.clock import Clock
from streamwarden.config.loading import variable
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, Unavailable
from streamwarden.ffmpeg.sandbox import Sandbox
from streamwarden.metrics.http_metrics import new_registry
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.paths import STATE
from streamwarden.recordings.durable import make_folder
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.quarantine_files import count_of
from streamwarden.recordings.root_watch import RootWatch
from streamwarden.storage.pool import Database
from streamwarden.supervision import (
    INFINITY,
    ActorRef,
    ChildSpec,
    ChildType,
    Intensity,
    Link,
    SupervisorSpec,
    tell,
)

log = structlog.get_logger(__name__)

STEP_EVERY_S: Final = 1.0
BEGINS_AFTER_S: Final = 5.0
"""A mount that is done again within seconds needs no quarantine."""
_RETRY_S: Final = 30.0
_COUNT_EVERY_S: Final = 60.0
_STOPS_WITHIN_S: Final = 5.0
_STARTED_WITHIN_S: Final = 10.0


def quarantine_folder(settings: Settings, record_root: Path) -> Path | None:
    """Return the folder that the operator has chosen, None where none is.

    Raises:
        ConfigError: it does not exist, cannot be written, or the record root is inside it, or around it.
    """
    folder = settings.quarantine_folder
    if folder is None:
        return None
    name = variable("quarantine_folder")
    if not folder.is_dir():
        raise ConfigError(f"{name}: {folder} is not an existing folder")
    folder = folder.resolve()
    if folder.is_relative_to(record_root) or record_root.is_relative_to(folder):
        raise ConfigError(
            f"{name}: {folder} and the record root {record_root} must not contain each other"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{name}: {folder} cannot be written by this user")
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineState:
    """How many cameras are recorded into the quarantine, and how many segments wait in it."""

    recording: int = 0
    segments: int = 0


class Quarantine:
    """Records into ``folder`` while ``watch`` has a fault that ends runs, and no longer.

    ``step`` and ``stop`` are for one thread at a time; the rest is for any thread.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        folder: Path,
        watch: RootWatch,
        wanted: WantedStreams,
        database: Database,
        clock: Clock,
        sandbox: Sandbox | None,
    ) -> None:
        self.folder = folder
        self._sandbox = sandbox
        self._settings = settings
        self._watch = watch
        self._wanted = wanted
        self._database = database
        self._clock = clock
        self._since_s: float | None = None
        self._not_before_s = clock.monotonic()
        self._counted_s = -_COUNT_EVERY_S
        self._segments = 0
        self._active: ActiveQuarantine | None = None

    def state(self) -> QuarantineState:
        """Return what is recorded into the quarantine and waits in it."""
        active = self._active
        return QuarantineState(
            recording=active.recording() if active else 0, segments=self._segments
        )

    def in_words(self) -> str:
        """Return a sentence for the operator while the quarantine is used, else nothing."""
        if self._active is None:
            return ""
        return (
            f"; {self.state().recording} cameras are recorded into the quarantine {self.folder}"
            " (afterwards: streamwarden recordings adopt-quarantine)"
        )

    def step(self) -> float:
        """Begin or end the recording into the quarantine, as the record root's state asks for."""
        now_s = self._clock.monotonic()
        fault = self._watch.fault()
        if fault is None or fault.cause not in ENDS_RUNS:
            self._since_s = None
            if fault is None:
                self._end("the record root is back")
        elif self._since_s is None:
            self._since_s = now_s
        if self._active is not None:
            self._keep(self._active, now_s)
        elif self._since_s is not None and now_s >= max(
            self._since_s + BEGINS_AFTER_S, self._not_before_s
        ):
            self._begin(now_s)
        if now_s - self._counted_s >= _COUNT_EVERY_S:
            self._count(now_s)
        return STEP_EVERY_S

    def stop(self) -> None:
        """End the recording into the quarantine; its last segments are finished."""
        self._end("the server stops")

    def _begin(self, now_s: float) -> None:
        try:
            self._active = ActiveQuarantine(
                settings=self._settings,
                folder=self.folder,
                database=self._database,
                clock=self._clock,
                wanted=self._wanted,
                sandbox=self._sandbox,
            )
        except (ConfigError, OSError, Unavailable) as error:
            self._not_before_s = now_s + _RETRY_S
            log.error("quarantine_unusable", folder=str(self.folder), reason=str(error))  # noqa: TRY400 - the text says it all
            return
        fault = self._watch.fault()
        log.error(
            "quarantine_begun",
            folder=str(self.folder),
            cause=fault.cause if fault else None,
            adopt="streamwarden recordings adopt-quarantine",
        )

    def _keep(self, active: ActiveQuarantine, now_s: float) -> None:
        if not active.has_space():
            self._not_before_s = now_s + _RETRY_S
            self._end("no more than the reserve is free")
        elif active.failed:
            self._not_before_s = now_s + _RETRY_S
            self._end(active.failed)
        else:
            active.follow(self._wanted)

    def _end(self, reason: str) -> None:
        active, self._active = self._active, None
        if active is None:
            return
        active.close()
        self._count(self._clock.monotonic())
        log.warning(
            "quarantine_ended", folder=str(self.folder), reason=reason, segments=self._segments
        )

    def _count(self, now_s: float) -> None:
        self._counted_s = now_s
        self._segments = count_of(self.folder)


class ActiveQuarantine:
    """Everything that records into the quarantine, started; ``close`` ends it in order.

    ``failed`` says why its supervision tree has given up, and is empty while it has not.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        folder: Path,
        database: Database,
        clock: Clock,
        wanted: WantedStreams,
        sandbox: Sandbox | None,
    ) -> None:
        self.failed = ""
        self._settings = settings
        self._clock = clock
        self._registry = StatusRegistry(clock)
        # What is recorded here is not in the index, so its figures are not among those of the role.
        self._metrics = RecordingMetrics(new_registry())
        self._manager: ActorRef | None = None
        self._followed: dict[UUID, WantedStream] = {}
        state = folder / STATE
        make_folder(state)
        # What an earlier quarantine has recorded may no longer be wanted.
        (state / "streams.json").unlink(missing_ok=True)
        with ExitStack() as closing:
            self._resources = open_resources(
                settings,
                folder,
                closing,
                metrics=self._metrics,
                database=database,
                clock=clock,
                registry=self._registry,
                live=LiveIndex(clock),
                sandbox=sandbox,
                # Never opened, so it never answers: rows stay in the journal, runs are numbered by time.
                index_of=Database(settings.secret("database_url"), application_name="quarantine"),
            )
            if (fault := self._resources.watch.fault()) is not None:
                raise ConfigError(fault.text)
            if not self.has_space():
                raise ConfigError("no more than the reserve is free")
            for stream in wanted.all().values():
                self._resources.wanted.put(stream)
                self._followed[stream.camera_id] = stream
            self._start_tree(closing)
            self._closing = closing.pop_all()

    def close(self) -> None:
        """Finish every segment and release the folder."""
        self._closing.close()

    def recording(self) -> int:
        """Return how many cameras are recorded."""
        return sum(one.status is RecorderState.RUNNING for one in self._registry.all())

    def has_space(self) -> bool:
        """Return whether more than the reserve is free."""
        space = self._resources.watch.space
        reserve = self._settings.free_space_reserve
        return space is None or space.free_bytes > reserve.bytes_of(space.total_bytes)

    def follow(self, wanted: WantedStreams) -> None:
        """Start and stop cameras as users have done meanwhile."""
        if self._manager is None:
            return
        now = dict(wanted.all())
        for camera_id, stream in self._followed.items():
            if camera_id not in now or now[camera_id].owner != stream.owner:
                tell(self._manager, StopStream(camera_id))
        for camera_id, stream in now.items():
            if self._followed.get(camera_id) != stream:
                tell(
                    self._manager,
                    StartStream(
                        camera_id=camera_id,
                        owner=stream.owner,
                        rtsp_url=None,
                        segment_seconds=stream.segment_seconds,
                    ),
                )
        self._followed = now

    def _start_tree(self, closing: ExitStack) -> None:
        tree = SupervisionTree(
            spec=SupervisorSpec(
                limit=Intensity(intensity=5, period_s=60.0),
                children=(
                    ChildSpec(
                        id="stream_manager",
                        start=self._start_manager,
                        shutdown_s=INFINITY,
                        type=ChildType.SUPERVISOR,
                    ),
                ),
            ),
            timers=self._resources.timers,
            clock=self._clock,
            metrics=self._metrics,
            on_failure=self._give_up,
        )
        closing.callback(tree.stop, _STOPS_WITHIN_S)
        if not tree.wait_until_up(_STARTED_WITHIN_S):
            raise ConfigError("the actors of the quarantine did not start; the log says why")

    def _give_up(self, reason: str) -> None:
        self.failed = reason

    def _start_manager(self, link: Link) -> ActorRef:
        self._manager = start_stream_manager(
            link, self._resources, shutdown_s=_STOPS_WITHIN_S - 1.0
        )
        return self._manager
