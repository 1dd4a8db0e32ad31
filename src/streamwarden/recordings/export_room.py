"""The disk space of exports: a share of the free-space reserve, and whatever is free beyond it.

Retention keeps a disk at its reserve, so exports that left the whole reserve alone would be refused for
ever. Up to ``RESERVE_SHARE`` of it they cost no recording, because retention counts their files as free
space; beyond that they give way to recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RESERVE_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRoom:
    """The free space of the disk, its reserve, and what the files of exports take of it."""

    free_bytes: int
    reserve_bytes: int
    held_bytes: int

    @property
    def allowance_bytes(self) -> int:
        """The share of the reserve that exports may take."""
        return int(self.reserve_bytes * RESERVE_SHARE)

    @property
    def total_bytes(self) -> int:
        """What all exports together may take."""
        kept = self.reserve_bytes - self.allowance_bytes
        return max(0, self.free_bytes + self.held_bytes - kept)

    def share_bytes(self, others_bytes: int) -> int:
        """Return what one user's exports may take beside those of others: half of what these leave.

        So there is room for the next user, whatever all before have taken.
        """
        return max(0, self.total_bytes - others_bytes) // 2

    @property
    def spared_bytes(self) -> int:
        """What retention counts as free, although exports hold it."""
        return min(self.held_bytes, self.allowance_bytes)

    @property
    def beyond_bytes(self) -> int:
        """What gives way as soon as the reserve needs it."""
        return self.held_bytes - self.spared_bytes
