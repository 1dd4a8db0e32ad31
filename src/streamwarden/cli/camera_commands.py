"""The operators' commands."""

from __future__ import annotations

import argparse
import os
from typing import Any

from streamwarden.cli import environment
from streamwarden.cli.camera_sources import source_given
from streamwarden.cli.output import (
    print_json,
    print_line,
    print_note,
    print_page,
    print_rows,
    print_table,
)
from streamwarden.cli.token_commands import IssuedToken, sign_publish, sign_read, sign_user
from streamwarden.clock import rfc3339
from streamwarden.config.settings import Settings, describe, warnings
from streamwarden.evidence.seal_keys import load_signing_key
from streamwarden.model import Camera, Gap, Segment

_CAMERA_COLUMNS = ("id", "name", "owner", "path", "status", "created_at", "source_url")


_RECORDING_COLUMNS = ("kind", "started_at", "ended_at", "media_seconds", "bytes", "run", "cause")


def migrate(arguments: argparse.Namespace) -> int:
    """Apply what the database lacks."""
    applied = [migration.name for migration in environment.migrate_database(_settings(arguments))]
    if arguments.json:
        print_json({"applied": applied})
    else:
        print_line("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    return 0


def check_config(arguments: argparse.Namespace) -> int:
    """Print every setting with its source; secrets are masked."""
    settings = _settings(arguments)
    found = describe(settings)
    if arguments.json:
        print_json(found)
    else:
        rows = [{"setting": name, **shown} for name, shown in found.items()]
        print_table(rows, ("setting", "value", "source"))
    for warning in warnings(settings):
        print_note(warning)
    if settings.seal_key_file is not None:
        load_signing_key(settings.seal_key_file)
    return 0


def token_user(arguments: argparse.Namespace) -> int:
    """Print a user's token."""
    settings = _settings(arguments)
    issued = sign_user(settings, sub=arguments.sub, roles=arguments.role, ttl_s=arguments.ttl)
    return _print_token(arguments, issued)


def token_read(arguments: argparse.Namespace) -> int:
    """Print a token, or its URL, to watch one camera with."""
    settings = _settings(arguments)
    path = _path(settings, arguments)
    issued = sign_read(settings, sub=arguments.sub, path=path, ttl_s=arguments.ttl)
    return _print_token(arguments, issued)


def token_publish(arguments: argparse.Namespace) -> int:
    """Print a token, or its URL, for one camera to publish with."""
    settings = _settings(arguments)
    path = _path(settings, arguments)
    issued = sign_publish(settings, sub=arguments.sub, path=path, ttl_s=arguments.ttl)
    return _print_token(arguments, issued)


def camera_add(arguments: argparse.Namespace) -> int:
    """Add a camera and print it."""
    camera = environment.add_camera(
        _settings(arguments),
        name=arguments.name,
        owner=arguments.owner,
        path=arguments.path,
        status=arguments.status,
        camera_id=arguments.id,
        source=source_given(arguments),
    )
    return _print_camera(arguments, camera)


def camera_list(arguments: argparse.Namespace) -> int:
    """Print every camera."""
    rows = [_camera_row(camera) for camera in environment.list_cameras(_settings(arguments))]
    print_rows(rows, _CAMERA_COLUMNS, as_json=arguments.json)
    return 0


def camera_set(arguments: argparse.Namespace) -> int:
    """Change a camera and print it."""
    camera = environment.set_camera(
        _settings(arguments),
        arguments.id,
        name=arguments.name,
        owner=arguments.owner,
        path=arguments.path,
        status=arguments.status,
        source=source_given(arguments),
    )
    return _print_camera(arguments, camera)


def camera_remove(arguments: argparse.Namespace) -> int:
    """Remove a camera."""
    environment.remove_camera(_settings(arguments), arguments.id)
    if arguments.json:
        print_json({"removed": str(arguments.id)})
    else:
        print_line(f"removed {arguments.id}; its recordings stay until retention")
    return 0


def recordings_list(arguments: argparse.Namespace) -> int:
    """Print a page of segments and gaps."""
    page = environment.list_recordings(
        _settings(arguments),
        arguments.camera,
        from_=arguments.from_,
        to=arguments.to,
        limit=arguments.limit,
        cursor=arguments.cursor,
    )
    rows = [_recording_row(item) for item in page.items]
    print_page(rows, _RECORDING_COLUMNS, page.next_cursor, as_json=arguments.json)
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    return environment.load_settings(arguments.config, os.environ)


def _path(settings: Settings, arguments: argparse.Namespace) -> str:
    if arguments.camera is not None:
        return environment.camera_path(settings, arguments.camera)
    path: str = arguments.path
    return path


def _print_token(arguments: argparse.Namespace, issued: IssuedToken) -> int:
    if arguments.json:
        shown = {"token": issued.token, "expires_at": rfc3339(issued.expires_at)}
        print_json(shown | ({"url": issued.url} if issued.url else {}))
    else:
        print_line(issued.url or issued.token)
    return 0


def _print_camera(arguments: argparse.Namespace, camera: Camera) -> int:
    row = _camera_row(camera)
    if arguments.json:
        print_json(row)
    else:
        print_table([row], _CAMERA_COLUMNS)
    return 0


def _camera_row(camera: Camera) -> dict[str, Any]:
    return {
        "id": str(camera.id),
        "name": camera.name,
        "path": camera.path,
        "owner": camera.owner,
        "status": camera.status,
        "created_at": rfc3339(camera.created_at),
        "source_url": camera.source_url,
        "source_credentials": camera.source_credentials,
    }


def _recording_row(item: Segment | Gap) -> dict[str, Any]:
    times = {
        "started_at": rfc3339(item.started_at),
        "ended_at": None if item.ended_at is None else rfc3339(item.ended_at),
    }
    if isinstance(item, Gap):
        return {"kind": "gap", **times, "cause": item.cause}
    return {
        "kind": "segment",
        "id": str(item.id),
        **times,
        "media_seconds": item.media_ms / 1000,
        "bytes": item.size_bytes,
        "run": item.run,
        "salvaged": item.salvaged,
        "path": item.path,
    }
