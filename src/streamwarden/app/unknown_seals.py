"""Seals that the files hold and Postgres does not know: a crash came between the two, or somebody else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from streamwarden.app.seal_files import SealFiles
from streamwarden.errors import StreamwardenError
from streamwarden.evidence.keys import PublicKey
from streamwarden.evidence.seals import Head, Sealed, read_seal
from streamwarden.evidence.statements import Damaged


class SealingFailed(StreamwardenError):
    """A camera's chain cannot be gone on with; the message says why."""

    code = "sealing_failed"


def unknown_seals(
    files: SealFiles, there: Sequence[int], head: Head | None, ours: PublicKey
) -> Sequence[Sealed]:
    """Return the seals that Postgres does not know: the last is ours, and names those before it.

    Raises:
        SealingFailed: they are not what was signed here; somebody may have put them there.
    """
    found: list[Sealed] = []
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


def _read(files: SealFiles, number: int) -> Sealed:
    try:
        signed = files.read(number)
        seal = read_seal(signed)
        body = files.read_entries(number) if seal.entries else b""
    except Damaged as error:
        raise SealingFailed(f"seal {number}: {error}") from error
    except FileNotFoundError:
        # Retention has had its entries dropped: there is nothing left to be marked.
        return Sealed(seal, signed, b"")
    if hashlib.sha256(body).digest() != seal.entries_sha256:
        raise SealingFailed(f"seal {number}: its entries are not what was signed")
    return Sealed(seal, signed, body)
