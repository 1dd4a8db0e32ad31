"""The check of an export's file: the pictures and the sound around its joints are decoded.

A recording may have damage of its own, of packets that were lost: only what its sources can be decoded
without is a broken joint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from streamwarden.ffmpeg.jobs import ConcatEntry, JobEnd, JobOutcome, decode_argv
from streamwarden.recordings.export_pieces import SEAM, ExportPiece

MOST_JOINTS: Final = 24
"""So many are decoded: those between runs and at gaps and changes first, then some of the others."""

_AROUND_MS: Final = 1_000
"""So much is decoded before a joint, from the key frame before it on, and so much after it."""

_AFTER_DECODING: Final = (0, 69)
"""FFmpeg's exit codes after decoding; 69: most of the frames had errors (``-max_error_rate``)."""


class NotDecoded(Exception):
    """FFmpeg could not look at a file, so nothing is known of it."""


Run = Callable[[Sequence[str]], JobEnd]
"""Runs FFmpeg with these arguments and waits for its end."""


@dataclass(frozen=True, slots=True)
class Joint:
    """The beginning of a piece in an export's file; ``before`` is None for the first piece."""

    at: datetime
    position_ms: int
    before: ConcatEntry | None
    after: ConcatEntry
    notable: bool


def joints_of(pieces: Sequence[ExportPiece]) -> list[Joint]:
    """Return the beginning of the file, and the joints between its pieces."""
    first = pieces[0]
    found = [Joint(first.at, 0, None, first.entry, notable=True)]
    position_ms = 0
    for before, after in pairwise(pieces):
        position_ms += before.entry.media_ms
        notable = (
            before.segment.run != after.segment.run
            or before.span.sound != after.span.sound
            or before.segment.salvaged
            or after.segment.started_at - before.segment.ended_at > SEAM
        )
        found.append(Joint(after.at, position_ms, before.entry, after.entry, notable=notable))
    return found


def chosen(joints: Sequence[Joint], most: int = MOST_JOINTS) -> list[Joint]:
    """Return the joints to decode, in time order: the notable ones, then others evenly."""
    notable = _spread([one for one in joints if one.notable], most)
    others = _spread([one for one in joints if not one.notable], most - len(notable))
    return sorted([*notable, *others], key=lambda one: one.position_ms)


def _spread(joints: Sequence[Joint], most: int) -> list[Joint]:
    if len(joints) <= most:
        return list(joints)
    return [joints[number * len(joints) // most] for number in range(most)]


def first_broken(run: Run, ffmpeg: str, file: Path, joints: Sequence[Joint]) -> Joint | None:
    """Return the first joint at which ``file`` cannot be decoded but its sources can; None for none.

    Raises:
        NotDecoded: FFmpeg did not come to decode.
    """
    for joint in joints:
        from_ms = max(0, joint.position_ms - _AROUND_MS)
        length_ms = joint.position_ms + _AROUND_MS - from_ms
        if _decodes(run, decode_argv(ffmpeg, file, from_ms=from_ms, length_ms=length_ms)):
            continue
        if all(_decodes(run, argv) for argv in _of_sources(ffmpeg, joint)):
            return joint
    return None


def _of_sources(ffmpeg: str, joint: Joint) -> Iterator[Sequence[str]]:
    if joint.before is not None:
        from_ms = max(joint.before.from_ms, joint.before.to_ms - _AROUND_MS)
        yield decode_argv(ffmpeg, joint.before.path, from_ms=from_ms, length_ms=_AROUND_MS)
    after = joint.after
    yield decode_argv(ffmpeg, after.path, from_ms=after.from_ms, length_ms=_AROUND_MS)


def _decodes(run: Run, argv: Sequence[str]) -> bool:
    end = run(argv)
    if end.outcome is not JobOutcome.ENDED or end.exit_code not in _AFTER_DECODING:
        raise NotDecoded(f"FFmpeg has not decoded it: {end.outcome}, {end.exit_code}, {end.stderr}")
    return end.exit_code == 0 and not end.stderr
