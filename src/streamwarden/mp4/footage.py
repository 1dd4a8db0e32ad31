"""The pictures of a file in time: when each is shown, and where they are missing.

Two sources of time are in a file: the decode times of the pictures, by the camera, and the length of time
that the file took to be written, by the server. Pictures that are missing show as a picture that stays far
longer than the camera's usual distance, if the camera's clock went on meanwhile. Time stamps that jump,
stand still or run too fast or too slow show the opposite: nothing is missing, and the stamps are wrong. So
the decode times are believed as far as the server's time has room for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from operator import sub
from statistics import median
from typing import Final

from streamwarden.mp4.boxes import MediaTrack, TrackSamples

HOLE_MS: Final = 500
"""A picture that stays no longer than this is not a hole, whatever the usual distance."""

USUAL_TIMES: Final = 2.5
"""A picture that stays longer than so many usual distances is a hole: one picture may be lost, not two."""

SLACK_MS: Final = 1_000
"""Media and wall clock may differ by this much: pictures are delayed on their way."""

FIRST_SLACK_MS: Final = 250
"""A run's first file is no older than the run: its media are hardly longer than that."""

MAX_HOLES: Final = 50
"""More holes of one file are joined: each is a row in the ledger."""

_STANDING_MS: Final = 2.5
"""No camera sends 400 pictures a second: such time stamps stand still."""

_SQUEEZED: Final = 0.25
"""Pictures that are closer together than this part of the usual distance have squeezed time stamps."""

_ENOUGH: Final = 8
"""So many pictures tell the usual distance by themselves; fewer are judged with those before them."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file in ms from its first picture, the end excluded."""

    from_ms: int
    to_ms: int

    @property
    def length_ms(self) -> int:
        """The time from start to end."""
        return self.to_ms - self.from_ms


@dataclass(frozen=True)
class Footage:
    """When each picture of a file is shown, by its decode time in ms; the last entry is the end."""

    times_ms: tuple[int, ...] = ()

    @property
    def pictures(self) -> int:
        """The number of pictures."""
        return max(0, len(self.times_ms) - 1)

    @property
    def media_ms(self) -> int:
        """The time from the first picture to the end."""
        return self.times_ms[-1] - self.times_ms[0] if self.times_ms else 0

    @cached_property
    def distances_ms(self) -> tuple[int, ...]:
        """How long each picture is shown."""
        return tuple(map(sub, self.times_ms[1:], self.times_ms))


def footage_of(fragments: Iterable[TrackSamples], track: MediaTrack) -> Footage:
    """Return the footage of a file by the pictures of its fragments."""
    times: list[int] = []
    end = 0
    for samples in fragments:
        if not samples.durations:
            continue
        begins = end if samples.begins is None else samples.begins
        times.extend(accumulate(samples.durations, initial=begins))
        end = times.pop()
    if not times:
        return Footage()
    scale = 1000 / track.timescale
    return Footage(tuple([round(ticks * scale) for ticks in (*times, end)]))


class UsualDistance:
    """A camera's usual distance of pictures in ms, remembered over its files."""

    def __init__(self) -> None:
        self._last: list[int] = []

    def of(self, footage: Footage, wall_ms: int = 0) -> float:
        """Return the usual distance for the judgement of ``footage``; 0 where nothing tells.

        How long the last picture of a file is shown is the muxer's guess. A file of a single picture, from
        a camera that sends few, tells by the ``wall_ms`` that it was open; so does one of a few whose
        stamps stand still, as before the camera's first report of its clock.
        """
        distances = footage.distances_ms[:-1]
        if len(distances) < _ENOUGH:
            distances = tuple(one for one in distances if one >= _STANDING_MS)
            if footage.pictures > 0 and not distances and wall_ms > 0:
                distances = (wall_ms,)
        if len(distances) >= _ENOUGH:
            usual = median(distances)
            if self._last and _squeezed(usual, median(self._last)):
                fill_ms = usual * footage.pictures
                if fill_ms + SLACK_MS < wall_ms and fill_ms < wall_ms * _SQUEEZED:
                    # Not the camera's new rate: at that one the pictures would not last.
                    return float(median(self._last))
            self._last = [round(usual)] * _ENOUGH
            return float(usual)
        known = [*self._last, *distances]
        self._last = known[-_ENOUGH:]
        return float(median(known)) if known else 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a file's decode times say. ``media_ms`` is their length without lead and jumps.

    ``holes`` are the parts without pictures, by media time. ``standing``: the stamps stand still, so the
    length says nothing.
    """

    media_ms: int
    holes: tuple[Span, ...] = ()
    standing: bool = False


def judge(
    footage: Footage, *, usual_ms: float, wall_ms: int, lead_ms: int, slack_ms: int = SLACK_MS
) -> Judgement:
    """Judge a file that has room for ``wall_ms`` of footage.

    ``lead_ms`` is what its first picture is shown before it was taken, where that is known. A picture that
    stays too long is a hole if the wall clock has room for it, or is short of it by ``slack_ms`` at most.
    """
    distances: Sequence[int] = footage.distances_ms
    if len(distances) >= _ENOUGH and usual_ms < _STANDING_MS:
        return Judgement(footage.media_ms, standing=True)
    limit = max(HOLE_MS, USUAL_TIMES * usual_ms)
    usual = round(usual_ms)
    refused = {0: lead_ms} if lead_ms else {}
    length = footage.media_ms - lead_ms
    long = []
    if max(distances, default=0) > limit:
        long = [i for i, each in enumerate(distances) if each > limit and i not in refused]
    jumps = _jumps(distances, long, usual, length - wall_ms - slack_ms)
    refused |= jumps
    length -= sum(jumps.values())
    distances = _stretched(distances, usual, wall_ms - length)
    length += sum(distances) - footage.media_ms
    if distances and distances[-1] < usual:
        # The muxer guessed how long the last picture is shown: it is there until the next one comes.
        length += min(usual - distances[-1], max(0, wall_ms - length))
    kept = {i for i in long if i not in refused}
    if not kept:
        return Judgement(length)
    holes = []
    position = 0
    for i, distance in enumerate(distances):
        after = position + distance - refused.get(i, 0)
        if i in kept:
            holes.append(Span(position + usual, after))
        position = after
    return Judgement(length, _scaled(_few(holes), length, wall_ms))


def _squeezed(distance_ms: float, usual_ms: float) -> bool:
    return distance_ms < _SQUEEZED * usual_ms


def _stretched(distances: Sequence[int], usual: int, room_ms: int) -> Sequence[int]:
    """Return the distances, those of squeezed time stamps put right where there is ``room_ms`` for it.

    After a jump of a camera's clock FFmpeg may squeeze seconds of pictures into a tenth of a second. All of
    them are there, and they were taken at the usual distance. A few that come close together are how some
    cameras send; many in a row are not.
    """
    if room_ms <= SLACK_MS:
        return distances
    within = [
        i
        for squeezed, group in groupby(
            range(len(distances)), lambda i: _squeezed(distances[i], usual)
        )
        if squeezed and len(several := list(group)) >= _ENOUGH
        for i in several
    ]
    if not within:
        return distances
    each = min(usual, (room_ms + sum(distances[i] for i in within)) // len(within))
    right = list(distances)
    for i in within:
        right[i] = max(right[i], each)
    return right


def _jumps(
    distances: Sequence[int], long: Sequence[int], usual: int, over_ms: int
) -> dict[int, int]:
    """Return the longest of the distances, by index, that must be jumps of the time stamps.

    Without them the media are no longer ``over_ms`` too long. None where even all of them do not explain
    that: then the stamps run too fast.
    """
    jumps: dict[int, int] = {}
    for i in sorted(long, key=lambda one: -distances[one]):
        if over_ms <= 0:
            break
        jumps[i] = distances[i] - usual
        over_ms -= jumps[i]
    return jumps if over_ms <= 0 else {}


def _few(holes: Sequence[Span]) -> list[Span]:
    """Return the holes, those with the fewest pictures between them joined where they are too many."""
    if len(holes) <= MAX_HOLES:
        return list(holes)
    between = [after.from_ms - before.to_ms for before, after in pairwise(holes)]
    apart = sorted(range(len(between)), key=lambda i: -between[i])[: MAX_HOLES - 1]
    begins = [0, *(i + 1 for i in sorted(apart)), len(holes)]
    return [Span(holes[a].from_ms, holes[b - 1].to_ms) for a, b in pairwise(begins)]


def _scaled(holes: Sequence[Span], media_ms: int, wall_ms: int) -> tuple[Span, ...]:
    """Return holes by the wall clock where stamps that run too fast leave no room for them."""
    if media_ms <= wall_ms + SLACK_MS:
        return tuple(holes)
    scale = wall_ms / media_ms
    return tuple(Span(round(one.from_ms * scale), round(one.to_ms * scale)) for one in holes)
