"""Whether segments and gaps cover what was wanted: pure interval arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

TOLERANCE: Final = timedelta(milliseconds=500)
"""Two pieces meet if they are this close: the API's clock opens a period, the recorder's a gap."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time, its end excluded."""

    started_at: datetime
    ended_at: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.ended_at - self.started_at


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the union of ``spans`` as disjoint spans in time order; empty ones cover nothing."""
    union: list[Span] = []
    for span in sorted(span for span in spans if span.started_at < span.ended_at):
        if union and span.started_at <= union[-1].ended_at:
            if span.ended_at > union[-1].ended_at:
                union[-1] = Span(union[-1].started_at, span.ended_at)
        else:
            union.append(span)
    return union


def holes(wanted: Sequence[Span], covered: Iterable[Span]) -> Iterator[Span]:
    """Yield what of ``wanted`` no span of ``covered`` reaches, where it is above the tolerance."""
    union = merged(covered)
    for want in merged(wanted):
        position = want.started_at
        for span in union:
            if span.ended_at <= position:
                continue
            if span.started_at >= want.ended_at:
                break
            if span.started_at - position > TOLERANCE:
                yield Span(position, span.started_at)
            position = max(position, span.ended_at)
        if want.ended_at - position > TOLERANCE:
            yield Span(position, want.ended_at)


def overlaps(left: Iterable[Span], right: Iterable[Span]) -> Iterator[Span]:
    """Yield where a span of ``left`` and one of ``right`` say different things of the same time."""
    rights = merged(right)
    for one in merged(left):
        for other in rights:
            if other.started_at >= one.ended_at:
                break
            both = Span(max(one.started_at, other.started_at), min(one.ended_at, other.ended_at))
            if both.length > TOLERANCE:
                yield both
