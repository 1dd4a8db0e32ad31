"""What an administrator does with a camera, and what follows for its stream."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from streamwarden.auth.users import User
from streamwarden.clock import Clock
from streamwarden.errors import Conflict
from streamwarden.http.api.access import CameraNotFound
from streamwarden.http.api.camera_models import CameraChanges, NewCamera
from streamwarden.http.api.ports import CameraRow, Cameras, Segments, Wishes
from streamwarden.http.api.revocation import Revocations
from streamwarden.http.api.sources import Sources
from streamwarden.http.api.streams import StreamService


class StreamWanted(Conflict):
    """The camera is being recorded for its present owner; disconnect it first."""

    code = "stream_wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraService:
    """Adds, changes and removes cameras."""

    cameras: Cameras
    wishes: Wishes
    segments: Segments
    streams: StreamService
    revocations: Revocations
    sources: Sources
    clock: Clock

    def add(self, new: NewCamera) -> CameraRow:
        """Add a camera; raise Conflict ``path_taken``, and as ``Sources.plan``."""
        camera_id = uuid4()
        path = new.path or str(camera_id)
        change = self.sources.plan(camera_id, path, new.sources_given(), is_new=True)
        camera = self.cameras.add(
            name=new.name,
            owner=new.owner,
            path=path,
            status=new.status,
            created_at=self.clock.now(),
            camera_id=camera_id,
            source=None if change is None else change.source,
        )
        if change is not None:
            self.sources.wake()
        return camera

    def change(
        self, camera_id: UUID, changes: CameraChanges, *, by: User, request_id: str
    ) -> CameraRow:
        """Change a camera. Deactivating stops it; a new path reaches the next spawn.

        Raises:
            StreamWanted: a new owner, while the camera is recorded for the old one.
            InvalidInput, Conflict: as ``Sources.plan``.
        """
        before = self._existing(camera_id)
        wish = self.wishes.get(camera_id)
        wanted = wish is not None and wish.wanted
        given = changes.given()
        if wanted and given.get("owner", before.owner) != before.owner:
            raise StreamWanted("disconnect the stream before the camera changes its owner")
        path = given.get("path", before.path)
        source = self.sources.plan(camera_id, path, changes.sources_given())
        after = self.cameras.update(
            camera_id,
            name=given.get("name"),
            path=given.get("path"),
            status=given.get("status"),
            owner=given.get("owner"),
            source=None if source is None else source.source,
            drop_source=source is not None and source.source is None,
        )
        if after is None:
            raise CameraNotFound("there is no such camera")
        if before.source_url or after.source_url:
            self.sources.wake()
        self.revocations.camera_changed(before, after)
        self._follow(before, after, wanted=wanted, by=by, request_id=request_id)
        return after

    def remove(self, camera_id: UUID, *, with_recordings: bool, by: User, request_id: str) -> None:
        """Stop and remove a camera; its recordings stay until retention unless asked otherwise."""
        camera = self._existing(camera_id)
        self.streams.retire(
            camera, by=by, request_id=request_id, then=lambda: self.cameras.remove(camera_id)
        )
        if camera.source_url:
            self.sources.wake()
        if with_recordings:
            self.segments.mark_camera_deleting(camera_id)

    def _existing(self, camera_id: UUID) -> CameraRow:
        camera = self.cameras.get(camera_id)
        if camera is None:
            raise CameraNotFound("there is no such camera")
        return camera

    def _follow(
        self, before: CameraRow, after: CameraRow, *, wanted: bool, by: User, request_id: str
    ) -> None:
        if after.status != "active":
            self.streams.retire(after, by=by, request_id=request_id, then=_nothing)
        elif wanted:
            self.streams.memory.remember(after, wanted=True)
            if after.path != before.path:
                self.streams.hand_over(after, request_id)


def _nothing() -> None:
    """Do nothing."""
