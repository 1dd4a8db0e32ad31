"""What ``recordings verify --signed`` can find, and what it is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from streamwarden.app.coverage import Span
from streamwarden.app.findings import BEGINNING
from streamwarden.clock import rfc3339
from streamwarden.evidence.keys import PublicKey
from streamwarden.evidence.statements import Signed, moment_or_none

END: Final = datetime(9999, 12, 31, tzinfo=UTC)


class SignedKind(StrEnum):
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
    signed: Signed, key_id: str, keys: Mapping[str, PublicKey]
) -> tuple[SignedKind, str] | None:
    """Return why a statement that names ``key_id`` proves nothing; None where a given key signed it."""
    key = keys.get(key_id)
    if key is None:
        return SignedKind.WRONG_KEY, f"signed with the key {key_id}, which was not given"
    if not signed.by(key):
        return SignedKind.SEAL_ALTERED, "its signature is wrong"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFinding:
    """One thing that is wrong: which file or seal, or which time."""

    kind: SignedKind
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
        kind=SignedKind.SECOND_MISSING,
        camera_id=camera_id,
        detail=f"{hole.length.total_seconds():.3f} s wanted, and neither recorded nor in a gap",
        started_at=hole.started_at,
        ended_at=hole.ended_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be proven. ``heads`` are hashes noted elsewhere; ``to`` None: as far as is sealed."""

    keys: Mapping[str, PublicKey]
    from_: datetime = BEGINNING
    to: datetime | None = None
    heads: Collection[bytes] = ()
    digests: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
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
