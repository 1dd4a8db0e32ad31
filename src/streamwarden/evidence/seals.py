"""Seals: signed statements about one camera's footage, each chained to the one before it.

A seal covers one time range. Its entries are the segments, the gaps and the times when recording was
wanted, one canonical line each; ``docs/design/0012-verifiable-footage.md`` has the format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from streamwarden.model import Gap, Segment, TimeRange, WantedPeriod
from streamwarden.recordings.time_ranges import holes

TYPE: Final = "streamwarden.seal"

VERSION: Final = 1

NOTHING_BEFORE: Final = bytes(32)
"""The hash of the previous seal, in the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The content of one seal. ``first`` and ``last`` bound its entries, None without any.

    ``removed_until``: recordings that ended up to then may have been deleted.
    """

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
        """Return the fields of its line."""
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
    """The newest seal of a camera's chain."""

    number: int
    hash: bytes
    until: datetime
    removed_until: datetime | None


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal as it is stored: its content, the signed statement, and the bytes of its entries."""

    seal: Seal
    signed: SignedStatement
    body: bytes

    @property
    def head(self) -> Head:
        """The head of the chain that ends with this seal."""
        seal = self.seal
        return Head(
            number=seal.number,
            hash=self.signed.hash,
            until=seal.until,
            removed_until=seal.removed_until,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealDraft:
    """The content of the next seal, before its place in the chain is known."""

    camera_id: UUID
    from_: datetime
    until: datetime
    entries: Sequence[Entry]
    removed_until: datetime | None


def make_seal(
    key: SealKey, draft: SealDraft, *, after: Head | None, signed_at: datetime
) -> StoredSeal:
    """Sign the seal that follows ``after``, None for the first."""
    body = encode_entries(draft.entries)
    seal = Seal(
        camera_id=draft.camera_id,
        number=0 if after is None else after.number + 1,
        previous=NOTHING_BEFORE if after is None else after.hash,
        from_=draft.from_,
        until=draft.until,
        entries=len(draft.entries),
        entries_sha256=hashlib.sha256(body).digest(),
        first=min((entry.started_at for entry in draft.entries), default=None),
        last=max((entry.ended_at for entry in draft.entries), default=None),
        removed_until=draft.removed_until,
        key_id=key.key_id,
        signed_at=signed_at,
    )
    return StoredSeal(seal, sign(key, seal.fields()), body)


def read_seal(signed: SignedStatement) -> Seal:
    """Read the content of a statement; raise Damaged. The signature is not checked."""
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


# Entries


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedEntry:
    """A time when recording was wanted."""

    started_at: datetime
    ended_at: datetime

    def fields(self) -> dict[str, object]:
        """Return the fields of its line."""
        return {
            "kind": "wanted",
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEntry:
    """A time that was wanted and not recorded; ``id`` is the ledger's."""

    id: UUID
    started_at: datetime
    ended_at: datetime
    cause: str

    def fields(self) -> dict[str, object]:
        """Return the fields of its line."""
        return {
            "kind": "gap",
            "id": str(self.id),
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "cause": self.cause,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEntry:
    """A stored file; ``path`` is relative to the record root, ``digest`` BLAKE3 or None."""

    path: str
    started_at: datetime
    ended_at: datetime
    media_ms: int
    size_bytes: int
    digest: bytes | None

    def fields(self) -> dict[str, object]:
        """Return the fields of its line."""
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
    """Return entries in the order of a file: wanted times, gaps, segments, each by time."""
    ranks = {WantedEntry: 0, GapEntry: 1, SegmentEntry: 2}
    return sorted(
        entries, key=lambda one: (ranks[type(one)], one.started_at, line_of(one.fields()))
    )


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Return the bytes of entries, in the order of a file."""
    return b"".join(line_of(entry.fields()) for entry in ordered(entries))


def decode_entries(content: bytes) -> list[Entry]:
    """Read the bytes of entries; raise Damaged."""
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


# The entries of a time range


def entries_of(
    segments: Iterable[Segment],
    gaps: Iterable[Gap],
    periods: Iterable[WantedPeriod],
    *,
    since: datetime,
    before: datetime,
    open_gaps_end: datetime,
) -> tuple[list[Entry], datetime]:
    """Return the entries for ``since`` to ``before``, and the time up to which they are complete.

    That is ``before``, or the start of what is still being recorded then. A gap without an end gets
    ``open_gaps_end``.
    """
    entries: list[Entry] = [_segment_entry(row) for row in segments]
    entries += [_gap_entry(gap, open_gaps_end) for gap in gaps]
    known = [TimeRange(entry.started_at, entry.ended_at) for entry in entries]
    clipped = (
        TimeRange(max(period.started_at, since), min(period.ended_at or before, before))
        for period in periods
    )
    wanted = [each for each in clipped if each.from_ < each.to]
    # However short the last hole is: a segment that began in it may still be in progress.
    missing = list(holes(wanted, known, tolerance=timedelta()))
    until = missing[-1].from_ if missing and missing[-1].to == before else before
    until = max(since, until)
    entries += [
        WantedEntry(started_at=each.from_, ended_at=min(each.to, until))
        for each in wanted
        if each.from_ < until
    ]
    return entries, until


def _segment_entry(row: Segment) -> SegmentEntry:
    return SegmentEntry(
        path=row.path,
        started_at=row.started_at,
        ended_at=row.ended_at,
        media_ms=row.media_ms,
        size_bytes=row.size_bytes,
        digest=row.digest,
    )


def _gap_entry(gap: Gap, open_gaps_end: datetime) -> GapEntry:
    ended_at = gap.ended_at or max(gap.started_at, open_gaps_end)
    return GapEntry(id=gap.id, started_at=gap.started_at, ended_at=ended_at, cause=gap.cause)
