"""A seal: the signed statement about one stretch of one camera's footage, chained to the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.entries import Entry, encode_entries
from streamwarden.evidence.keys import SigningKey
from streamwarden.evidence.statements import Signed, moment_or_none, read_line, sign

TYPE: Final = "streamwarden.seal"
VERSION: Final = 1
NOTHING_BEFORE: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a statement says; ``docs/design/0012-verifiable-footage.md`` has the fields' meaning."""

    camera_id: UUID
    number: int
    previous: bytes
    from_: datetime
    until: datetime
    entries: int
    entries_sha256: bytes
    first: datetime | None
    last: datetime | None
    removed_until: datetime | None
    key_id: str
    signed_at: datetime

    def fields(self) -> dict[str, object]:
        """Return what its line says."""
        return {
            "type": TYPE,
            "version": VERSION,
            "camera_id": str(self.camera_id),
            "number": self.number,
            "previous": self.previous.hex(),
            "from": rfc3339(self.from_),
            "until": rfc3339(self.until),
            "entries": self.entries,
            "entries_sha256": self.entries_sha256.hex(),
            "first": moment_or_none(self.first),
            "last": moment_or_none(self.last),
            "removed_until": moment_or_none(self.removed_until),
            "key_id": self.key_id,
            "signed_at": rfc3339(self.signed_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a camera's chain stands: its newest seal."""

    number: int
    hash: bytes
    until: datetime
    removed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal as it is kept: signed, and what it speaks of as bytes."""

    seal: Seal
    signed: Signed
    body: bytes

    @property
    def head(self) -> Head:
        """The chain's head once this is its newest."""
        seal = self.seal
        return Head(
            number=seal.number,
            hash=self.signed.hash,
            until=seal.until,
            removed_until=seal.removed_until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What the next seal is to say."""

    camera_id: UUID
    from_: datetime
    until: datetime
    entries: Sequence[Entry]
    removed_until: datetime | None


def make_seal(
    key: SigningKey, stretch: Stretch, *, after: Head | None, signed_at: datetime
) -> Sealed:
    """Sign the seal that follows ``after``, None for the first."""
    body = encode_entries(stretch.entries)
    seal = Seal(
        camera_id=stretch.camera_id,
        number=0 if after is None else after.number + 1,
        previous=NOTHING_BEFORE if after is None else after.hash,
        from_=stretch.from_,
        until=stretch.until,
        entries=len(stretch.entries),
        entries_sha256=hashlib.sha256(body).digest(),
        first=min((entry.started_at for entry in stretch.entries), default=None),
        last=max((entry.ended_at for entry in stretch.entries), default=None),
        removed_until=stretch.removed_until,
        key_id=key.key_id,
        signed_at=signed_at,
    )
    return Sealed(seal, sign(key, seal.fields()), body)


def read_seal(signed: Signed) -> Seal:
    """Read what a statement says; raise Damaged. Whether it is signed is for others to say."""
    fields = read_line(signed.statement)
    fields.literal("type", TYPE)
    fields.literal("version", VERSION)
    seal = Seal(
        camera_id=fields.uuid("camera_id"),
        number=fields.number("number"),
        previous=fields.digest("previous"),
        from_=fields.moment("from"),
        until=fields.moment("until"),
        entries=fields.number("entries"),
        entries_sha256=fields.digest("entries_sha256"),
        first=fields.moment_or_none("first"),
        last=fields.moment_or_none("last"),
        removed_until=fields.moment_or_none("removed_until"),
        key_id=fields.text("key_id"),
        signed_at=fields.moment("signed_at"),
    )
    fields.end()
    return seal
