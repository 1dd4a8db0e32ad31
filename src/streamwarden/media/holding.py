"""Who holds a camera's runs: what is kept for the next holder, and what the present one may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from uuid import UUID

from streamwarden.media.command import RunOrder
from streamwarden.media.run import Ended, Run, RunListener


@dataclass(slots=True)
class CameraBook:
    """A camera's runs by number, and who is told about them."""

    listener: RunListener
    runs: dict[int, Run] = field(default_factory=dict)
    ended: dict[int, Ended] = field(default_factory=dict)

    def tell_all(self) -> None:
        """Tell the listener everything that nobody has dealt with yet, then ``adopted``."""
        for number, run in sorted(self.runs.items()):
            self.listener.spawned(number, run.spawned_at)
            if run.recording:
                self.listener.recording(number, run.clock.now())
            # A clock that was set and a segment that is overdue are told again at the next look: the
            # holder that knew has failed.
            run.step_told = run.overdue_told = False
            for segment in run.pending.values():
                self.listener.listed(number, segment)
        for number, end in sorted(self.ended.items()):
            self.listener.ended(number, end)
        self.listener.adopted()


class Watching(Protocol):
    """What ``CameraRuns`` needs of the watcher; all but ``enqueue`` in the watching thread."""

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the watching thread."""

    def held(self, camera_id: UUID, listener: RunListener) -> CameraBook | None:
        """Return the camera if ``listener`` still holds it."""

    def queue_spawn(self, camera: CameraBook, order: RunOrder) -> None:
        """Spawn as soon as the pace allows."""

    def stop_run(self, camera: CameraBook, number: int) -> None:
        """Ask a run to end."""


class CameraRuns:
    """What the holder of a camera may do with its runs; powerless once another has adopted it."""

    def __init__(self, watcher: Watching, camera_id: UUID, listener: RunListener) -> None:
        self._watcher = watcher
        self._camera_id = camera_id
        self._listener = listener

    def spawn(self, order: RunOrder) -> None:
        """Start an FFmpeg; ``spawned`` follows, or ``ended`` when it cannot be started."""
        self._enqueue(lambda camera: self._watcher.queue_spawn(camera, order))

    def stop(self, run: int) -> None:
        """End a run in order: SIGTERM, and SIGKILL when that is not enough; ``ended`` follows."""
        self._enqueue(lambda camera: self._watcher.stop_run(camera, run))

    def settled(self, run: int, number: int) -> None:
        """A listed segment is in its final place: it need not be told again."""
        self._enqueue(lambda camera: settle(camera, run, number))

    def forget(self, run: int) -> None:
        """An ended run has been dealt with entirely."""
        self._enqueue(lambda camera: forget(camera, run))

    def _enqueue(self, command: Callable[[CameraBook], None]) -> None:
        self._watcher.enqueue(partial(self._carry_out, command))

    def _carry_out(self, command: Callable[[CameraBook], None]) -> None:
        camera = self._watcher.held(self._camera_id, self._listener)
        if camera is not None:
            command(camera)


def settle(camera: CameraBook, run: int, number: int) -> None:
    """Drop a listed segment from what would be told again."""
    if (live := camera.runs.get(run)) is not None:
        live.pending.pop(number, None)


def forget(camera: CameraBook, run: int) -> None:
    """Drop an ended run."""
    if run in camera.ended:
        del camera.ended[run]
        camera.runs.pop(run, None)
