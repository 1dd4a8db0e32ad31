"""The files of seals below the record root: written once, synced, published by renaming.

Seals that the files hold and Postgres does not know: a crash came between the two, or somebody else.
"""

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

from streamwarden.errors import StreamwardenError
from streamwarden.evidence.seal_keys import SealPublicKey
from streamwarden.evidence.seals import Head, StoredSeal, read_seal
from streamwarden.evidence.statements import Damaged, SignedStatement, parse_signed
from streamwarden.paths import open_nofollow, refuse_symlinks
from streamwarden.recordings.durable import make_folder, sync_folder

SEALS: Final = ".seals"
"""Below the record root; no owner's folder begins with a dot."""


_NAME: Final = re.compile(r"(\d{8,15})\.(seal|entries)", re.ASCII)


_MODE: Final = 0o640


_MOST_SEAL_BYTES: Final = 16 * 1024


_MOST_ENTRIES_BYTES: Final = 64 * 1024 * 1024


def seal_name(number: int) -> str:
    """Return the name of a seal's file."""
    return f"{number:08d}.seal"


def entries_name(number: int) -> str:
    """Return the name of the file with what a seal speaks of."""
    return f"{number:08d}.entries"


def sealed_cameras(record_root: Path) -> list[UUID]:
    """Return the cameras that have seals."""
    try:
        names = [entry.name for entry in os.scandir(record_root / SEALS)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found for name in names if (found := _camera_id(name)) is not None)


class SealFiles:
    """One camera's seals. Whoever writes holds the lock."""

    def __init__(self, record_root: Path, camera_id: UUID) -> None:
        self._root = record_root
        self.folder = record_root / SEALS / str(camera_id)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the camera's lock, against other threads and other processes; raises OSError."""
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
        """Return the numbers of the seals that are there, in order."""
        return self._numbers("seal")

    def numbers_of_entries(self) -> list[int]:
        """Return for which seals there are entries, in order."""
        return self._numbers("entries")

    def read(self, number: int) -> SignedStatement:
        """Read a seal; raise OSError, or Damaged (ValueError) if it is none."""
        return parse_signed(self._read(seal_name(number), _MOST_SEAL_BYTES))

    def read_entries(self, number: int) -> bytes:
        """Read what a seal speaks of; raise OSError."""
        return self._read(entries_name(number), _MOST_ENTRIES_BYTES)

    def publish(self, sealed: StoredSeal) -> None:
        """Write a seal: from the renaming of its second file on it is one. Hold the lock.

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
        """Remove what the oldest seals speak of, as far as none of it is kept."""
        for number in self.numbers_of_entries():
            try:
                last = read_seal(self.read(number)).last
            except FileNotFoundError:
                continue  # a crash has left it without its seal; it is written anew
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
        """Read a file; of one that is longer than any of ours, so much that it is none."""
        refuse_symlinks(self._root, self.folder)
        with os.fdopen(open_nofollow(self.folder / name), "rb") as file:
            return file.read(most)

    def _numbers(self, kind: str) -> list[int]:
        try:
            names = [_NAME.fullmatch(entry.name) for entry in os.scandir(self.folder)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = [(int(hit[1]), hit[0]) for hit in names if hit is not None and hit[2] == kind]
        # A name that we do not give, such as 000000001.seal, would count twice.
        return sorted(number for number, name in found if name == f"{number:08d}.{kind}")


def _camera_id(name: str) -> UUID | None:
    try:
        found = UUID(name)
    except ValueError:
        return None
    return found if str(found) == name else None


class SealingFailed(StreamwardenError):
    """A camera's chain cannot be gone on with; the message says why."""

    code = "sealing_failed"


def orphan_seals(
    files: SealFiles, there: Sequence[int], head: Head | None, ours: SealPublicKey
) -> Sequence[StoredSeal]:
    """Return the seals that Postgres does not know: the last is ours, and names those before it.

    Raises:
        SealingFailed: they are not what was signed here; somebody may have put them there.
    """
    found: list[StoredSeal] = []
    for number in there:
        if head is not None and number <= head.number:
            continue
        sealed = _read(files, number)
        if head is not None and sealed.seal.previous != head.hash:
            raise SealingFailed(f"seal {number}: does not follow the one before it")
        found.append(sealed)
        head = sealed.head
    if found and not found[-1].signed.by(ours):
        words = f"signed with {found[-1].seal.key_id}; if that is yours, seal once with it"
        raise SealingFailed(f"seal {found[-1].seal.number}: is not signed with this key ({words})")
    return found


def _read(files: SealFiles, number: int) -> StoredSeal:
    try:
        signed = files.read(number)
        seal = read_seal(signed)
        body = files.read_entries(number) if seal.entries else b""
    except Damaged as error:
        raise SealingFailed(f"seal {number}: {error}") from error
    except FileNotFoundError:
        # Retention has had its entries dropped: there is nothing left to be marked.
        return StoredSeal(seal, signed, b"")
    if hashlib.sha256(body).digest() != seal.entries_sha256:
        raise SealingFailed(f"seal {number}: its entries are not what was signed")
    return StoredSeal(seal, signed, body)
