"""Virtual cameras: each publishes to the media server, and starts again when it fails."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import structlog

from streamwarden.devkit.children import ChildCommand, ChildProcess, child_spawner
from streamwarden.devkit.video_source import TestPicture, VideoSource
from streamwarden.errors import StreamwardenError

log = structlog.get_logger(__name__)


_STOP_GRACE_S = 2.0


_THREAD_ENDS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPauses:
    """Exponential backoff with a cap and jitter.

    An attempt that lasted ``settled_s`` counts as a success. ``jitter`` returns 0 to 1; a pause is
    between half of its full length and the full length.
    """

    first_s: float = 0.5
    most_s: float = 2.0
    settled_s: float = 3.0
    jitter: Callable[[], float] = random.random

    def failures_after(self, failures: int, *, lasted_s: float) -> int:
        """Return the number of failures after one more attempt; 1 if that one had settled."""
        return 1 if lasted_s >= self.settled_s else failures + 1

    def pause_s(self, failures: int) -> float:
        """Return the pause after ``failures`` attempts in a row have failed (1 or more)."""
        full_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 16))
        return full_s * (0.5 + self.jitter() / 2)


class VirtualCamera:
    """An FFmpeg that publishes ``source`` to the URL from ``publish_url``.

    ``publish_url`` is called before each attempt, for a fresh token. If it raises, the attempt has
    failed. The URL appears only in FFmpeg's arguments.
    """

    def __init__(
        self,
        camera_id: UUID | str,
        publish_url: Callable[[], str],
        *,
        ffmpeg: str,
        source: VideoSource | None = None,
        pauses: RestartPauses | None = None,
    ) -> None:
        self.camera_id = camera_id
        self._publish_url = publish_url
        self._ffmpeg = ffmpeg
        self._source = source or TestPicture()
        self._pauses = pauses or RestartPauses()
        self._child: ChildProcess | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.attempts = 0

    @property
    def pid(self) -> int | None:
        """The FFmpeg's process id, or None between attempts."""
        child = self._child
        return child.pid if child is not None and child.running else None

    def start(self) -> None:
        """Start publishing; return at once. Call it once."""
        if self._thread is not None:
            raise RuntimeError("a virtual camera starts once")
        self._thread = threading.Thread(
            target=self._publish_for_ever, name=f"camera-{self.camera_id}", daemon=True
        )
        self._thread.start()

    def restart(self) -> None:
        """End the current attempt; the next one follows after a pause, with a fresh token."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop publishing and wait for the end. No effect when repeated or never started."""
        self.begin_stop()
        if self._thread is None:
            return
        self._thread.join(_STOP_GRACE_S)
        if self._thread.is_alive():
            self._signal(signal.SIGKILL)
            self._thread.join(_THREAD_ENDS_WITHIN_S)

    def begin_stop(self) -> None:
        """Begin to stop, without waiting."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _publish_for_ever(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            self._attempt()
            lasted_s = time.monotonic() - began
            failures = self._pauses.failures_after(failures, lasted_s=lasted_s)
            self._stopping.wait(self._pauses.pause_s(failures))

    def _attempt(self) -> None:
        self.attempts += 1
        try:
            self._publish()
        except StreamwardenError as error:
            log.warning("camera_not_published", camera=str(self.camera_id), error=str(error))
        except Exception:  # edge of the thread: a bug in the caller's function must be logged
            log.exception("camera_failed", camera=str(self.camera_id))

    def _publish(self) -> None:
        child = child_spawner().spawn(self._spec(self._publish_url()))
        self._child = child
        if self._stopping.is_set():  # begin_stop may have run before this child existed
            child.send(signal.SIGTERM)
        code = child.wait()
        if not self._stopping.is_set():
            said = child.output.last_line
            log.info("camera_ended", camera=str(self.camera_id), code=code, said=said)

    def _signal(self, number: signal.Signals) -> None:
        child = self._child
        if child is not None:
            child.send(number)

    def _spec(self, url: str) -> ChildCommand:
        quiet = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error")
        publish = ("-f", "rtsp", "-rtsp_transport", "tcp", url)
        argv = (self._ffmpeg, *quiet, *self._source.arguments(), *publish)
        return ChildCommand(name=f"camera-{self.camera_id}", argv=argv)


def stop_cameras(cameras: Iterable[VirtualCamera]) -> None:
    """Stop all cameras in parallel and wait for them."""
    cameras = list(cameras)
    for camera in cameras:
        camera.begin_stop()
    for camera in cameras:
        camera.stop()
