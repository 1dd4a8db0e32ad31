"""Repositories in memory, with the meaning of the real ones; ``contract/storage`` compares them.

``FakeStorage`` holds one of each over shared rows. With ``down`` set, every call raises
``StorageUnavailable``, as while Postgres is unavailable.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

from streamwarden.errors import Conflict
from streamwarden.model import (
    Camera,
    CameraSource,
    DesiredChange,
    DesiredStream,
    Page,
    Source,
    WantedPeriod,
)
from streamwarden.storage.cameras import CameraRepository, PathTaken, SourceRepository
from streamwarden.storage.pool import Position, decode_cursor
from streamwarden.storage.streams import PeriodRepository, SettingsRepository, StreamRepository
from tests.fakes.storage_access import (
    FakeAuditRepository,
    FakeDenialRepository,
    FakeGrantRepository,
)
from tests.fakes.storage_recordings import (
    FakeGapRepository,
    FakeRecordingsRepository,
    FakeSegmentRepository,
)
from tests.fakes.storage_tables import FakeRepository, FakeTables, overlaps, page_of


class FakeCameraRepository(FakeRepository, CameraRepository):
    """The table ``camera`` in memory."""

    def get(self, camera_id: UUID) -> Camera | None:
        return self._tables.cameras.get(camera_id)

    def id_at(self, path: str) -> UUID | None:
        cameras = self._tables.cameras.values()
        return next((camera.id for camera in cameras if camera.path == path), None)

    def refuse_taken(self, path: str) -> None:
        self._refuse_taken(path)

    def add(
        self,
        *,
        name: str,
        owner: str,
        created_at: datetime,
        path: str | None = None,
        status: str = "active",
        camera_id: UUID | None = None,
        source: Source | None = None,
    ) -> Camera:
        camera_id = camera_id or uuid4()
        if camera_id in self._tables.cameras:
            raise Conflict("a camera with this id exists already")
        path = path or str(camera_id)
        self._refuse_taken(path)
        camera = Camera(
            id=camera_id, name=name, path=path, owner=owner, status=status, created_at=created_at
        )
        self._tables.cameras[camera_id] = camera
        return self._with_source(camera, source)

    def update(
        self,
        camera_id: UUID,
        *,
        name: str | None = None,
        path: str | None = None,
        status: str | None = None,
        owner: str | None = None,
        at: datetime | None = None,
        source: Source | None = None,
        drop_source: bool = False,
    ) -> Camera | None:
        if not (before := self._tables.cameras.get(camera_id)):
            return None
        if path is not None and path != before.path:
            self._refuse_taken(path)
        camera = replace(
            before,
            name=before.name if name is None else name,
            path=before.path if path is None else path,
            status=before.status if status is None else status,
            owner=before.owner if owner is None else owner,
        )
        if camera.owner != before.owner:
            camera = replace(camera, owned_since=at)
            grants = self._tables.grants
            self._tables.grants = {key: g for key, g in grants.items() if key[0] != camera_id}
        self._tables.cameras[camera_id] = camera
        desired = self._tables.desired_streams.get(camera_id)
        if desired and (desired.owner, desired.path) != (camera.owner, camera.path):
            self._tables.desired_streams[camera_id] = replace(
                desired, owner=camera.owner, path=camera.path, epoch=desired.epoch + 1
            )
        if drop_source:
            self._tables.sources.pop(camera_id, None)
            camera = replace(
                camera, source_url=None, source_credentials=False, source_transport=None
            )
            self._tables.cameras[camera_id] = camera
        return self._with_source(camera, source)

    def remove(self, camera_id: UUID) -> bool:
        removed = self._tables.cameras.pop(camera_id, None)
        self._tables.sources.pop(camera_id, None)
        grants = self._tables.grants
        self._tables.grants = {key: g for key, g in grants.items() if key[0] != camera_id}
        return removed is not None

    def list_visible(
        self, user_sub: str | None, *, limit: int, cursor: str | None = None
    ) -> Page[Camera]:
        after = decode_cursor(cursor)
        granted = {camera_id for camera_id, sub, _ in self._tables.grants if sub == user_sub}
        found = [
            camera
            for camera in self._tables.cameras.values()
            if user_sub is None or camera.owner == user_sub or camera.id in granted
        ]
        return page_of(found, _camera_position, after=after, limit=limit)

    def existing(self, ids: Collection[UUID]) -> set[UUID]:
        return {camera_id for camera_id in ids if camera_id in self._tables.cameras}

    def all_active(self) -> list[Camera]:
        active = [c for c in self._tables.cameras.values() if c.status == "active"]
        return sorted(active, key=_camera_position)

    def _with_source(self, camera: Camera, source: Source | None) -> Camera:
        if source is not None:
            self._tables.sources[camera.id] = source
            camera = replace(
                camera,
                source_url=source.url,
                source_credentials=source.encrypted is not None,
                source_transport=source.transport,
            )
            self._tables.cameras[camera.id] = camera
        return camera

    def _refuse_taken(self, path: str) -> None:
        if any(camera.path == path for camera in self._tables.cameras.values()):
            raise PathTaken("another camera has this path")


class FakeSourceRepository(FakeRepository, SourceRepository):
    """The tables ``camera_source`` and ``pulled_path`` in memory."""

    def get(self, camera_id: UUID) -> Source | None:
        return self._tables.sources.get(camera_id)

    def all(self) -> list[CameraSource]:
        cameras = self._tables.cameras
        return [
            CameraSource(
                camera_id=camera_id,
                path=cameras[camera_id].path,
                status=cameras[camera_id].status,
                url=source.url,
                encrypted=source.encrypted,
                transport=source.transport,
            )
            for camera_id, source in sorted(self._tables.sources.items())
        ]

    def is_at(self, camera_id: UUID, path: str) -> bool:
        camera = self._tables.cameras.get(camera_id)
        return camera is not None and camera.path == path and camera_id in self._tables.sources

    def renew(self, camera_id: UUID, before: bytes, after: bytes) -> bool:
        source = self._tables.sources.get(camera_id)
        if source is None or source.encrypted != before:
            return False
        self._tables.sources[camera_id] = replace(source, encrypted=after)
        return True

    def hide(self, camera_id: UUID, before: str, url: str, encrypted: bytes) -> bool:
        source = self._tables.sources.get(camera_id)
        if source is None or source.url != before:
            return False
        self._tables.sources[camera_id] = replace(source, url=url, encrypted=encrypted)
        return True

    def paths_set(self) -> set[str]:
        return set(self._tables.paths_set)

    def note_path(self, path: str) -> None:
        self._tables.paths_set.add(path)

    def forget_path(self, path: str) -> None:
        self._tables.paths_set.discard(path)


class FakeSettingsRepository(FakeRepository, SettingsRepository):
    """The table ``settings`` in memory."""

    def get(self, key: str) -> object:
        return self._tables.settings.get(key)

    def put(self, key: str, value: object) -> None:
        self._tables.settings[key] = value


class FakeStreamRepository(FakeRepository, StreamRepository):
    """The table ``stream`` in memory."""

    def get(self, camera_id: UUID) -> DesiredStream | None:
        return self._tables.desired_streams.get(camera_id)

    def all(self) -> list[DesiredStream]:
        return sorted(self._tables.desired_streams.values(), key=lambda desired: desired.camera_id)

    def want(self, camera: Camera, *, requested_by: str, at: datetime) -> DesiredChange:
        before = self.get(camera.id)
        after = DesiredStream(
            camera_id=camera.id,
            owner=camera.owner,
            path=camera.path,
            wanted=True,
            epoch=before.epoch + 1 if before else 1,
            requested_by=requested_by,
            changed_at=at,
            node=before.node if before else None,
        )
        self._tables.desired_streams[camera.id] = after
        if not self._open_period(camera.id):
            period = WantedPeriod(camera_id=camera.id, started_at=at, ended_at=None)
            self._tables.periods.append(period)
        return DesiredChange(before=before, after=after)

    def unwant(self, camera_id: UUID, *, requested_by: str, at: datetime) -> DesiredStream | None:
        if (period := self._open_period(camera_id)) is not None:
            self._tables.periods.remove(period)
            self._tables.periods.append(replace(period, ended_at=max(period.started_at, at)))
        desired = self.get(camera_id)
        if desired and desired.wanted:
            desired = replace(
                desired,
                wanted=False,
                epoch=desired.epoch + 1,
                requested_by=requested_by,
                changed_at=at,
            )
            self._tables.desired_streams[camera_id] = desired
        return desired

    def put_back(self, change: DesiredChange, *, at: datetime) -> bool:
        now = self.get(change.after.camera_id)
        if now is None or now.epoch != change.after.epoch:
            return False
        before = change.before or replace(now, wanted=False, changed_at=at)
        self._tables.desired_streams[now.camera_id] = replace(
            before, epoch=now.epoch + 1, node=now.node
        )
        if not before.wanted and (period := self._open_period(now.camera_id)):
            self._tables.periods.remove(period)
        return True

    def claim(self, camera_id: UUID, node: str) -> bool:
        desired = self.get(camera_id)
        if desired is None or not desired.wanted:
            return False
        self._tables.desired_streams[camera_id] = replace(desired, node=node)
        return True

    def _open_period(self, camera_id: UUID) -> WantedPeriod | None:
        periods = self._tables.periods
        return next((p for p in periods if p.camera_id == camera_id and p.ended_at is None), None)


class FakePeriodRepository(FakeRepository, PeriodRepository):
    """The table ``wanted_period`` in memory."""

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[WantedPeriod]:
        found = [p for p in self._tables.periods if p.camera_id == camera_id]
        overlapping = [p for p in found if overlaps(p.started_at, p.ended_at, from_, to)]
        return sorted(overlapping, key=lambda period: period.started_at)

    def camera_ids(self) -> list[UUID]:
        return sorted({period.camera_id for period in self._tables.periods})

    def drop_before(self, moment: datetime) -> int:
        kept = [p for p in self._tables.periods if p.ended_at is None or p.ended_at >= moment]
        dropped = len(self._tables.periods) - len(kept)
        self._tables.periods[:] = [
            p if p.ended_at == moment else replace(p, started_at=max(p.started_at, moment))
            for p in kept
        ]
        return dropped


class FakeStorage:
    """One of each repository over the same rows."""

    def __init__(self) -> None:
        self.tables = FakeTables()
        self.cameras = FakeCameraRepository(self.tables)
        self.sources = FakeSourceRepository(self.tables)
        self.grants = FakeGrantRepository(self.tables)
        self.denials = FakeDenialRepository(self.tables)
        self.audit = FakeAuditRepository(self.tables)
        self.settings = FakeSettingsRepository(self.tables)
        self.streams = FakeStreamRepository(self.tables)
        self.periods = FakePeriodRepository(self.tables)
        self.segments = FakeSegmentRepository(self.tables)
        self.gaps = FakeGapRepository(self.tables)
        self.recordings = FakeRecordingsRepository(self.tables)

    @property
    def down(self) -> bool:
        """Whether every call raises ``StorageUnavailable``."""
        return self.tables.down

    @down.setter
    def down(self, down: bool) -> None:
        self.tables.down = down


def _camera_position(camera: Camera) -> Position:
    return Position(camera.created_at, camera.id)
