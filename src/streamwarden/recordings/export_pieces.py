"""The pieces of files that make up an export, and where their format changes.

FFmpeg joins files under the header of the first one, so files with another header would be garbage behind
it: the pieces are compared first, and cut into groups of one format.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from streamwarden.ffmpeg.jobs import ConcatEntry, concat_entry
from streamwarden.model import Segment
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.formats import FormatSpan, formats_in, read_moov
from streamwarden.mp4.silence import can_be_silent
from streamwarden.paths import open_nofollow

SEAM: Final = timedelta(seconds=1)
"""Segments that are closer than this follow one another without a gap."""

_MILLISECOND: Final = timedelta(milliseconds=1)

_SLACK_MS: Final = 200
"""The end of a range is widened by less than this, and must not reach into another format."""

_SOUND_NAMES: Final = {"mp4a": "aac", "Opus": "opus"}

Sound = tuple[str, int, int, bytes] | None
"""The format of sound (``FileFormat.sound``), None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """The tracks of a recording in words; ``size`` is None where its header does not tell it."""

    codec: str
    size: tuple[int, int] | None
    sound_codec: str | None
    sound_rate: int | None
    sound_channels: int | None


@dataclass(frozen=True, slots=True)
class FormatChange:
    """A moment at which the tracks change; ``cut``: no one file can hold both."""

    at: datetime
    before: Tracks
    after: Tracks
    cut: bool


@dataclass(frozen=True, slots=True)
class ExportPiece:
    """A range of a segment's file, all of one format; ``at`` is when it begins."""

    entry: ConcatEntry
    segment: Segment
    span: FormatSpan
    at: datetime


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The pieces of an export in time order, and the changes between them."""

    pieces: Sequence[ExportPiece]
    changes: Sequence[FormatChange]


def plan_export(
    segments: Sequence[Segment],
    from_: datetime,
    to: datetime,
    record_root: Path,
    *,
    wanted: Callable[[], bool] = lambda: True,
) -> ExportPlan:
    """Read the files of the segments, while they are ``wanted``; those that are gone are left out.

    Pieces without sound go with any others: a pause is filled with silence, in a format in which that can
    be made.
    """
    pieces: list[ExportPiece] = []
    changes: list[FormatChange] = []
    sound: Sound = None
    for piece in _pieces(segments, from_, to, record_root):
        if not wanted():
            break  # cancelled meanwhile: its place is wanted
        if pieces:
            before, span = pieces[-1].span, piece.span
            cut = not _joins(before, sound, span)
            if cut or span.sound != before.sound:
                changes.append(FormatChange(piece.at, tracks_of(before), tracks_of(span), cut))
            if cut:
                sound = None
        sound = piece.span.sound or sound
        pieces.append(piece)
    return ExportPlan(pieces, changes)


def _pieces(
    segments: Sequence[Segment], from_: datetime, to: datetime, record_root: Path
) -> Iterator[ExportPiece]:
    root = record_root.resolve()
    for segment in segments:
        path = (record_root / segment.path).resolve()
        if not path.is_relative_to(root):
            continue
        later = (one.started_at for one in segments if one.started_at > segment.started_at)
        ends_at = min(next(later, to), to)
        if ends_at <= from_:
            continue  # the next run, which overlaps this one, begins where the range does
        from_ms = max(0, (from_ - segment.started_at) // _MILLISECOND)
        # A segment that ends where the next one starts is taken whole, by the length of its media.
        cut = ends_at < segment.ended_at - SEAM or ends_at == to < segment.ended_at
        to_ms = (ends_at - segment.started_at) // _MILLISECOND if cut else segment.media_ms
        if (entry := concat_entry(path, from_ms=from_ms, to_ms=to_ms)) is not None:
            for one, span in _of_one_format(entry):
                at = segment.started_at + timedelta(milliseconds=one.from_ms)
                yield ExportPiece(one, segment, span, at)


def _of_one_format(entry: ConcatEntry) -> Iterator[tuple[ConcatEntry, FormatSpan]]:
    """Yield the parts of an entry with the same parameter sets each; nothing of a file that is gone."""
    try:
        spans = _spans_of(entry.path)
    except (OSError, NotFragmentedMp4):
        return
    for number, span in enumerate(spans):
        following = spans[number + 1] if number + 1 < len(spans) else None
        from_ms = max(span.from_ms, entry.from_ms)
        to_ms = entry.to_ms if following is None else min(following.from_ms, entry.to_ms)
        if from_ms >= to_ms:
            continue
        part = replace(entry, from_ms=from_ms, to_ms=to_ms, sound=span.sound is not None)
        if following is not None and following.from_ms <= entry.to_ms + _SLACK_MS:
            part = replace(part, before_ms=following.decode_ms)
        yield part, span


def _spans_of(path: Path) -> Sequence[FormatSpan]:
    """Return a file's formats; one that is not understood joins only files with the same header."""
    try:
        return formats_in(path)
    except NotFragmentedMp4:
        fd = open_nofollow(path)
        try:
            header = read_moov(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)
        return [FormatSpan(0, 0, "unknown", (0, 0), frozenset({header}), None, fits=False)]


def _joins(before: FormatSpan, sound: Sound, span: FormatSpan) -> bool:
    """Whether ``span`` can follow ``before`` under one header; ``sound`` is what was heard last."""
    if not span.same_picture_as(before):
        return False
    if span.sound is None or sound is None:
        return True
    return span.sound == sound and (before.sound is not None or can_be_silent(sound))


def tracks_of(span: FormatSpan) -> Tracks:
    """Return the tracks of a span."""
    codec, channels, rate, config = span.sound or (None, None, None, b"")
    if codec == "mp4a" and len(config) > 1:
        channels = config[1] >> 3 & 0xF  # AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)
    return Tracks(
        codec=span.codec,
        size=span.header_size if span.fits else None,
        sound_codec=None if codec is None else _SOUND_NAMES.get(codec, codec),
        sound_rate=rate,
        sound_channels=channels,
    )
