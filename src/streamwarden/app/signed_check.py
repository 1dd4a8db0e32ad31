"""``recordings verify --signed``: the chain, the files and the seconds of one camera, offline.

Files and public keys alone; nothing is believed that is not signed by a key that was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

from streamwarden.app.coverage import Span, holes, merged
from streamwarden.app.folders import camera_folders, stored_files
from streamwarden.app.seal_files import SealFiles, entries_name
from streamwarden.app.signed_chain import Link, read_chain
from streamwarden.app.signed_findings import (
    END,
    Proven,
    Question,
    SignedFinding,
    SignedKind,
    second_missing,
)
from streamwarden.clock import rfc3339
from streamwarden.evidence.entries import Entry, GapEntry, SegmentEntry, WantedEntry, decode_entries
from streamwarden.evidence.seals import Seal
from streamwarden.media.beneath import is_plain
from streamwarden.media.disk import file_digest
from streamwarden.media.names import parse_stored


@dataclass(slots=True)
class SignedCheck:
    """One camera. ``findings`` fills as it is read; ``proven`` says what was looked at."""

    record_root: Path
    camera_id: UUID
    question: Question
    findings: list[SignedFinding] = field(default_factory=list)
    _links: list[Link] = field(default_factory=list)
    _segments: dict[str, list[SegmentEntry]] = field(default_factory=dict)
    _gaps: list[Span] = field(default_factory=list)
    _wanted: list[Span] = field(default_factory=list)
    _bytes: int = 0

    @property
    def hashes(self) -> set[bytes]:
        """The hashes of the seals that are good."""
        return {link.signed.hash for link in self._links}

    def run(self) -> Proven:
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
                self._find(SignedKind.ENTRIES_MISSING, words, seal=seal.number, path=name)
            return ()
        if hashlib.sha256(body).digest() != seal.entries_sha256:
            words = "it is not what was signed"
            self._find(SignedKind.ENTRIES_ALTERED, words, seal=seal.number, path=name)
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
                self._find_file(SignedKind.FILE_MISSING, entry, "it is not there")
        except OSError as error:
            self._find_file(SignedKind.FILE_ALTERED, entry, f"cannot be read: {error.strerror}")
        else:
            self._bytes += entry.size_bytes
            if wrong:
                self._find_file(SignedKind.FILE_ALTERED, entry, wrong)

    def _wrong_with(self, path: Path, entry: SegmentEntry) -> str:
        if (
            not is_plain(self.record_root, path.parent)
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

    def _find_file(self, kind: SignedKind, entry: SegmentEntry, words: str) -> None:
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
                    self._find(SignedKind.FILE_UNSEALED, words, path=name, started_at=started_at)

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
            self._find(SignedKind.NOT_SEALED, "there is no seal that a given key has signed")
        elif self.question.to is not None and self.question.to > self._until:
            self._find(
                SignedKind.NOT_SEALED,
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
            SignedKind.SEAL_MISSING,
            SignedKind.SEAL_DAMAGED,
            SignedKind.SEAL_ALTERED,
            SignedKind.WRONG_KEY,
            SignedKind.ENTRIES_MISSING,
            SignedKind.ENTRIES_ALTERED,
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
        kind: SignedKind,
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

    def _proven(self, wanted: Sequence[Span], gaps: Sequence[Span]) -> Proven:
        newest = max(self._links, key=lambda link: link.seal.number, default=None)
        return Proven(
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
