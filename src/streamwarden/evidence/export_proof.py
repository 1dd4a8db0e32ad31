"""The proof of an export: a signed statement about one file, made from these segments.

An export's proof: made when the export is done, and checked offline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import StreamwardenError
from streamwarden.evidence.seal_keys import SealKey, SealPublicKey
from streamwarden.evidence.seals import (
    Entry,
    GapEntry,
    SegmentEntry,
    WantedEntry,
    account_ends,
    entry_of,
    gap_entry,
    ordered,
    segment_entry,
    wanted_entries,
    wanted_spans,
)
from streamwarden.evidence.signed_check import (
    SignedFinding,
    SignedFindingKind,
    distrust,
    second_missing,
)
from streamwarden.evidence.statements import Damaged, SignedStatement, parse_signed, read_line, sign
from streamwarden.model import Gap, SealRow, Segment, WantedPeriod
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.exports import Export
from streamwarden.recordings.verify import Span, holes

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


def read_proof(signed: SignedStatement) -> ExportProof:
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


class NotProvable(StreamwardenError):
    """A source is not what was stored, so nothing is signed."""

    code = "not_provable"


class Seals(Protocol):
    """The table of seals."""

    def that_hold(self, camera_id: UUID, segments: Collection[UUID]) -> list[SealRow]:
        """Return the seals that speak of any of these segments."""


class Gaps(Protocol):
    """The ledger."""

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[Gap]:
        """Return the gaps that overlap a range."""


class Periods(Protocol):
    """When cameras were wanted."""

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[WantedPeriod]:
        """Return the periods that overlap a range."""


class ExportProver:
    """Signs exports. Blocking: every file is read."""

    def __init__(
        self,
        *,
        record_root: Path,
        key: SealKey,
        seals: Seals,
        gaps: Gaps,
        periods: Periods,
        clock: Clock,
    ) -> None:
        self._root = record_root
        self._key = key
        self._seals = seals
        self._gaps = gaps
        self._periods = periods
        self._clock = clock

    def prove(
        self,
        export: Export,
        segments: Sequence[Segment],
        file: Path,
    ) -> bytes:
        """Return the two lines of a proof of ``file``, joined from ``segments``.

        Raises:
            NotProvable: a source has other bytes than were stored, or no digest.
            Unavailable, OSError: Postgres is away; a file cannot be read.
        """
        for segment in segments:
            if segment.digest is None or file_digest(self._root / segment.path) != segment.digest:
                raise NotProvable(f"{segment.path} is not what was stored")
        named = self._seals.that_hold(export.camera_id, [segment.id for segment in segments])
        entries, until = self._account(export, segments)
        proof = ExportProof(
            export_id=export.id,
            camera_id=export.camera_id,
            from_=export.from_,
            to=export.to,
            until=until,
            size_bytes=file.stat().st_size,
            digest=file_digest(file),
            entries=entries,
            seals=[SealNamed(row.number, row.hash) for row in named],
            key_id=self._key.key_id,
            signed_at=self._clock.now(),
        )
        return sign(self._key, proof.fields()).encoded()

    def _account(self, export: Export, segments: Sequence[Segment]) -> tuple[list[Entry], datetime]:
        """Return the entries for the range, and up to when they are complete."""
        camera_id, from_, to = export.camera_id, export.from_, export.to
        entries: list[Entry] = [segment_entry(row) for row in segments]
        gaps = self._gaps.in_range(camera_id, from_, to)
        entries += [gap_entry(gap, still_open=to) for gap in gaps]
        before = min(to, self._clock.now())
        wanted = wanted_spans(self._periods.in_range(camera_id, from_, before), from_, before)
        until = account_ends(wanted, _spans(entries), before)
        return [*entries, *wanted_entries(wanted, until)], until


def check_export(
    file: Path, proof_file: Path, keys: Mapping[str, SealPublicKey]
) -> tuple[ExportProof | None, list[SignedFinding]]:
    """Check an export against its proof; return what the proof says, None if it proves nothing."""
    try:
        signed = parse_signed(proof_file.read_bytes())
        proof = read_proof(signed)
    except (Damaged, OSError) as error:
        return None, [_finding(SignedFindingKind.SEAL_DAMAGED, str(error), proof_file)]
    if (doubt := distrust(signed, proof.key_id, keys)) is not None:
        return None, [_finding(*doubt, proof_file)]
    return proof, list(_wrong_with(proof, file))


def _wrong_with(proof: ExportProof, file: Path) -> Iterator[SignedFinding]:
    try:
        size, digest = file.stat().st_size, file_digest(file)
    except OSError as error:
        yield _finding(SignedFindingKind.FILE_MISSING, f"cannot be read: {error.strerror}", file)
        return
    if (size, digest) != (proof.size_bytes, proof.digest):
        words = f"it is not the file that was signed ({size} bytes, {proof.size_bytes} signed)"
        yield _finding(SignedFindingKind.EXPORT_ALTERED, words, file)
    wanted = [
        Span(entry.started_at, entry.ended_at)
        for entry in proof.entries
        if isinstance(entry, WantedEntry)
    ]
    for hole in holes(wanted, _spans(proof.entries)):
        yield second_missing(proof.camera_id, hole)


def _spans(entries: Sequence[Entry]) -> list[Span]:
    known = (entry for entry in entries if isinstance(entry, SegmentEntry | GapEntry))
    return [Span(entry.started_at, entry.ended_at) for entry in known]


def _finding(kind: SignedFindingKind, detail: str, file: Path) -> SignedFinding:
    return SignedFinding(kind=kind, camera_id=None, detail=detail, path=str(file))
