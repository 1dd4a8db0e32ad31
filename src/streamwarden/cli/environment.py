"""What operators do by hand: cameras, migrations, lists. The command line is a shell over it.

These functions work on the database directly, so they need no running role.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from uuid import UUID, uuid4

from streamwarden.auth.keys import parse_keys
from streamwarden.cli.access_tools import OPERATOR, AccessTools
from streamwarden.cli.camera_input import check_camera
from streamwarden.clock import Clock
from streamwarden.config import settings as config
from streamwarden.config.settings import Settings
from streamwarden.errors import InvalidInput, NotFound
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.mediamtx.camera_source import told_of
from streamwarden.mediamtx.credentials import parse_credential_keys
from streamwarden.model import Camera, Gap, Page, Segment
from streamwarden.storage.cameras import CameraRepository, SourceRepository
from streamwarden.storage.migrate import Migration, migrate
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import RecordingsRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository, StreamRepository

_PAGE = 500


_NO_SOURCE: Mapping[str, str | None] = MappingProxyType({})


_DAY = timedelta(days=1)


def load_settings(
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings, the grammar of the keys checked too; raises ConfigError."""
    checks = {"stream_token_keys": parse_keys, "source_secret_keys": parse_credential_keys}
    return config.load(config_file, environ, overrides, checks=checks)


def ffmpeg_for(settings: Settings) -> str:
    """Return the FFmpeg to run: the configured one, the one on PATH, or the bundled one."""
    return find_ffmpeg(settings.ffmpeg)


def migrate_database(settings: Settings) -> list[Migration]:
    """Bring the database up to date; return what was applied."""
    return migrate(settings.secret("database_url"))


def camera_path(settings: Settings, camera_id: UUID) -> str:
    """Return where the camera publishes; raises NotFound."""
    with open_database(settings) as database:
        return _found(CameraRepository(database).get(camera_id), camera_id).path


def add_camera(
    settings: Settings,
    *,
    name: str,
    owner: str,
    path: str | None,
    status: str,
    camera_id: UUID | None = None,
    source: Mapping[str, str | None] = _NO_SOURCE,
) -> Camera:
    """Add a camera; its path defaults to its id. Raises InvalidInput and Conflict.

    With the ``camera_id`` of a camera that was lost, what it has recorded is its own again.
    ``source`` holds what of `FIELDS` is given.
    """
    from streamwarden.app.api_role import source_planner

    check_camera(name=name, owner=owner, path=path)
    camera_id = camera_id or uuid4()
    path = path or str(camera_id)
    change = source_planner(settings).plan(camera_id, path, None, source)
    with open_database(settings) as database:
        camera = CameraRepository(database).add(
            name=name,
            owner=owner,
            path=path,
            status=status,
            created_at=Clock().now(),
            camera_id=camera_id,
            source=None if change is None else change.source,
        )
        if change is not None:
            told = told_of(source, camera.source_url)
            AccessTools(database, Clock()).note("add_camera", camera_id=camera_id, **told)
        return camera


def list_cameras(settings: Settings) -> list[Camera]:
    """Return every camera, oldest first."""
    with open_database(settings) as database:
        return list(_every_camera(CameraRepository(database)))


def set_camera(
    settings: Settings,
    camera_id: UUID,
    *,
    name: str | None,
    owner: str | None,
    path: str | None,
    status: str | None,
    source: Mapping[str, str | None] = _NO_SOURCE,
) -> Camera:
    """Change what is given. Raises InvalidInput, Conflict and NotFound.

    Deactivating ends a running recording as removing does. ``source`` is as in ``add_camera``.
    """
    from streamwarden.app.api_role import source_planner

    if name is owner is path is status is None and not source:
        raise InvalidInput(
            "nothing to change: give --name, --owner, --path, --status or --source-url"
        )
    check_camera(name=name, owner=owner, path=path)
    with open_database(settings) as database:
        cameras = CameraRepository(database)
        before = _found(cameras.get(camera_id), camera_id)
        stored = SourceRepository(database).get(camera_id)
        change = source_planner(settings).plan(camera_id, path or before.path, stored, source)
        changed = cameras.update(
            camera_id,
            name=name,
            owner=owner,
            path=path,
            status=status,
            source=None if change is None else change.source,
            drop_source=change is not None and change.source is None,
        )
        camera, clock = _found(changed, camera_id), Clock()
        if camera.status != "active":
            StreamRepository(database).unwant(camera_id, requested_by=OPERATOR, at=clock.now())
        told = told_of(source, camera.source_url)
        AccessTools(database, clock).camera_changed(before, camera, **told)
        return camera


def remove_camera(settings: Settings, camera_id: UUID) -> None:
    """Remove a camera; what it recorded stays until retention. Raises NotFound.

    A running recording ends when the streaming role next reconciles, within 30 s.
    """
    with open_database(settings) as database:
        cameras = CameraRepository(database)
        camera, clock = _found(cameras.get(camera_id), camera_id), Clock()
        StreamRepository(database).unwant(camera_id, requested_by=OPERATOR, at=clock.now())
        cameras.remove(camera_id)
        AccessTools(database, clock).camera_removed(camera)


@contextmanager
def access_tools(settings: Settings) -> Iterator[AccessTools]:
    """Open the database for grants, blocks and the audit trail."""
    with open_database(settings) as database:
        yield AccessTools(database, Clock())


def list_recordings(
    settings: Settings,
    camera_id: UUID,
    *,
    from_: datetime | None,
    to: datetime | None,
    limit: int,
    cursor: str | None,
) -> Page[Segment | Gap]:
    """Return segments and gaps in time order; ``to`` defaults to now, ``from_`` to a day before.

    The camera itself may be gone already: its recordings outlive it.
    """
    to = to or Clock().now()
    from_ = from_ or to - _DAY
    if from_ >= to:
        raise InvalidInput("--from must be before --to", field="from")
    with open_database(settings) as database:
        recordings = RecordingsRepository(database)
        page = recordings.list(camera_id, from_, to, limit=limit, cursor=cursor)
        if not page.items:
            wished = PeriodRepository(database).camera_ids()
            check_known(database, camera_id, [*SegmentRepository(database).camera_ids(), *wished])
        return page


def check_known(database: Database, camera_id: UUID, recorded: Collection[UUID]) -> None:
    """Raise NotFound for a camera that is neither there nor among the ``recorded``.

    Removed cameras leave recordings behind; a mistyped id must not look like good news.
    """
    if camera_id not in recorded and CameraRepository(database).get(camera_id) is None:
        raise NotFound(f"there is no camera {camera_id}, and nothing is recorded under this id")


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the database for as long as one command takes."""
    database = Database(settings.secret("database_url"), max_size=1, application_name="tools")
    database.open()
    try:
        yield database
    finally:
        database.close()


def _every_camera(cameras: CameraRepository) -> Iterator[Camera]:
    cursor: str | None = None
    while True:
        page = cameras.list_visible(None, limit=_PAGE, cursor=cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def _found(camera: Camera | None, camera_id: UUID) -> Camera:
    if camera is None:
        raise NotFound(f"there is no camera {camera_id}")
    return camera
