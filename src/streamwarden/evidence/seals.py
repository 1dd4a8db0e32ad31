"""A seal: the signed statement about one stretch of one camera's footage, chained to the one before.

What a seal speaks of: segments, gaps, and when recording was wanted. One canonical line each.

What is said of a camera's time, in a seal or a proof: the entries that the index and the ledger make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.seal_keys import SealKey
from streamwarden.evidence.statements import (
    Damaged,
    Fields,
    SignedStatement,
    line_of,
    moment_or_none,
    read_line,
    sign,
)
from streamwarden.model import Gap, Segment, WantedPeriod
from streamwarden.recordings.verify import Span, holes


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEntry:
    """Recording was wanted from ``started_at`` to ``ended_at``."""

    started_at: datetime
    ended_at: datetime

    def fields(self) -> dict[str, object]:
        """Return what its line says."""
        return {
            "kind": "wanted",
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEntry:
    """It was wanted and not recorded; ``id`` is the ledger's."""

    id: UUID
    started_at: datetime
    ended_at: datetime
    cause: str

    def fields(self) -> dict[str, object]:
        """Return what its line says."""
        return {
            "kind": "gap",
            "id": str(self.id),
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "cause": self.cause,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntry:
    """A stored file, ``path`` below the record root; ``digest`` is BLAKE3, None if it was not taken."""

    path: str
    started_at: datetime
    ended_at: datetime
    media_ms: int
    size_bytes: int
    digest: bytes | None

    def fields(self) -> dict[str, object]:
        """Return what its line says."""
        return {
            "kind": "segment",
            "path": self.path,
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "media_ms": self.media_ms,
            "bytes": self.size_bytes,
            "blake3": None if self.digest is None else self.digest.hex(),
        }


Entry = WantedEntry | GapEntry | SegmentEntry


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries as they stand in a file: wishes, gaps, segments, each by time."""
    ranks = {WantedEntry: 0, GapEntry: 1, SegmentEntry: 2}
    return sorted(
        entries, key=lambda one: (ranks[type(one)], one.started_at, line_of(one.fields()))
    )


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Write entries, in their order."""
    return b"".join(line_of(entry.fields()) for entry in ordered(entries))


def decode_entries(content: bytes) -> list[Entry]:
    """Read what ``encode_entries`` has written; raise Damaged."""
    return [entry_of(read_line(line)) for line in content.splitlines(keepends=True)]


def entry_of(fields: Fields) -> Entry:
    """Return the entry of a line's fields; raise Damaged."""
    kind = fields.text("kind")
    entry: Entry
    match kind:
        case "wanted":
            entry = WantedEntry(
                started_at=fields.moment("started_at"), ended_at=fields.moment("ended_at")
            )
        case "gap":
            entry = GapEntry(
                id=fields.uuid("id"),
                started_at=fields.moment("started_at"),
                ended_at=fields.moment("ended_at"),
                cause=fields.text("cause"),
            )
        case "segment":
            entry = SegmentEntry(
                path=fields.text("path"),
                started_at=fields.moment("started_at"),
                ended_at=fields.moment("ended_at"),
                media_ms=fields.number("media_ms"),
                size_bytes=fields.number("bytes"),
                digest=fields.digest_or_none("blake3"),
            )
        case _:
            raise Damaged(f"unknown kind {kind}")
    fields.end()
    return entry


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
class StoredSeal:
    """A seal as it is kept: signed, and what it speaks of as bytes."""

    seal: Seal
    signed: SignedStatement
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
class SealDraft:
    """What the next seal is to say."""

    camera_id: UUID
    from_: datetime
    until: datetime
    entries: Sequence[Entry]
    removed_until: datetime | None


def make_seal(
    key: SealKey, stretch: SealDraft, *, after: Head | None, signed_at: datetime
) -> StoredSeal:
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
    return StoredSeal(seal, sign(key, seal.fields()), body)


def read_seal(signed: SignedStatement) -> Seal:
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


def segment_entry(row: Segment) -> SegmentEntry:
    """Return what is said of a segment."""
    return SegmentEntry(
        path=row.path,
        started_at=row.started_at,
        ended_at=row.ended_at,
        media_ms=row.media_ms,
        size_bytes=row.size_bytes,
        digest=row.digest,
    )


def gap_entry(gap: Gap, *, still_open: datetime) -> GapEntry:
    """Return what is said of a gap; one that has no end yet reaches to ``still_open``."""
    ended_at = gap.ended_at or max(gap.started_at, still_open)
    return GapEntry(id=gap.id, started_at=gap.started_at, ended_at=ended_at, cause=gap.cause)


def wanted_spans(periods: Iterable[WantedPeriod], since: datetime, before: datetime) -> list[Span]:
    """Return when recording was wanted from ``since`` to ``before``."""
    spans = [
        Span(max(period.started_at, since), min(period.ended_at or before, before))
        for period in periods
    ]
    return [span for span in spans if span.started_at < span.ended_at]


def wanted_entries(wanted: Iterable[Span], until: datetime) -> list[WantedEntry]:
    """Return when recording was wanted, up to ``until``."""
    return [
        WantedEntry(started_at=span.started_at, ended_at=min(span.ended_at, until))
        for span in wanted
        if span.started_at < until
    ]


def account_ends(wanted: Sequence[Span], known: Sequence[Span], before: datetime) -> datetime:
    """Return where the account ends: ``before``, or where what is still under way began."""
    missing = list(holes(wanted, known))
    if missing and missing[-1].ended_at == before:
        return missing[-1].started_at
    return before
