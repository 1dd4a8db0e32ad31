"""What the API remembers of wishes, so that a recorder gets its token while Postgres is away."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.model import Camera, DesiredStream
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.streams import StreamRepository

_LOG = structlog.get_logger(__name__)


REFRESH_S = 15.0


_FAILURE_S = 2.0


_ASKING_AT_ONCE = 2
"""Threads of the hook's listener that may wait for Postgres: the others must stay free for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedCamera:
    """What matters of one camera for a read token."""

    path: str
    active: bool
    wanted: bool


class DesiredCache:
    """Every camera that is wanted: read from Postgres on a period, and corrected at each change.

    A camera that is not remembered is not wanted, once the memory has been filled.
    """

    def __init__(
        self,
        cameras: CameraRepository,
        wishes: StreamRepository,
        clock: Clock,
        *,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._cameras = cameras
        self._wishes = wishes
        self._clock = clock
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._known: Mapping[UUID, CachedCamera] | None = None
        self._changes = 0
        self._failed_at: float | None = None
        self._asking = threading.BoundedSemaphore(_ASKING_AT_ONCE)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Fill the memory and keep it fresh on a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="wish-memory", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 5.0) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(deadline_s)

    def refresh(self) -> None:
        """Read every wish again; raise Unavailable if Postgres is away."""
        with self._lock:
            changes = self._changes
        known = self._read_all()
        with self._lock:
            if self._changes == changes:  # else a change came in between and is the newer one
                self._known = known

    def remember(self, camera: Camera, *, wanted: bool) -> None:
        """Take note of a change at once."""
        entry = CachedCamera(path=camera.path, active=camera.status == "active", wanted=wanted)
        with self._lock:
            self._changes += 1
            if self._known is not None:
                self._known = {**self._known, camera.id: entry}

    def forget(self, camera_id: UUID) -> None:
        """Take note that the camera is gone."""
        with self._lock:
            self._changes += 1
            if self._known is not None:
                self._known = {k: v for k, v in self._known.items() if k != camera_id}

    def look_up(self, camera_id: UUID) -> CachedCamera | None:
        """Return what is known of the camera, None where nothing is: from Postgres if it answers.

        Otherwise from memory, and for a while at once. Raises Unavailable while there is no memory
        yet: not knowing is no reason to stop a recording.
        """
        if self._worth_asking() and self._asking.acquire(blocking=False):
            try:
                return self._ask(camera_id)
            except Unavailable:
                self._failed_at = self._clock.monotonic()
            finally:
                self._asking.release()
        return self._recall(camera_id)

    def _worth_asking(self) -> bool:
        failed_at = self._failed_at
        return failed_at is None or self._clock.monotonic() - failed_at >= _FAILURE_S

    def _ask(self, camera_id: UUID) -> CachedCamera | None:
        camera = self._cameras.get(camera_id)
        wish = self._wishes.get(camera_id)
        self._failed_at = None
        return None if camera is None else _entry(camera, wish)

    def _recall(self, camera_id: UUID) -> CachedCamera | None:
        with self._lock:
            if self._known is None:
                raise Unavailable("the wishes are not known yet")
            return self._known.get(camera_id)

    def _read_all(self) -> dict[UUID, CachedCamera]:
        wanted = {wish.camera_id: wish for wish in self._wishes.all() if wish.wanted}
        active = self._cameras.all_active()
        return {c.id: _entry(c, wanted[c.id]) for c in active if c.id in wanted}

    def _run(self) -> None:
        while True:
            try:
                self.refresh()
            except Unavailable as error:
                _LOG.info("wish_memory_not_refreshed", why=error.code)
            except Exception:  # noqa: BLE001 - an edge: the thread outlives a bug in one refresh
                _LOG.exception("wish_memory_failed")
            if self._stopping.wait(self._refresh_s):
                return


def _entry(camera: Camera, wish: DesiredStream | None) -> CachedCamera:
    return CachedCamera(
        path=camera.path,
        active=camera.status == "active",
        wanted=wish is not None and wish.wanted,
    )
