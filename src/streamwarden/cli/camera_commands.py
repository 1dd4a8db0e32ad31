"""``streamwarden camera add``, ``list``, ``start``, ``stop``, ``set`` and ``remove``."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from streamwarden.cli.arguments import add_command, add_group, camera_id
from streamwarden.cli.environment import OPERATOR, open_database, settings_of, write_audit_event
from streamwarden.cli.output import print_json, print_line, print_note, print_rows, print_table
from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import InvalidInput, NotFound
from streamwarden.model import STREAM_PATH, Transport
from streamwarden.paths import encode_owner

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.model import Camera
    from streamwarden.storage.pool import Database

MAX_NAME_CHARS, MAX_OWNER_CHARS = 200, 255
MAX_PASSWORD_FILE_BYTES = 4096
PAGE_ITEMS = 500
_COLUMNS = ("id", "name", "owner", "path", "status", "created_at", "source_url")

_ADD_EXAMPLES = """\
examples:
  streamwarden camera add --owner alice --name "Front door" --path alice/front-door
  streamwarden camera add --owner alice --name Yard --source-url rtsp://192.168.1.20/stream1 \\
      --source-username viewer --source-password-file yard.secret --start
"""

_START_NOTES = """\
It changes the desired state in the database: the streaming role follows within 30 s.
"""


def add_camera_commands(commands: Commands) -> Commands:
    """Add ``camera`` with its commands; return the group."""
    camera = add_group(commands, "camera", "manage cameras")
    add = add_command(camera, "add", camera_add, "add a camera", _ADD_EXAMPLES)
    _add_fields(add, required=True)
    add.add_argument(
        "--id",
        type=camera_id,
        metavar="ID",
        help="the id of a camera that was lost with the database: the name of its folder in the "
        "record root (default: a new id)",
    )
    add.add_argument("--start", action="store_true", help="record it, as camera start does")
    add_command(camera, "list", camera_list, "list all cameras")
    start = add_command(camera, "start", camera_start, "record a camera", _START_NOTES)
    start.add_argument("id", type=camera_id, metavar="ID")
    stop = add_command(camera, "stop", camera_stop, "record a camera no longer", _START_NOTES)
    stop.add_argument("id", type=camera_id, metavar="ID")
    change = add_command(camera, "set", camera_set, "change a camera")
    change.add_argument("id", type=camera_id, metavar="ID")
    _add_fields(change, required=False)
    remove = add_command(camera, "remove", camera_remove, "remove a camera; its recordings stay")
    remove.add_argument("id", type=camera_id, metavar="ID")
    return camera


def _add_fields(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("--owner", required=required, metavar="ID", help="the user who owns it")
    parser.add_argument("--name", required=required, metavar="TEXT", help="the name that is shown")
    parser.add_argument(
        "--path", metavar="P", help="its path on the media server (default: its id)"
    )
    parser.add_argument(
        "--status",
        choices=("active", "inactive"),
        default="active" if required else None,
        help="an inactive camera is not recorded",
    )
    source = parser.add_argument_group(
        "a camera that is pulled", "Most cameras serve RTSP; the media server pulls their stream."
    )
    source.add_argument(
        "--source-url", metavar="URL", help="the camera's stream: rtsp:// or rtsps://"
    )
    source.add_argument("--source-username", metavar="U", help="the user name for the camera")
    source.add_argument(
        "--source-password-file",
        metavar="FILE",
        help="a file that contains the password for the camera, empty for an empty one; - reads "
        "standard input",
    )
    source.add_argument(
        "--transport",
        choices=tuple(Transport),
        help="how the media server receives the stream (default: automatic: TCP, or UDP for a camera "
        "that refuses TCP)",
    )
    if not required:
        source.add_argument(
            "--no-source", action="store_true", help="stop pulling: the camera publishes its stream"
        )
        source.add_argument(
            "--no-source-credentials",
            action="store_true",
            help="remove the user name and the password",
        )


def camera_add(arguments: argparse.Namespace) -> int:
    """Add a camera and print it.

    With the ``--id`` of a camera that was lost, its recordings belong to it again.
    """
    from streamwarden.app.api_role import source_planner
    from streamwarden.mediamtx.camera_source import audit_detail
    from streamwarden.storage.cameras import CameraRepository

    settings, source = settings_of(arguments), source_given(arguments)
    check_camera(name=arguments.name, owner=arguments.owner, path=arguments.path)
    new_id = arguments.id or uuid4()
    path = arguments.path or str(new_id)
    change = source_planner(settings).plan(new_id, path, None, source)
    with open_database(settings) as database:
        if arguments.path or arguments.id:
            _clear_path(settings, database, path)
        camera = CameraRepository(database).add(
            name=arguments.name,
            owner=arguments.owner,
            path=path,
            status=arguments.status,
            created_at=Clock().now(),
            camera_id=new_id,
            source=None if change is None else change.source,
        )
        if change is not None:
            detail = audit_detail(source, camera.source_url)
            write_audit_event(database, "add_camera", camera_id=new_id, **detail)
        if arguments.start:
            _start(database, camera)
    return _print_camera(arguments, camera)


def camera_start(arguments: argparse.Namespace) -> int:
    """Want a camera: the streaming role starts it when it next compares, within 30 s."""
    with open_database(settings_of(arguments)) as database:
        camera = existing_camera(database, arguments.id)
        _start(database, camera)
    return _print_wanted(arguments, camera, wanted=True)


def camera_stop(arguments: argparse.Namespace) -> int:
    """Want a camera no longer; its last segment is finished and indexed."""
    from streamwarden.auth import revocation
    from streamwarden.storage.denials import DenialRepository
    from streamwarden.storage.streams import StreamRepository

    with open_database(settings_of(arguments)) as database:
        camera, at = existing_camera(database, arguments.id), Clock().now()
        StreamRepository(database).unwant(camera.id, requested_by=OPERATOR, at=at)
        DenialRepository(database).put(revocation.stopped(camera.path, at))
        write_audit_event(database, "stop", camera_id=camera.id)
    return _print_wanted(arguments, camera, wanted=False)


def _start(database: Database, camera: Camera) -> None:
    from streamwarden.storage.streams import StreamRepository

    if camera.status != "active":
        raise InvalidInput(
            f"{camera.name} is {camera.status} and is not recorded: camera set {camera.id} --status active"
        )
    StreamRepository(database).want(camera, requested_by=OPERATOR, at=Clock().now())
    write_audit_event(database, "start", camera_id=camera.id)


def _print_wanted(arguments: argparse.Namespace, camera: Camera, *, wanted: bool) -> int:
    if arguments.json:
        print_json({"id": str(camera.id), "wanted": wanted})
    else:
        print_line(f"{camera.name} is {'to be' if wanted else 'no longer'} recorded, within 30 s")
    return 0


def camera_list(arguments: argparse.Namespace) -> int:
    """Print every camera, oldest first."""
    with open_database(settings_of(arguments)) as database:
        rows = [_row(camera) for camera in _all_cameras(database)]
    print_rows(rows, _COLUMNS, as_json=arguments.json)
    return 0


def camera_set(arguments: argparse.Namespace) -> int:
    """Change a camera and print it. Deactivating ends a running recording, as removing does."""
    from streamwarden.app.api_role import source_planner
    from streamwarden.mediamtx.camera_source import audit_detail
    from streamwarden.storage.cameras import CameraRepository, SourceRepository
    from streamwarden.storage.streams import StreamRepository

    settings, source = settings_of(arguments), source_given(arguments)
    fields = {name: getattr(arguments, name) for name in ("name", "owner", "path", "status")}
    if not source and all(value is None for value in fields.values()):
        raise InvalidInput(
            "nothing to change: give --name, --owner, --path, --status, --source-url or --transport"
        )
    check_camera(name=arguments.name, owner=arguments.owner, path=arguments.path)
    with open_database(settings) as database:
        before = existing_camera(database, arguments.id)
        stored = SourceRepository(database).get(before.id)
        path = arguments.path or before.path
        change = source_planner(settings).plan(before.id, path, stored, source)
        if path != before.path:
            _clear_path(settings, database, path)
        if arguments.owner not in {None, before.owner}:
            _clear_owner(settings, database, before)
        after = CameraRepository(database).update(
            before.id,
            **fields,
            at=Clock().now(),
            source=None if change is None else change.source,
            drop_source=change is not None and change.source is None,
        )
        if after is None:
            raise _no_camera(before.id)
        if after.status != "active":
            StreamRepository(database).unwant(after.id, requested_by=OPERATOR, at=Clock().now())
        _revoke(database, before, after)
        detail = audit_detail(source, after.source_url)
        if arguments.owner is not None:
            detail["owner"] = after.owner
        write_audit_event(database, "change_camera", camera_id=after.id, **detail)
    return _print_camera(arguments, after)


def camera_remove(arguments: argparse.Namespace) -> int:
    """Remove a camera; its recordings stay until retention deletes them.

    A running recording ends when the streaming role next reconciles, within 30 s.
    """
    from streamwarden.storage.cameras import CameraRepository
    from streamwarden.storage.streams import StreamRepository

    with open_database(settings_of(arguments)) as database:
        camera = existing_camera(database, arguments.id)
        StreamRepository(database).unwant(camera.id, requested_by=OPERATOR, at=Clock().now())
        CameraRepository(database).remove(camera.id)
        _revoke(database, camera, None)
        write_audit_event(database, "remove_camera", camera_id=camera.id)
    if arguments.json:
        print_json({"removed": str(arguments.id)})
    else:
        print_line(f"removed {arguments.id}; its recordings stay until retention")
    return 0


def existing_camera(database: Database, camera_id: UUID) -> Camera:
    """Return a camera; raise NotFound."""
    from streamwarden.storage.cameras import CameraRepository

    camera = CameraRepository(database).get(camera_id)
    if camera is None:
        raise _no_camera(camera_id)
    return camera


def check_camera(*, name: str | None, owner: str | None, path: str | None) -> None:
    """Raise InvalidInput if one of the given values is not allowed."""
    for field, text, most_chars in (
        ("name", name, MAX_NAME_CHARS),
        ("owner", owner, MAX_OWNER_CHARS),
    ):
        if text is not None and (not 1 <= len(text) <= most_chars or not text.isprintable()):
            raise InvalidInput(
                f"{field} must be 1 to {most_chars} printable characters", field=field
            )
    if owner:
        try:
            encode_owner(owner)
        except ValueError as error:
            raise InvalidInput(f"owner: {error}", field="owner") from error
    if path is not None:
        check_path(path)


def check_path(path: str) -> None:
    """Raise InvalidInput if ``path`` is not a camera's path on the media server."""
    if not STREAM_PATH.fullmatch(path):
        raise InvalidInput(
            "path must be one to four parts of letters, digits, - and _, joined by /", field="path"
        )


def source_given(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the fields of a source that were given, None for one to remove; raise InvalidInput."""
    url: str | None = arguments.source_url
    credentials = (arguments.source_username, arguments.source_password_file)
    if getattr(arguments, "no_source", False):
        if url is not None or any(credentials) or arguments.transport is not None:
            raise InvalidInput("--no-source cannot be combined with other options of a source")
        return {"source_url": None}
    given: dict[str, str | None] = {}
    if url is not None:
        if "@" in url:
            # Arguments are visible to every user of this machine, in the process list.
            raise InvalidInput(
                "--source-url must not contain credentials: give --source-username and "
                "--source-password-file; write another @ as %40"
            )
        given["source_url"] = url
    if arguments.transport is not None:
        given["source_transport"] = arguments.transport
    if getattr(arguments, "no_source_credentials", False):
        if any(credentials):
            raise InvalidInput(
                "--no-source-credentials cannot be combined with a user name or a password"
            )
        return given | {"source_username": None, "source_password": None}
    if arguments.source_username is not None:
        given["source_username"] = arguments.source_username
    if arguments.source_password_file is not None:
        given["source_password"] = _password(arguments.source_password_file)
    return given


def _password(file: str) -> str:
    """Return the file's text without the line end that editors add."""
    try:
        if file == "-":
            read = sys.stdin.buffer.read(MAX_PASSWORD_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                read = opened.read(MAX_PASSWORD_FILE_BYTES + 1)
        text = read.decode()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput("--source-password-file: cannot be read as text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _revoke(database: Database, before: Camera, after: Camera | None) -> None:
    """Revoke the tokens and sessions of a camera's former path and owner, or of one that is gone.

    Every running API receives the denials by NOTIFY and ends the sessions.
    """
    from streamwarden.auth import revocation
    from streamwarden.storage.denials import DenialRepository

    at = Clock().now()
    denials = []
    if after is None:
        denials += revocation.camera_retired(before.id, before.path, at)
    else:
        if before.path != after.path:
            denials += revocation.path_changed(before.path, at)
        if before.owner != after.owner:
            denials += revocation.owner_changed(after.id, before.path, at=at)
        if after.status != "active":
            denials += revocation.camera_retired(after.id, after.path, at)
    if denials:
        DenialRepository(database).put(denials)


def _clear_path(settings: Settings, database: Database, path: str) -> None:
    """Let nobody be on a path that is about to become a camera's; raise PathTaken, PathNotEmptied."""
    from streamwarden.auth import revocation
    from streamwarden.storage.cameras import CameraRepository
    from streamwarden.storage.denials import DenialRepository

    CameraRepository(database).refuse_taken(path)
    denials = DenialRepository(database)
    if not denials.path_known(path):
        return  # no camera has had it
    denials.put(revocation.path_given(path, Clock().now()))
    _empty(settings, database, path, keeps_source=False)


def _clear_owner(settings: Settings, database: Database, camera: Camera) -> None:
    """Let nobody use a camera that is about to become another owner's; raise PathNotEmptied."""
    from streamwarden.auth import revocation
    from streamwarden.storage.denials import DenialRepository

    denials = revocation.owner_changed(camera.id, camera.path, at=Clock().now())
    DenialRepository(database).put(denials)
    _empty(settings, database, camera.path, keeps_source=True)


def _empty(settings: Settings, database: Database, path: str, *, keeps_source: bool) -> None:
    from streamwarden.app.api_role import path_emptier

    if settings.mediamtx_api_url is None:
        print_note(
            f"MEDIAMTX_API_URL is not set: who publishes or watches at {path} stays connected"
        )
        return
    with closing(path_emptier(settings, database, Clock())) as emptier:
        emptier.empty(path, keeps_source=keeps_source)


def _all_cameras(database: Database) -> Iterator[Camera]:
    from streamwarden.storage.cameras import CameraRepository

    cameras, cursor = CameraRepository(database), None
    while True:
        page = cameras.list_visible(None, limit=PAGE_ITEMS, cursor=cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def _no_camera(camera_id: UUID) -> NotFound:
    return NotFound(f"there is no camera {camera_id}")


def _print_camera(arguments: argparse.Namespace, camera: Camera) -> int:
    row = _row(camera)
    if arguments.json:
        print_json(row)
    else:
        print_table([row], _COLUMNS)
    return 0


def _row(camera: Camera) -> dict[str, Any]:
    from streamwarden.mediamtx.source_urls import shown_source

    return {
        "id": str(camera.id),
        "name": camera.name,
        "path": camera.path,
        "owner": camera.owner,
        "status": camera.status,
        "created_at": rfc3339(camera.created_at),
        "source_url": shown_source(camera.source_url) if camera.source_url else None,
        "source_credentials": camera.source_credentials,
        "source_transport": camera.source_transport,
    }
