"""Sets of time ranges: their union, what they leave out, what they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from operator import attrgetter
from typing import Final

from streamwarden.model import TimeRange

TOLERANCE: Final = timedelta(milliseconds=500)
"""Two ranges meet if they are this close: the API's clock opens a period, the recorder's a gap."""


def merged(ranges: Iterable[TimeRange]) -> list[TimeRange]:
    """Return the union of ``ranges`` as disjoint ranges in time order, without empty ones."""
    union: list[TimeRange] = []
    filled = (each for each in ranges if each.from_ < each.to)
    for each in sorted(filled, key=attrgetter("from_", "to")):
        if union and each.from_ <= union[-1].to:
            if each.to > union[-1].to:
                union[-1] = TimeRange(union[-1].from_, each.to)
        else:
            union.append(each)
    return union


def holes(
    wanted: Iterable[TimeRange],
    covered: Iterable[TimeRange],
    *,
    tolerance: timedelta = TOLERANCE,
) -> Iterator[TimeRange]:
    """Yield the parts of ``wanted`` outside ``covered`` that are longer than ``tolerance``."""
    union = merged(covered)
    for want in merged(wanted):
        position = want.from_
        for each in union:
            if each.to <= position:
                continue
            if each.from_ >= want.to:
                break
            if each.from_ - position > tolerance:
                yield TimeRange(position, each.from_)
            position = max(position, each.to)
        if want.to - position > tolerance:
            yield TimeRange(position, want.to)


def overlaps(left: Iterable[TimeRange], right: Iterable[TimeRange]) -> Iterator[TimeRange]:
    """Yield the parts that ``left`` and ``right`` share and that are longer than the tolerance."""
    rights = merged(right)
    for one in merged(left):
        for other in rights:
            if other.from_ >= one.to:
                break
            both = TimeRange(max(one.from_, other.from_), min(one.to, other.to))
            if both.length > TOLERANCE:
                yield both
