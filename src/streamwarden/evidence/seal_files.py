"""The files of seals below the record root: written once, synced, published by renaming."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.errors import StreamwardenError
from streamwarden.evidence.seal_keys import SealPublicKey
from streamwarden.evidence.seals import Head, StoredSeal, read_seal
from streamwarden.evidence.statements import Damaged, SignedStatement, parse_signed
from streamwarden.paths import open_nofollow, parse_camera_id, refuse_symlinks
from streamwarden.recordings.durable import make_folder, sync_folder

log = structlog.get_logger(__name__)

SEALS: Final = ".seals"
"""Below the record root; no owner's folder begins with a dot."""

_NAME: Final = re.compile(r"(\d{8,15})\.(seal|entries)", re.ASCII)

_MODE: Final = 0o640

_MOST_SEAL_BYTES: Final = 16 * 1024

_MOST_ENTRIES_BYTES: Final = 64 * 1024 * 1024


class SealingFailed(StreamwardenError):
    """A camera's chain cannot be continued; the message says why."""

    code = "sealing_failed"


class SealFiles:
    """One camera's seals. Writing needs ``locked``."""

    def __init__(self, record_root: Path, camera_id: UUID) -> None:
        self._root = record_root
        self.folder = record_root / SEALS / str(camera_id)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the camera's lock, against other threads and other processes; raise OSError."""
        refuse_symlinks(self._root, self.folder)
        make_folder(self.folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.folder / ".lock", flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def numbers(self) -> list[int]:
        """Return the numbers of the seals, in order."""
        return self._numbers("seal")

    def numbers_of_entries(self) -> list[int]:
        """Return the numbers of the seals whose entries are kept, in order."""
        return self._numbers("entries")

    def read(self, number: int) -> SignedStatement:
        """Read a seal; raise OSError, or Damaged (ValueError) if it is none."""
        return parse_signed(self._read(seal_name(number), _MOST_SEAL_BYTES))

    def read_entries(self, number: int) -> bytes:
        """Read the bytes of a seal's entries; raise OSError."""
        return self._read(entries_name(number), _MOST_ENTRIES_BYTES)

    def publish(self, sealed: StoredSeal) -> None:
        """Write a seal; it counts from the renaming of its second file on. Hold the lock.

        Raises:
            FileExistsError: there is a seal of this number.
            OSError: the disk refuses.
        """
        number = sealed.seal.number
        target = self.folder / seal_name(number)
        if target.exists():
            raise FileExistsError(f"{target.name} is already there")
        if sealed.body:
            self._write(entries_name(number), sealed.body)
        self._write(target.name, sealed.signed.encoded())
        sync_folder(self.folder)

    def drop_entries_until(self, removed_until: datetime | None) -> None:
        """Remove the entries of the oldest seals, as far as all of their recordings are deleted."""
        for number in self.numbers_of_entries():
            try:
                last = read_seal(self.read(number)).last
            except FileNotFoundError:
                continue  # a crash came before its seal; the next seal of this number replaces it
            if last is None or removed_until is None or last > removed_until:
                return
            (self.folder / entries_name(number)).unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        staged = self.folder / f"{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(staged, flags, _MODE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self.folder / name)

    def _read(self, name: str, most: int) -> bytes:
        """Read at most ``most`` bytes of a file; a longer one then does not parse."""
        refuse_symlinks(self._root, self.folder)
        with os.fdopen(open_nofollow(self.folder / name), "rb") as file:
            return file.read(most)

    def _numbers(self, kind: str) -> list[int]:
        try:
            names = [_NAME.fullmatch(entry.name) for entry in os.scandir(self.folder)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = [(int(hit[1]), hit[0]) for hit in names if hit is not None and hit[2] == kind]
        # 000000001.seal is not a name that seals are given, and would count number 1 twice.
        return sorted(number for number, name in found if name == f"{number:08d}.{kind}")


def seal_name(number: int) -> str:
    """Return the name of a seal's file."""
    return f"{number:08d}.seal"


def entries_name(number: int) -> str:
    """Return the name of the file of a seal's entries."""
    return f"{number:08d}.entries"


def sealed_cameras(record_root: Path) -> list[UUID]:
    """Return the cameras that have seals."""
    try:
        names = [entry.name for entry in os.scandir(record_root / SEALS)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found for name in names if (found := parse_camera_id(name)) is not None)


def orphan_seals(
    files: SealFiles, numbers: Sequence[int], head: Head | None, key: SealPublicKey
) -> Sequence[StoredSeal]:
    """Return the seals that only the files have, after a crash between the file and the row.

    The last must be signed with ``key`` and continue the chain from ``head``. Where the head is known, a
    file after a missing number that is not signed is passed over: seals are made one after the other, so it
    is none, whatever its name, and must not keep the chain from going on.

    Raises:
        SealingFailed: they are not what was signed here.
    """
    found: list[StoredSeal] = []
    entered = head
    for number in numbers:
        if head is not None and number <= head.number:
            continue
        follows = entered is None or head is None or number == head.number + 1
        if not follows and not _is_signed(files, number, key):
            log.warning("seal_passed_over", folder=str(files.folder), number=number)
            continue
        sealed = _read(files, number)
        if head is not None and sealed.seal.previous != head.hash:
            raise SealingFailed(f"seal {number}: does not follow the one before it")
        found.append(sealed)
        head = sealed.head
    if found and not found[-1].signed.by(key):
        hint = f"signed with {found[-1].seal.key_id}; if that is yours, seal once with it"
        raise SealingFailed(f"seal {found[-1].seal.number}: is not signed with this key ({hint})")
    return found


def _is_signed(files: SealFiles, number: int, key: SealPublicKey) -> bool:
    try:
        return files.read(number).by(key)
    except (Damaged, OSError):
        return False


def _read(files: SealFiles, number: int) -> StoredSeal:
    try:
        signed = files.read(number)
        seal = read_seal(signed)
        body = files.read_entries(number) if seal.entries else b""
    except Damaged as error:
        raise SealingFailed(f"seal {number}: {error}") from error
    except FileNotFoundError:
        # Its entries were dropped after retention: no row is left to mark as sealed.
        return StoredSeal(seal, signed, b"")
    if hashlib.sha256(body).digest() != seal.entries_sha256:
        raise SealingFailed(f"seal {number}: its entries are not what was signed")
    return StoredSeal(seal, signed, body)
