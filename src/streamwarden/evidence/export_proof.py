"""Proofs of exports: a signed statement about one file and the segments that it was joined from.

A proof is made when the export is done, and checked offline with a public key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import StreamwardenError
from streamwarden.evidence.seal_keys import SealKey, SealPublicKey
from streamwarden.evidence.seals import (
    Entry,
    GapEntry,
    SegmentEntry,
    WantedEntry,
    entries_of,
    entry_of,
    ordered,
)
from streamwarden.evidence.signed_check import (
    SignedFinding,
    SignedFindingKind,
    distrust,
    second_missing,
)
from streamwarden.evidence.statements import (
    Damaged,
    Fields,
    SignedStatement,
    parse_signed,
    read_line,
    sign,
)
from streamwarden.model import Segment, TimeRange
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.exports import Export, PartOf
from streamwarden.recordings.time_ranges import holes
from streamwarden.storage.recording_index import GapRepository
from streamwarden.storage.seal_records import SealRepository
from streamwarden.storage.streams import PeriodRepository

TYPE: Final = "streamwarden.export"

VERSION: Final = 2
"""Version 1 has neither ``changes`` nor ``part``."""


class NotProvable(StreamwardenError):
    """A source is not what was stored, so nothing is signed."""

    code = "not_provable"


class ExportProver:
    """Signs exports. Blocking: every file is read."""

    def __init__(
        self,
        *,
        record_root: Path,
        key: SealKey,
        seals: SealRepository,
        gaps: GapRepository,
        periods: PeriodRepository,
        clock: Clock,
    ) -> None:
        self._root = record_root
        self._key = key
        self._seals = seals
        self._gaps = gaps
        self._periods = periods
        self._clock = clock

    def prove(self, export: Export, segments: Sequence[Segment], file: Path) -> bytes:
        """Return the two lines of a proof of ``file``, joined from ``segments``.

        Raises:
            NotProvable: a source has other bytes than were stored, or no digest.
            Unavailable, OSError: Postgres is unavailable; a file cannot be read.
        """
        for segment in segments:
            if segment.digest is None or file_digest(self._root / segment.path) != segment.digest:
                raise NotProvable(f"{segment.path} is not what was stored")
        camera_id, from_, to = export.camera_id, export.from_, export.to
        seals = self._seals.that_hold(camera_id, [segment.id for segment in segments])
        gaps = self._gaps.in_range(camera_id, from_, to)
        before = min(to, self._clock.now())
        periods = self._periods.in_range(camera_id, from_, before)
        entries, until = entries_of(
            segments, gaps, periods, since=from_, before=before, open_gaps_end=to
        )
        proof = ExportProof(
            export_id=export.id,
            camera_id=camera_id,
            from_=from_,
            to=to,
            until=until,
            size_bytes=file.stat().st_size,
            digest=file_digest(file),
            entries=entries,
            seals=[NamedSeal(row.number, row.hash) for row in seals],
            changes=[SignedChange(one.at, cut=one.cut) for one in export.changes],
            part=export.part,
            key_id=self._key.key_id,
            signed_at=self._clock.now(),
        )
        return sign(self._key, proof.fields()).encoded()


@dataclass(frozen=True, slots=True)
class NamedSeal:
    """A seal that has some of the segments among its entries."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class SignedChange:
    """A moment at which the camera's tracks change; ``cut``: a file begins or ends there."""

    at: datetime
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportProof:
    """The content of a proof. Up to ``until`` every wanted second is in a segment or a gap.

    ``part`` is the place of the file among those of an export that was cut.
    """

    export_id: UUID
    camera_id: UUID
    from_: datetime
    to: datetime
    until: datetime
    size_bytes: int
    digest: bytes
    entries: Sequence[Entry]
    seals: Sequence[NamedSeal]
    key_id: str
    signed_at: datetime
    changes: Sequence[SignedChange] = ()
    part: PartOf | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of its line."""
        return {
            "type": TYPE,
            "version": VERSION,
            "export_id": str(self.export_id),
            "camera_id": str(self.camera_id),
            "from": rfc3339(self.from_),
            "to": rfc3339(self.to),
            "until": rfc3339(self.until),
            "file": {"bytes": self.size_bytes, "blake3": self.digest.hex()},
            "wanted": self._fields_of(WantedEntry),
            "gaps": self._fields_of(GapEntry),
            "segments": self._fields_of(SegmentEntry),
            "seals": [{"number": one.number, "hash": one.hash.hex()} for one in self.seals],
            "changes": [{"at": rfc3339(one.at), "cut": one.cut} for one in self.changes],
            "part": None if self.part is None else _part_fields(self.part),
            "key_id": self.key_id,
            "signed_at": rfc3339(self.signed_at),
        }

    def _fields_of(self, kind: type[Entry]) -> list[dict[str, object]]:
        return [entry.fields() for entry in ordered(self.entries) if isinstance(entry, kind)]


def _part_fields(part: PartOf) -> dict[str, object]:
    return {"export_id": str(part.export_id), "number": part.number, "count": part.count}


def _read_changes(fields: Fields) -> list[SignedChange]:
    changes = []
    for one in fields.each("changes"):
        changes.append(SignedChange(one.moment("at"), cut=one.flag("cut")))
        one.end()
    return changes


def _read_part(fields: Fields) -> PartOf | None:
    if (found := fields.within_or_none("part")) is None:
        return None
    part = PartOf(found.uuid("export_id"), found.number("number"), found.number("count"))
    found.end()
    return part


def read_proof(signed: SignedStatement) -> ExportProof:
    """Read the content of a proof; raise Damaged. The signature is not checked."""
    fields = read_line(signed.statement)
    fields.literal("type", TYPE)
    version = fields.number("version")
    if version not in {1, VERSION}:
        raise Damaged(f"version is not {VERSION}")
    file = fields.within("file")
    entries: list[Entry] = []
    for name, kind in (("wanted", WantedEntry), ("gaps", GapEntry), ("segments", SegmentEntry)):
        entries += (found := [entry_of(one) for one in fields.each(name)])
        if not all(isinstance(one, kind) for one in found):
            raise Damaged(f"{name} holds something else")
    seals = []
    for one in fields.each("seals"):
        seals.append(NamedSeal(one.number("number"), one.digest("hash")))
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
        changes=_read_changes(fields) if version == VERSION else (),
        part=_read_part(fields) if version == VERSION else None,
    )
    file.end()
    fields.end()
    return proof


def check_export(
    file: Path, proof_file: Path, keys: Mapping[str, SealPublicKey]
) -> tuple[ExportProof | None, list[SignedFinding]]:
    """Check an export against its proof; return the proof, None if it is not to be trusted."""
    try:
        signed = parse_signed(_bounded(proof_file))
        proof = read_proof(signed)
    except (Damaged, OSError) as error:
        return None, [_finding(SignedFindingKind.SEAL_DAMAGED, str(error), proof_file)]
    if (doubt := distrust(signed, proof.key_id, keys)) is not None:
        return None, [_finding(*doubt, proof_file)]
    return proof, list(_findings(proof, file))


_MOST_PROOF_BYTES: Final = 64 * 1024 * 1024


def _bounded(path: Path) -> bytes:
    """Read a proof; one that is too long then does not parse."""
    with path.open("rb") as file:
        return file.read(_MOST_PROOF_BYTES)


def _findings(proof: ExportProof, file: Path) -> Iterator[SignedFinding]:
    try:
        size, digest = file.stat().st_size, file_digest(file)
    except OSError as error:
        yield _finding(SignedFindingKind.FILE_MISSING, f"cannot be read: {error.strerror}", file)
        return
    if (size, digest) != (proof.size_bytes, proof.digest):
        detail = f"it is not the file that was signed ({size} bytes, {proof.size_bytes} signed)"
        yield _finding(SignedFindingKind.EXPORT_ALTERED, detail, file)
    wanted: list[TimeRange] = []
    known: list[TimeRange] = []
    for entry in proof.entries:
        where = TimeRange(entry.started_at, entry.ended_at)
        (wanted if isinstance(entry, WantedEntry) else known).append(where)
    for hole in holes(wanted, known):
        yield second_missing(proof.camera_id, hole)


def _finding(kind: SignedFindingKind, detail: str, file: Path) -> SignedFinding:
    return SignedFinding(kind=kind, camera_id=None, detail=detail, path=str(file))
