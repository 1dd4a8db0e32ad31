"""What operators and those who verify do with seals by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from streamwarden.clock import Clock
from streamwarden.config.loading import variable
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.evidence.seal_files import SealFiles, SealingFailed, sealed_cameras
from streamwarden.evidence.seal_keys import load_signing_key
from streamwarden.evidence.sealer import sealer_of
from streamwarden.evidence.seals import Head, StoredSeal, read_seal
from streamwarden.evidence.signed_check import (
    ChainSummary,
    SignedCheck,
    SignedCheckOptions,
    SignedFinding,
    SignedFindingKind,
)
from streamwarden.evidence.statements import Damaged
from streamwarden.recordings.record_root import camera_folders, stored_by_day
from streamwarden.storage.pool import Database


def seal_now(
    settings: Settings,
    record_root: Path,
    *,
    camera_id: UUID | None,
    until: datetime | None,
    settled_after: timedelta,
) -> dict[UUID, int]:
    """Seal what began before ``until``; return how many seals that made of each camera.

    Raises:
        ConfigError: no key or no database is set, or they are no use.
        SealingFailed: a camera cannot be sealed; those before it are.
    """
    if settings.seal_key_file is None:
        raise ConfigError(f"{variable('seal_key_file')} is not set")
    url = settings.secret("database_url")
    key, clock = load_signing_key(settings.seal_key_file), Clock()
    database = Database(url, max_size=1, application_name="tools")
    database.open()
    try:
        sealer = sealer_of(settings, record_root, key, database, clock, settled_after=settled_after)
        before = min(until or clock.now(), clock.now())
        cameras = [camera_id] if camera_id is not None else sealer.cameras()
        return {camera: sealer.seal(camera, before) for camera in cameras}
    except OSError as error:
        raise SealingFailed(f"{record_root} cannot be written: {error.strerror}") from error
    finally:
        database.close()


def heads(record_root: Path, camera_id: UUID | None) -> Iterator[tuple[UUID, Head | str]]:
    """Yield where each camera's chain stands by its files, or what is wrong with its newest seal."""
    for camera in [camera_id] if camera_id is not None else sealed_cameras(record_root):
        files = SealFiles(record_root, camera)
        numbers = files.numbers()
        if not numbers:
            yield camera, "there is no seal"
            continue
        try:
            signed = files.read(numbers[-1])
            seal = read_seal(signed)
        except (Damaged, OSError) as error:
            yield camera, f"seal {numbers[-1]}: {error}"
            continue
        yield camera, StoredSeal(seal, signed, b"").head


def check_signed(
    record_root: Path, cameras: Sequence[UUID], question: SignedCheckOptions
) -> tuple[list[ChainSummary], list[SignedFinding]]:
    """Check the chains of ``cameras``; where none is named, of all that have one or should."""
    checks = [
        SignedCheck(record_root, camera_id, question)
        for camera_id in cameras or _sealed_or_recorded(record_root)
    ]
    proven = [check.run() for check in checks]
    findings = [finding for check in checks for finding in check.findings]
    hashes = {one for check in checks for one in check.hashes}
    only = checks[0].camera_id if len(checks) == 1 else None
    for head in question.heads:
        if head not in hashes:
            words = f"no seal has the hash {head.hex()}: the chain's end was cut off or replaced"
            kind = SignedFindingKind.HEAD_MISSING
            findings.append(SignedFinding(kind=kind, camera_id=only, detail=words))
    if not checks:
        words = "there are no seals below this folder"
        findings.append(
            SignedFinding(kind=SignedFindingKind.NOT_SEALED, camera_id=None, detail=words)
        )
    return proven, findings


def _sealed_or_recorded(record_root: Path) -> list[UUID]:
    """Return every camera with seals or recordings: a chain that is gone whole must be missed."""
    sealed = {
        each for each in sealed_cameras(record_root) if SealFiles(record_root, each).numbers()
    }
    folders = camera_folders(record_root)
    recorded = {one.camera_id for one in folders if any(True for _ in stored_by_day([one.path]))}
    return sorted(sealed | recorded)
