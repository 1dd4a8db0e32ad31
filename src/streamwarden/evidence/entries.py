"""What a seal speaks of: segments, gaps, and when recording was wanted. One canonical line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.statements import Damaged, Fields, line_of, read_line


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
