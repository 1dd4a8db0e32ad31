"""Each camera's share of the disk: whose recordings go first where space is needed.

All cameras with recordings have the same share of what all of them take. What one camera has beyond it
goes before anything of the others, so a camera that floods the disk deletes its own oldest recordings. A
camera below its share loses nothing to the others, and what it leaves is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

TOLERANCE: Final = 0.05
"""Cameras within so much of their share are alike; the oldest recordings of all of them go first."""

_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Beyond(Generic[_K]):
    """A camera that takes more than its share, and by how much."""

    camera: _K
    excess: int


def most_beyond(taken: Mapping[_K, int]) -> Beyond[_K] | None:
    """Return the camera that is furthest beyond its share; None where none is by much.

    ``taken`` holds what each camera takes: bytes, or files where inodes are needed.
    """
    if not taken:
        return None
    share = sum(taken.values()) / len(taken)
    camera = max(taken, key=lambda each: taken[each])
    if taken[camera] <= share * (1 + TOLERANCE):
        return None
    return Beyond(camera, max(1, int(taken[camera] - share)))
