"""Whether pictures are missing, by the clocks in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise

FRAME_S = 1 / 15
"""What lies between two pictures of a camera here."""
UNSEEN_S = 0.45
"""Two pictures further apart than this have lost others between them: a key frame comes each second."""
_BURST_S = 0.3
_NORMAL_BURST = _BURST_S / FRAME_S + 2
"""So many pictures may bear times of so short a stretch; their clocks show tenths of a second."""

Stretch = tuple[datetime, datetime]


def unseen(files: Iterable[Sequence[datetime]]) -> list[Stretch]:
    """Return the stretches of which there is no picture; ``files`` say when each of theirs was taken."""
    known = [sorted(file) for file in files]
    excused = {stretch for file in known for stretch in _stood_still(file)}
    taken = sorted(picture for file in known for picture in file)
    return [stretch for stretch in _apart(taken) if stretch not in excused]


def _stood_still(file: Sequence[datetime]) -> Iterator[Stretch]:
    """Yield where the camera itself stood still: it then draws all that it is behind at once.

    Its clock is drawn when its processor gets to it. Where a recorder has lost pictures, the next ones
    lie as far apart as ever.
    """
    for earlier, later in _apart(file):
        at_once = [one for one in file if 0 <= (one - later).total_seconds() < _BURST_S]
        if len(at_once) > _NORMAL_BURST:
            yield earlier, later


def _apart(taken: Sequence[datetime]) -> Iterator[Stretch]:
    for earlier, later in pairwise(taken):
        if (later - earlier).total_seconds() > UNSEEN_S:
            yield earlier, later
