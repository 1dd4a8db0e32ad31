"""``recordings verify --signed``: the chain, the files and the seconds of one camera, offline.

Files and public keys alone; nothing is believed that is not signed by a key that was given.


One camera's chain of seals, read from its first to its last: which are good, and where it breaks.

What ``recordings verify --signed`` can find, and what it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from streamwarden.paths import has_no_symlink, parse_stored
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.record_root import camera_folders, stored_files
from streamwarden.recordings.verify import BEGINNING, Span, holes, merged

END: Final = datetime(9999, 12, 31, tzinfo=UTC)


class SignedFindingKind(StrEnum):
    """What is wrong."""

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


def distrust(
    signed: SignedStatement, key_id: str, keys: Mapping[str, SealPublicKey]
) -> tuple[SignedFindingKind, str] | None:
    """Return why a statement that names ``key_id`` proves nothing; None where a given key signed it."""
    key = keys.get(key_id)
    if key is None:
        return SignedFindingKind.WRONG_KEY, f"signed with the key {key_id}, which was not given"
    if not signed.by(key):
        return SignedFindingKind.SEAL_ALTERED, "its signature is wrong"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFinding:
    """One thing that is wrong: which file or seal, or which time."""

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


def second_missing(camera_id: UUID, hole: Span) -> SignedFinding:
    """Say that a stretch was wanted, and that nothing that is signed tells of it."""
    return SignedFinding(
        kind=SignedFindingKind.SECOND_MISSING,
        camera_id=camera_id,
        detail=f"{hole.length.total_seconds():.3f} s wanted, and neither recorded nor in a gap",
        started_at=hole.started_at,
        ended_at=hole.ended_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckOptions:
    """What is to be proven. ``heads`` are hashes noted elsewhere; ``to`` None: as far as is sealed."""

    keys: Mapping[str, SealPublicKey]
    from_: datetime = BEGINNING
    to: datetime | None = None
    heads: Collection[bytes] = ()
    digests: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSummary:
    """What was looked at, of one camera: how much, and up to when its chain reaches."""

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
        """Return it for scripts."""
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
        """Say it to people."""
        if self.from_ is None or self.until is None:
            return f"{self.camera_id}: no seal"
        return (
            f"{self.camera_id}: sealed from {rfc3339(self.from_)} to {rfc3339(self.until)}; "
            f"seals: {self.seals}, files looked at: {self.files} ({self.size_bytes} bytes), "
            f"wanted: {self.wanted_s:.0f} s, in gaps: {self.gap_s:.0f} s"
        )


@dataclass(frozen=True, slots=True)
class ChainedSeal:
    """A seal that is signed by one of the keys."""

    seal: Seal
    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class Chain:
    """The camera's own good seals in order, and what is wrong with the chain."""

    links: list[ChainedSeal] = field(default_factory=list)
    findings: list[SignedFinding] = field(default_factory=list)


def read_chain(files: SealFiles, camera_id: UUID, keys: Mapping[str, SealPublicKey]) -> Chain:
    """Read every seal that is there; nothing is believed that none of ``keys`` has signed."""
    reader = _Reader(files, camera_id, keys)
    reader.read()
    return reader.chain


class _Reader:
    def __init__(
        self, files: SealFiles, camera_id: UUID, keys: Mapping[str, SealPublicKey]
    ) -> None:
        self._files = files
        self._camera_id = camera_id
        self._keys = keys
        self.chain = Chain()

    def read(self) -> None:
        expected, before = 0, None
        for number in self._files.numbers():
            for missing in range(expected, number):
                self._find(SignedFindingKind.SEAL_MISSING, "is not there", missing)
            # After a hole nobody can say what it should name.
            known = before if number == expected else None
            before = self._read_link(number, known, first=number == expected == 0)
            expected = number + 1

    def _read_link(
        self, number: int, before: ChainedSeal | None, *, first: bool
    ) -> ChainedSeal | None:
        name = seal_name(number)
        try:
            signed = self._files.read(number)
            seal = read_seal(signed)
        except (Damaged, OSError) as error:
            self._find(SignedFindingKind.SEAL_DAMAGED, str(error), number, name)
            return None
        if (doubt := distrust(signed, seal.key_id, self._keys)) is not None:
            self._find(*doubt, number, name)
            return None
        for words in self._breaks(seal, number, before, first=first):
            self._find(SignedFindingKind.CHAIN_BROKEN, words, number, name)
        link = ChainedSeal(seal, signed)
        if (seal.camera_id, seal.number) == (self._camera_id, number):
            self.chain.links.append(link)
        return link

    def _breaks(
        self, seal: Seal, number: int, before: ChainedSeal | None, *, first: bool
    ) -> Iterator[str]:
        if seal.camera_id != self._camera_id:
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

    def _find(
        self, kind: SignedFindingKind, detail: str, seal: int, path: str | None = None
    ) -> None:
        found = SignedFinding(
            kind=kind, camera_id=self._camera_id, detail=detail, path=path, seal=seal
        )
        self.chain.findings.append(found)


@dataclass(slots=True)
class SignedCheck:
    """One camera. ``findings`` fills as it is read; ``proven`` says what was looked at."""

    record_root: Path
    camera_id: UUID
    question: SignedCheckOptions
    findings: list[SignedFinding] = field(default_factory=list)
    _links: list[ChainedSeal] = field(default_factory=list)
    _segments: dict[str, list[SegmentEntry]] = field(default_factory=dict)
    _gaps: list[Span] = field(default_factory=list)
    _wanted: list[Span] = field(default_factory=list)
    _bytes: int = 0

    @property
    def hashes(self) -> set[bytes]:
        """The hashes of the seals that are good."""
        return {link.signed.hash for link in self._links}

    def run(self) -> ChainSummary:
        """Look at everything."""
        files = SealFiles(self.record_root, self.camera_id)
        chain = read_chain(files, self.camera_id, self.question.keys)
        self._links = chain.links
        self.findings += chain.findings
        for link in self._links:
            for entry in self._entries(files, link.seal):
                self._take(entry)
        for entries in self._segments.values():
            for entry in entries:
                self._check_file(entry)
        self._check_strangers()
        wanted, gaps = self._check_seconds()
        self._check_reached()
        return self._proven(wanted, gaps)

    # What it speaks of

    def _entries(self, files: SealFiles, seal: Seal) -> Sequence[Entry]:
        if seal.first is None or seal.last is None or not self._reaches(seal.first, seal.last):
            return ()
        name = entries_name(seal.number)
        try:
            body = files.read_entries(seal.number)
        except OSError as error:
            if seal.last > self._removed_until:
                words = f"what it speaks of cannot be read: {error.strerror}"
                self._find(SignedFindingKind.ENTRIES_MISSING, words, seal=seal.number, path=name)
            return ()
        if hashlib.sha256(body).digest() != seal.entries_sha256:
            words = "it is not what was signed"
            self._find(SignedFindingKind.ENTRIES_ALTERED, words, seal=seal.number, path=name)
            return ()
        return decode_entries(body)

    def _take(self, entry: Entry) -> None:
        span = Span(entry.started_at, entry.ended_at)
        match entry:
            case SegmentEntry():
                known = self._segments.setdefault(entry.path, [])
                if entry not in known:
                    known.append(entry)
            case GapEntry():
                self._gaps.append(span)
            case WantedEntry():
                self._wanted.append(span)

    def _check_file(self, entry: SegmentEntry) -> None:
        if not self._reaches(entry.started_at, entry.ended_at):
            return
        path = self.record_root / entry.path
        try:
            wrong = self._wrong_with(path, entry)
        except (FileNotFoundError, NotADirectoryError):
            if entry.ended_at > self._removed_until:
                self._find_file(SignedFindingKind.FILE_MISSING, entry, "it is not there")
        except OSError as error:
            self._find_file(
                SignedFindingKind.FILE_ALTERED, entry, f"cannot be read: {error.strerror}"
            )
        else:
            self._bytes += entry.size_bytes
            if wrong:
                self._find_file(SignedFindingKind.FILE_ALTERED, entry, wrong)

    def _wrong_with(self, path: Path, entry: SegmentEntry) -> str:
        if (
            not has_no_symlink(self.record_root, path.parent)
            or parse_stored(path.parent.name, path.name) is None
        ):
            return "its name leads elsewhere"
        if (size := path.lstat().st_size) != entry.size_bytes:
            return f"{size} bytes instead of {entry.size_bytes}"
        if entry.digest is None:
            return "sealed without a digest: its bytes are not proven"
        if self.question.digests and file_digest(path) != entry.digest:
            return "its BLAKE3 digest is another one"
        return ""

    def _find_file(self, kind: SignedFindingKind, entry: SegmentEntry, words: str) -> None:
        self._find(
            kind, words, path=entry.path, started_at=entry.started_at, ended_at=entry.ended_at
        )

    def _check_strangers(self) -> None:
        """Find stored files in what is sealed that no seal names: somebody may have put them there."""
        since, until = max(self._since, self._removed_until), min(self._until, self._to)
        if since >= until or self._incomplete:
            return
        for folder in camera_folders(self.record_root):
            if folder.camera_id != self.camera_id:
                continue
            for path, started_at in stored_files(folder.path, since, until):
                name = str(path.relative_to(self.record_root))
                if started_at >= since and name not in self._segments:
                    words = "no seal names it, though its time is sealed; what came late is in the next one"
                    self._find(
                        SignedFindingKind.FILE_UNSEALED, words, path=name, started_at=started_at
                    )

    def _check_seconds(self) -> tuple[list[Span], list[Span]]:
        """Find wanted seconds that are nowhere; return what was wanted, and the gaps, in the range."""
        stored = [
            Span(one.started_at, one.ended_at) for each in self._segments.values() for one in each
        ]
        wanted = merged(self._clipped(self._wanted))
        missing = holes(wanted, [*stored, *self._gaps])
        self.findings += [second_missing(self.camera_id, hole) for hole in missing]
        return wanted, merged(self._clipped(self._gaps))

    def _check_reached(self) -> None:
        if not self._links:
            self._find(SignedFindingKind.NOT_SEALED, "there is no seal that a given key has signed")
        elif self.question.to is not None and self.question.to > self._until:
            self._find(
                SignedFindingKind.NOT_SEALED,
                f"what follows {rfc3339(self._until)} is not sealed yet",
                started_at=self._until,
                ended_at=self.question.to,
            )

    # What it comes to

    @property
    def _until(self) -> datetime:
        return max((link.seal.until for link in self._links), default=self.question.from_)

    @property
    def _since(self) -> datetime:
        begins = min((link.seal.from_ for link in self._links), default=self.question.from_)
        return max(begins, self.question.from_)

    @property
    def _to(self) -> datetime:
        return self.question.to or END

    @property
    def _removed_until(self) -> datetime:
        said = [link.seal.removed_until for link in self._links]
        return max((one for one in said if one is not None), default=self.question.from_)

    @property
    def _incomplete(self) -> bool:
        """Whether entries are unknown: what they name would look like a stranger's."""
        unknown = {
            SignedFindingKind.SEAL_MISSING,
            SignedFindingKind.SEAL_DAMAGED,
            SignedFindingKind.SEAL_ALTERED,
            SignedFindingKind.WRONG_KEY,
            SignedFindingKind.ENTRIES_MISSING,
            SignedFindingKind.ENTRIES_ALTERED,
        }
        return any(one.kind in unknown for one in self.findings)

    def _reaches(self, started_at: datetime, ended_at: datetime) -> bool:
        return started_at < self._to and ended_at > self.question.from_

    def _clipped(self, spans: Sequence[Span]) -> list[Span]:
        since = max(self.question.from_, self._removed_until)
        clipped = [Span(max(one.started_at, since), min(one.ended_at, self._to)) for one in spans]
        return [one for one in clipped if one.started_at < one.ended_at]

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

    def _proven(self, wanted: Sequence[Span], gaps: Sequence[Span]) -> ChainSummary:
        newest = max(self._links, key=lambda link: link.seal.number, default=None)
        return ChainSummary(
            camera_id=self.camera_id,
            seals=len(self._links),
            files=sum(map(len, self._segments.values())),
            size_bytes=self._bytes,
            wanted_s=sum(one.length.total_seconds() for one in wanted),
            gap_s=sum(one.length.total_seconds() for one in gaps),
            from_=min((link.seal.from_ for link in self._links), default=None),
            until=None if newest is None else self._until,
            removed_until=None if newest is None else newest.seal.removed_until,
            head=None if newest is None else newest.signed.hash,
        )
