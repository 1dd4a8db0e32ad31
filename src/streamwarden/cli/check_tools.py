"""How operators check and mend the recordings by hand, over files and database at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

from streamwarden.cli.environment import check_known, open_database
from streamwarden.clock import Clock
from streamwarden.config.loading import variable
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError, InvalidInput
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.jobs import decode
from streamwarden.paths import STATE
from streamwarden.recordings import reconcile
from streamwarden.recordings.reconcile import Repair
from streamwarden.recordings.verify import BEGINNING, Finding, VerifyOptions
from streamwarden.storage.pool import Database


@dataclass(frozen=True, slots=True)
class Look:
    """What a check of the recordings looks at; no camera means all."""

    cameras: tuple[UUID, ...]
    scope: VerifyOptions


def verify_recordings(settings: Settings, look: Look) -> list[Finding]:
    """Return everything that is wrong with the recordings; an empty list is good news."""
    with _checked(settings, look) as (root, database):
        return list(reconcile.verify(root, database, look.cameras, look.scope))


def reconcile_recordings(settings: Settings, look: Look) -> list[Repair]:
    """Mend what can be mended; return what became of everything that was wrong."""
    with _checked(settings, look) as (root, database):
        return list(reconcile.reconcile(root, database, look.cameras, look.scope))


def look_at(
    settings: Settings,
    *,
    camera_id: UUID | None,
    from_: datetime | None,
    to: datetime | None,
    digests: bool,
    decoding: bool,
) -> Look:
    """Return what a check is to look at; all cameras and all times where nothing is given."""
    now = Clock().now()
    if from_ is not None and from_ >= (to or now):
        raise InvalidInput("--from must be before --to", field="from")
    scope = VerifyOptions(
        from_=from_ or BEGINNING,
        to=min(to, now) if to else now,
        digests=digests,
        decode=partial(decode, find_ffmpeg(settings.ffmpeg)) if decoding else None,
    )
    return Look(cameras=(camera_id,) if camera_id else (), scope=scope)


@contextmanager
def _checked(settings: Settings, look: Look) -> Iterator[tuple[Path, Database]]:
    root = _record_root(settings)
    with open_database(settings) as database:
        for camera_id in look.cameras:
            check_known(database, camera_id, reconcile.verifier(root, database).cameras())
        yield root, database


def _record_root(settings: Settings) -> Path:
    if settings.record_root is None:
        raise ConfigError(f"{variable('record_root')} is not set")
    if not settings.record_root.is_dir():
        raise ConfigError(f"{variable('record_root')}: {settings.record_root} is no folder")
    if not (settings.record_root / STATE).is_dir():
        # Else an empty mount point would look like the loss of every file.
        raise ConfigError(
            f"{variable('record_root')}: no server has recorded into {settings.record_root}; "
            "is its disk mounted?"
        )
    return settings.record_root.resolve()
