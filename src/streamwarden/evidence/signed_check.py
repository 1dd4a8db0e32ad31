"""The offline check of one camera's chain of seals, its files and its seconds.

It reads files and public keys, no database and no settings, and trusts only what one of the given keys
has signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.seal_files import SealFiles, entries_name, seal_name
from streamwarden.evidence.seal_keys import SealPublicKey
from streamwarden.evidence.seals import (
    NOTHING_BEFORE,
    Entry,
    GapEntry,
    Seal,
    SegmentEntry,
    WantedEntry,
    decode_entries,
    read_seal,
)
from streamwarden.evidence.statements import Damaged, SignedStatement, moment_or_none
from streamwarden.model import TimeRange
from streamwarden.paths import has_no_symlink, parse_stored
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.record_root import camera_folders, stored_files
from streamwarden.recordings.time_ranges import holes, merged
from streamwarden.recordings.verify import BEGINNING

END: Final = datetime(9999, 12, 31, tzinfo=UTC)


class SignedFindingKind(StrEnum):
    """The kinds of findings of a signed check."""

    SEAL_MISSING = "seal_missing"
    SEAL_DAMAGED = "seal_damaged"
    SEAL_ALTERED = "seal_altered"
    WRONG_KEY = "wrong_key"
    CHAIN_BROKEN = "chain_broken"
    ENTRIES_MISSING = "entries_missing"
    ENTRIES_ALTERED = "entries_altered"
    HEAD_MISSING = "head_missing"
    FILE_MISSING = "file_missing"
    FILE_ALTERED = "file_altered"
    FILE_UNSEALED = "file_unsealed"
    SECOND_MISSING = "second_missing"
    NOT_SEALED = "not_sealed"
    EXPORT_ALTERED = "export_altered"


_ENTRIES_UNKNOWN: Final = frozenset(
    {
        SignedFindingKind.SEAL_MISSING,
        SignedFindingKind.SEAL_DAMAGED,
        SignedFindingKind.SEAL_ALTERED,
        SignedFindingKind.WRONG_KEY,
        SignedFindingKind.ENTRIES_MISSING,
        SignedFindingKind.ENTRIES_ALTERED,
    }
)
"""After one of these, a file without an entry may have had one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFinding:
    """One file, seal or time range that the signed statements do not prove."""

    kind: SignedFindingKind
    camera_id: UUID | None
    detail: str
    path: str | None = None
    seal: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def as_json(self) -> dict[str, object]:
        """Return the finding for scripts."""
        return {
            "kind": self.kind,
            "camera_id": None if self.camera_id is None else str(self.camera_id),
            "seal": self.seal,
            "path": self.path,
            "started_at": moment_or_none(self.started_at),
            "ended_at": moment_or_none(self.ended_at),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckOptions:
    """The trusted keys, and the time range to prove.

    ``heads`` are hashes that were noted elsewhere. ``to`` None: as far as is sealed.
    """

    keys: Mapping[str, SealPublicKey]
    from_: datetime = BEGINNING
    to: datetime | None = None
    heads: Collection[bytes] = ()
    digests: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSummary:
    """The extent of one camera's chain, and how much of it was checked."""

    camera_id: UUID
    seals: int
    files: int
    size_bytes: int
    wanted_s: float
    gap_s: float
    from_: datetime | None
    until: datetime | None
    removed_until: datetime | None
    head: bytes | None

    def as_json(self) -> dict[str, object]:
        """Return the summary for scripts."""
        return {
            "camera_id": str(self.camera_id),
            "seals": self.seals,
            "files": self.files,
            "bytes": self.size_bytes,
            "wanted_seconds": round(self.wanted_s, 3),
            "gap_seconds": round(self.gap_s, 3),
            "from": moment_or_none(self.from_),
            "until": moment_or_none(self.until),
            "removed_until": moment_or_none(self.removed_until),
            "head": None if self.head is None else self.head.hex(),
        }

    def in_words(self) -> str:
        """Return the summary as a line of text."""
        if self.from_ is None or self.until is None:
            return f"{self.camera_id}: no seal"
        return (
            f"{self.camera_id}: sealed from {rfc3339(self.from_)} to {rfc3339(self.until)}; "
            f"seals: {self.seals}, files looked at: {self.files} ({self.size_bytes} bytes), "
            f"wanted: {self.wanted_s:.0f} s, in gaps: {self.gap_s:.0f} s"
        )


@dataclass(frozen=True, slots=True)
class ChainedSeal:
    """A seal that one of the keys has signed."""

    seal: Seal
    signed: SignedStatement


class SignedCheck:
    """The check of one camera. ``run`` fills ``findings`` and returns the summary; it runs once."""

    def __init__(self, record_root: Path, camera_id: UUID, options: SignedCheckOptions) -> None:
        self.camera_id = camera_id
        self.findings: list[SignedFinding] = []
        self._root = record_root
        self._options = options
        self._files = SealFiles(record_root, camera_id)
        self._chain: list[ChainedSeal] = []
        self._segments: dict[str, list[SegmentEntry]] = {}
        self._gaps: list[TimeRange] = []
        self._wanted: list[TimeRange] = []
        self._checked_bytes = 0

    @property
    def hashes(self) -> set[bytes]:
        """The hashes of the trusted seals."""
        return {link.signed.hash for link in self._chain}

    def run(self) -> ChainSummary:
        """Read the chain, then check the files and seconds that it covers."""
        self._read_chain()
        for link in self._chain:
            for entry in self._entries(link.seal):
                self._collect(entry)
        for entries in self._segments.values():
            for segment in entries:
                self._check_file(segment)
        self._check_unsealed_files()
        stored = [
            TimeRange(one.started_at, one.ended_at)
            for entries in self._segments.values()
            for one in entries
        ]
        wanted = merged(self._clipped(self._wanted))
        for hole in holes(wanted, [*stored, *self._gaps]):
            self.findings.append(second_missing(self.camera_id, hole))
        self._check_extent()
        return self._summary(wanted, merged(self._clipped(self._gaps)))

    # The chain

    def _read_chain(self) -> None:
        expected, before = 0, None
        for number in self._files.numbers():
            if expected < number:
                self._find_missing_seals(expected, number - 1)
            # After a missing seal the hash that this one should name is not known.
            known = before if number == expected else None
            before = self._read_seal(number, known, first=number == expected == 0)
            expected = number + 1

    def _find_missing_seals(self, first: int, last: int) -> None:
        # One finding for all of them: a file may have any number for its name.
        detail = "is not there" if first == last else f"seals {first} to {last} are not there"
        self._find(SignedFindingKind.SEAL_MISSING, detail, seal=first)

    def _read_seal(
        self, number: int, before: ChainedSeal | None, *, first: bool
    ) -> ChainedSeal | None:
        name = seal_name(number)
        try:
            signed = self._files.read(number)
            seal = read_seal(signed)
        except (Damaged, OSError) as error:
            self._find(SignedFindingKind.SEAL_DAMAGED, str(error), seal=number, path=name)
            return None
        if (doubt := distrust(signed, seal.key_id, self._options.keys)) is not None:
            kind, detail = doubt
            self._find(kind, detail, seal=number, path=name)
            return None
        for detail in self._breaks(seal, number, before, first=first):
            self._find(SignedFindingKind.CHAIN_BROKEN, detail, seal=number, path=name)
        link = ChainedSeal(seal, signed)
        if (seal.camera_id, seal.number) == (self.camera_id, number):
            self._chain.append(link)
        return link

    def _breaks(
        self, seal: Seal, number: int, before: ChainedSeal | None, *, first: bool
    ) -> Iterator[str]:
        if seal.camera_id != self.camera_id:
            yield f"it is of camera {seal.camera_id}"
        if seal.number != number:
            yield f"it is number {seal.number}"
        if first and seal.previous != NOTHING_BEFORE:
            yield "it is not the first of its chain"
        if before is None:
            return
        if seal.previous != before.signed.hash:
            yield "it follows another seal than the one before it"
        if seal.from_ != before.seal.until:
            yield "it does not begin where the one before it ends"

    # Entries and files

    def _entries(self, seal: Seal) -> Sequence[Entry]:
        if seal.first is None or seal.last is None or not self._reaches(seal.first, seal.last):
            return ()
        name = entries_name(seal.number)
        try:
            body = self._files.read_entries(seal.number)
        except OSError as error:
            if seal.last > self._removed_until:
                detail = f"its entries cannot be read: {error.strerror}"
                self._find(SignedFindingKind.ENTRIES_MISSING, detail, seal=seal.number, path=name)
            return ()
        if hashlib.sha256(body).digest() != seal.entries_sha256:
            detail = "it is not what was signed"
            self._find(SignedFindingKind.ENTRIES_ALTERED, detail, seal=seal.number, path=name)
            return ()
        return decode_entries(body)

    def _collect(self, entry: Entry) -> None:
        where = TimeRange(entry.started_at, entry.ended_at)
        match entry:
            case SegmentEntry():
                known = self._segments.setdefault(entry.path, [])
                if entry not in known:
                    known.append(entry)
            case GapEntry():
                self._gaps.append(where)
            case WantedEntry():
                self._wanted.append(where)

    def _check_file(self, entry: SegmentEntry) -> None:
        if not self._reaches(entry.started_at, entry.ended_at):
            return
        try:
            fault = self._fault_of(self._root / entry.path, entry)
        except (FileNotFoundError, NotADirectoryError):
            if entry.ended_at > self._removed_until:
                self._find_file(SignedFindingKind.FILE_MISSING, entry, "it is not there")
        except OSError as error:
            detail = f"cannot be read: {error.strerror}"
            self._find_file(SignedFindingKind.FILE_ALTERED, entry, detail)
        else:
            self._checked_bytes += entry.size_bytes
            if fault:
                self._find_file(SignedFindingKind.FILE_ALTERED, entry, fault)

    def _fault_of(self, path: Path, entry: SegmentEntry) -> str:
        if (
            not has_no_symlink(self._root, path.parent)
            or parse_stored(path.parent.name, path.name) is None
        ):
            return "its path is not one of a stored segment"
        if (size := path.lstat().st_size) != entry.size_bytes:
            return f"{size} bytes instead of {entry.size_bytes}"
        if entry.digest is None:
            return "sealed without a digest: its bytes are not proven"
        if self._options.digests and file_digest(path) != entry.digest:
            return "its digest differs from the seal"
        return ""

    def _check_unsealed_files(self) -> None:
        """Find stored files in a sealed time range that no seal has: they may have been put there."""
        since, until = max(self._since, self._removed_until), min(self._until, self._to)
        if since >= until or any(one.kind in _ENTRIES_UNKNOWN for one in self.findings):
            return
        for folder in camera_folders(self._root):
            if folder.camera_id != self.camera_id:
                continue
            for path, started_at in stored_files(folder.path, since, until):
                name = str(path.relative_to(self._root))
                if started_at >= since and name not in self._segments:
                    self._find(
                        SignedFindingKind.FILE_UNSEALED,
                        "no seal names it, though its time is sealed; a late file is in the next seal",
                        path=name,
                        started_at=started_at,
                    )

    def _check_extent(self) -> None:
        if not self._chain:
            detail = "there is no seal that a given key has signed"
            self._find(SignedFindingKind.NOT_SEALED, detail)
        elif self._options.to is not None and self._options.to > self._until:
            self._find(
                SignedFindingKind.NOT_SEALED,
                f"what follows {rfc3339(self._until)} is not sealed yet",
                started_at=self._until,
                ended_at=self._options.to,
            )

    # The extent of chain and question

    @property
    def _since(self) -> datetime:
        begins = min((link.seal.from_ for link in self._chain), default=self._options.from_)
        return max(begins, self._options.from_)

    @property
    def _until(self) -> datetime:
        return max((link.seal.until for link in self._chain), default=self._options.from_)

    @property
    def _to(self) -> datetime:
        return self._options.to or END

    @property
    def _removed_until(self) -> datetime:
        announced = [link.seal.removed_until for link in self._chain]
        return max((at for at in announced if at is not None), default=self._options.from_)

    def _reaches(self, started_at: datetime, ended_at: datetime) -> bool:
        return TimeRange(self._options.from_, self._to).overlaps(started_at, ended_at)

    def _clipped(self, ranges: Sequence[TimeRange]) -> list[TimeRange]:
        since = max(self._options.from_, self._removed_until)
        clipped = [TimeRange(max(one.from_, since), min(one.to, self._to)) for one in ranges]
        return [one for one in clipped if one.from_ < one.to]

    # Results

    def _find_file(self, kind: SignedFindingKind, entry: SegmentEntry, detail: str) -> None:
        self._find(
            kind, detail, path=entry.path, started_at=entry.started_at, ended_at=entry.ended_at
        )

    def _find(
        self,
        kind: SignedFindingKind,
        detail: str,
        *,
        path: str | None = None,
        seal: int | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        self.findings.append(
            SignedFinding(
                kind=kind,
                camera_id=self.camera_id,
                detail=detail,
                path=path,
                seal=seal,
                started_at=started_at,
                ended_at=ended_at,
            )
        )

    def _summary(self, wanted: Sequence[TimeRange], gaps: Sequence[TimeRange]) -> ChainSummary:
        newest = max(self._chain, key=lambda link: link.seal.number, default=None)
        return ChainSummary(
            camera_id=self.camera_id,
            seals=len(self._chain),
            files=sum(map(len, self._segments.values())),
            size_bytes=self._checked_bytes,
            wanted_s=sum(one.length.total_seconds() for one in wanted),
            gap_s=sum(one.length.total_seconds() for one in gaps),
            from_=min((link.seal.from_ for link in self._chain), default=None),
            until=None if newest is None else self._until,
            removed_until=None if newest is None else newest.seal.removed_until,
            head=None if newest is None else newest.signed.hash,
        )


# What the check of an export shares


def distrust(
    signed: SignedStatement, key_id: str, keys: Mapping[str, SealPublicKey]
) -> tuple[SignedFindingKind, str] | None:
    """Return why a statement that names ``key_id`` is not trusted; None if that key has signed it."""
    key = keys.get(key_id)
    if key is None:
        return (
            SignedFindingKind.WRONG_KEY,
            f"signed with the key {key_id}, which was not given",
        )
    if not signed.by(key):
        return SignedFindingKind.SEAL_ALTERED, "its signature is wrong"
    return None


def second_missing(camera_id: UUID, hole: TimeRange) -> SignedFinding:
    """Return the finding about a wanted time that is in no signed segment and no signed gap."""
    return SignedFinding(
        kind=SignedFindingKind.SECOND_MISSING,
        camera_id=camera_id,
        detail=f"{hole.length.total_seconds():.3f} s wanted, and neither recorded nor in a gap",
        started_at=hole.from_,
        ended_at=hole.to,
    )
