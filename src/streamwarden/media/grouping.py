"""Fragments of an open file, put together to what a player can begin with: from key frame to key frame.

Pure. A part ends where the next key frame begins. That is known only once the next fragment is whole,
a second later; so a part that has reached the last distance between key frames ends at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from streamwarden.media.fmp4 import Fragment

MIN_PART_MS: Final = 900
"""Shorter ones would cost a request each and save no delay: FFmpeg flushes once a second."""
_EARLY_MS: Final = 15
"""Less than a frame: rounding, and nothing that could be one frame more."""


@dataclass(frozen=True, slots=True)
class Group:
    """Bytes from ``start`` to ``end`` that play for ``media_ms``, from a key frame on.

    A group that was ended early, though the camera's next key frame came later than the ones before,
    is followed by one that begins without.
    """

    start: int
    end: int
    media_ms: int


class Grouping:
    """Groups one file's fragments in their order. ``gop_ms`` is what is known of the camera so far."""

    def __init__(self, gop_ms: int = 0) -> None:
        self.gop_ms = gop_ms
        self._open: Group | None = None
        self._since_key_ms = 0
        self._keys = 0

    def feed(self, fragments: Iterable[Fragment]) -> Iterator[Group]:
        """Yield the groups that these fragments complete."""
        for fragment in fragments:
            yield from self._take(fragment)

    def finish(self) -> Iterator[Group]:
        """Yield what is left of a file that grows no more; sound without a picture is left out."""
        if self._open is not None and self._open.media_ms > 0:
            yield self._open
        self._open = None

    def _take(self, fragment: Fragment) -> Iterator[Group]:
        if fragment.key:
            self._learn()
            if self._open is not None and self._open.media_ms >= MIN_PART_MS:
                yield self._open
                self._open = None
        begun = self._open or Group(fragment.start, fragment.start, 0)
        self._open = Group(begun.start, fragment.end, begun.media_ms + fragment.media_ms)
        self._since_key_ms += fragment.media_ms
        if self._is_full(self._open):
            yield self._open
            self._open = None

    def _learn(self) -> None:
        if self._keys > 0:
            self.gop_ms = self._since_key_ms
        self._keys += 1
        self._since_key_ms = 0

    def _is_full(self, group: Group) -> bool:
        enough = max(MIN_PART_MS, self.gop_ms - _EARLY_MS)
        at_a_key = self._since_key_ms >= self.gop_ms - _EARLY_MS
        return self.gop_ms > 0 and at_a_key and group.media_ms >= enough
