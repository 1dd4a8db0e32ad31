"""The desired state of all cameras in memory: read tokens for recorders while Postgres is down."""

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

log = structlog.get_logger(__name__)
REFRESH_S = 15.0
_FAILURE_S = 2.0
_MAX_QUERIES = 2
"""Threads of the internal API that may wait for Postgres; the others stay free for the hook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedCamera:
    """The fields of one camera that decide about a read token."""

    path: str
    active: bool
    wanted: bool


class DesiredCache:
    """The wanted cameras: read from Postgres every `REFRESH_S`, and updated at each change.

    Once the cache is filled, a camera that is not in it is not wanted.
    """

    def __init__(
        self,
        cameras: CameraRepository,
        desired: StreamRepository,
        clock: Clock,
        *,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._cameras = cameras
        self._desired = desired
        self._clock = clock
        self._refresh_s = refresh_s
        self._lock = threading.Lock()
        self._known: Mapping[UUID, CachedCamera] | None = None
        self._changes = 0
        self._failed_at: float | None = None
        self._queries = threading.BoundedSemaphore(_MAX_QUERIES)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that fills the cache and keeps it fresh."""
        self._thread = threading.Thread(target=self._run, name="desired-cache", daemon=True)
        self._thread.start()

    def stop(self, deadline_s: float = 5.0) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(deadline_s)

    def refresh(self) -> None:
        """Read all rows again; raise Unavailable if Postgres does not answer."""
        with self._lock:
            changes = self._changes
        known = self._read_all()
        with self._lock:
            if self._changes == changes:  # else a change came in between, which is newer
                self._known = known

    def remember(self, camera: Camera, *, wanted: bool) -> None:
        """Update the cache after a change."""
        entry = CachedCamera(path=camera.path, active=camera.status == "active", wanted=wanted)
        with self._lock:
            self._changes += 1
            if self._known is not None:
                self._known = {**self._known, camera.id: entry}

    def forget(self, camera_id: UUID) -> None:
        """Remove a camera."""
        with self._lock:
            self._changes += 1
            if self._known is not None:
                self._known = {k: v for k, v in self._known.items() if k != camera_id}

    def camera_at(self, path: str) -> UUID | None:
        """Return the camera at ``path``, None where none is known; from memory without Postgres."""
        if self._may_query():
            try:
                return self._cameras.id_at(path)
            except Unavailable:
                self._failed_at = self._clock.monotonic()
        known = self._known or {}
        return next((camera_id for camera_id, one in known.items() if one.path == path), None)

    def look_up(self, camera_id: UUID) -> CachedCamera | None:
        """Return the camera from Postgres, or from the cache where that does not answer.

        After a failure the cache is used at once for a while. Returns None for a camera that is unknown
        or not wanted. Raises Unavailable while the cache is empty: that must not stop a recording.
        """
        if self._may_query() and self._queries.acquire(blocking=False):
            try:
                return self._query(camera_id)
            except Unavailable:
                self._failed_at = self._clock.monotonic()
            finally:
                self._queries.release()
        with self._lock:
            if self._known is None:
                raise Unavailable("the desired streams are not known yet")
            return self._known.get(camera_id)

    def _may_query(self) -> bool:
        failed_at = self._failed_at
        return failed_at is None or self._clock.monotonic() - failed_at >= _FAILURE_S

    def _query(self, camera_id: UUID) -> CachedCamera | None:
        camera = self._cameras.get(camera_id)
        desired = self._desired.get(camera_id)
        self._failed_at = None
        return None if camera is None else _entry(camera, desired)

    def _read_all(self) -> dict[UUID, CachedCamera]:
        wanted = {row.camera_id: row for row in self._desired.all() if row.wanted}
        active = self._cameras.all_active()
        return {c.id: _entry(c, wanted[c.id]) for c in active if c.id in wanted}

    def _run(self) -> None:
        while True:
            try:
                self.refresh()
            except Unavailable as error:
                log.info("desired_cache_not_refreshed", why=error.code)
            except Exception:  # edge of a thread: it outlives a bug in one refresh
                log.exception("desired_cache_failed")
            if self._stopping.wait(self._refresh_s):
                return


def _entry(camera: Camera, desired: DesiredStream | None) -> CachedCamera:
    return CachedCamera(
        path=camera.path,
        active=camera.status == "active",
        wanted=desired is not None and desired.wanted,
    )
