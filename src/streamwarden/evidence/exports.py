"""The proof of an export: a signed statement about one file, made from these segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.entries import (
    Entry,
    GapEntry,
    SegmentEntry,
    WantedEntry,
    entry_of,
    ordered,
)
from streamwarden.evidence.statements import Damaged, Signed, read_line

TYPE: Final = "streamwarden.export"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class SealNamed:
    """A seal that speaks of some of the segments."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportProof:
    """What is signed of an export. ``until`` is up to when the account of seconds reaches."""

    export_id: UUID
    camera_id: UUID
    from_: datetime
    to: datetime
    until: datetime
    size_bytes: int
    digest: bytes
    entries: Sequence[Entry]
    seals: Sequence[SealNamed]
    key_id: str
    signed_at: datetime

    def fields(self) -> dict[str, object]:
        """Return what its line says."""
        return {
            "type": TYPE,
            "version": VERSION,
            "export_id": str(self.export_id),
            "camera_id": str(self.camera_id),
            "from": rfc3339(self.from_),
            "to": rfc3339(self.to),
            "until": rfc3339(self.until),
            "file": {"bytes": self.size_bytes, "blake3": self.digest.hex()},
            "wanted": self._those(WantedEntry),
            "gaps": self._those(GapEntry),
            "segments": self._those(SegmentEntry),
            "seals": [{"number": one.number, "hash": one.hash.hex()} for one in self.seals],
            "key_id": self.key_id,
            "signed_at": rfc3339(self.signed_at),
        }

    def _those(self, kind: type[Entry]) -> list[dict[str, object]]:
        return [entry.fields() for entry in ordered(self.entries) if isinstance(entry, kind)]


def read_proof(signed: Signed) -> ExportProof:
    """Read what a proof says; raise Damaged. Whether it is signed is for others to say."""
    fields = read_line(signed.statement)
    fields.literal("type", TYPE)
    fields.literal("version", VERSION)
    file = fields.within("file")
    entries: list[Entry] = []
    for name, kind in (("wanted", WantedEntry), ("gaps", GapEntry), ("segments", SegmentEntry)):
        entries += (found := [entry_of(one) for one in fields.each(name)])
        if not all(isinstance(one, kind) for one in found):
            raise Damaged(f"{name} holds something else")
    seals = []
    for one in fields.each("seals"):
        seals.append(SealNamed(one.number("number"), one.digest("hash")))
        one.end()
    proof = ExportProof(
        export_id=fields.uuid("export_id"),
        camera_id=fields.uuid("camera_id"),
        from_=fields.moment("from"),
        to=fields.moment("to"),
        until=fields.moment("until"),
        size_bytes=file.number("bytes"),
        digest=file.digest("blake3"),
        entries=entries,
        seals=seals,
        key_id=fields.text("key_id"),
        signed_at=fields.moment("signed_at"),
    )
    file.end()
    fields.end()
    return proof
