"""Sound whose times are not those of the picture beside it, and the changes that put it there.

Sound and picture of one camera are dated by different clocks, which drift apart: by seconds in a day, by
seconds in a minute where a clock is bad, and in steps where a media server corrects the drift from time to
time. The muxer believes these times. Where the sound's are earlier than those of the picture that came with
it, the first picture of a file stands still until its sound is over.

What came together belongs together, and a file shows it: it begins with what came after the cut and ends
with what came before the next one. Sound that ends early although it comes up to the end of the file is
behind its picture, by as much as one picture stands still too long: the first one, or the one at which the
media server's reports came. Sound that is late at both ends is ahead. Sound that begins late, pauses or
stops is off at one end, and right.

A track that is announced and holds no sound leaves the header: players wait for it, and stand still.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median_low
from typing import Final

from streamwarden.mp4.boxes import (
    Box,
    BoxReader,
    MediaTrack,
    NotFragmentedMp4,
    TrackSamples,
    all_inside,
    id_of,
    refuse_truncated,
    sound_track,
    track_samples,
)
from streamwarden.mp4.structure import FileStructure

TOLERANCE_S: Final = 0.15
"""Sound that is off by less stays: an AAC frame at 8 kHz is 0.128 s, and lips are in time up to 0.2 s."""


_LAST_FRAGMENTS: Final = 3
"""Sound in the last of so many fragments comes up to the end: the last ones are written at the close."""


_TRUN_DATA_OFFSET: Final = 0x1


_TRUN_FIRST_FLAGS: Final = 0x4


_TRUN_DURATION: Final = 0x100


_TRUN_SHOWN_LATER: Final = 0x800


_TRUN_PER_SAMPLE: Final = (0x100, 0x200, 0x400, 0x800)


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes to write at an offset of a file."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Span:
    """One track's part of a fragment: its begin (``tfdt``), its samples' durations, where both stand."""

    begins: int
    begins_at: int
    begins_bytes: int
    durations: tuple[int, ...]
    duration_places: tuple[int, ...]
    """Empty where the samples have no duration of their own."""
    shown_later: tuple[int, ...]
    """How long after its decode time each sample is shown; empty where all are at once."""

    @property
    def ends(self) -> int:
        return self.begins + sum(self.durations)

    def moved(self, ticks: int) -> Change:
        """Return what makes it earlier by ``ticks``."""
        begins = max(0, self.begins - ticks)
        return Change(self.begins_at, begins.to_bytes(self.begins_bytes, "big"))


@refuse_truncated
def sound_changes(file: BoxReader, found: FileStructure) -> list[Change]:
    """Return what puts the sound of a file beside its picture, or takes out a track without sound.

    Nothing where it is beside it, or no sound is announced.

    Raises:
        NotFragmentedMp4: its structure is damaged.
    """
    sound, picture = sound_track(found.moov), found.track
    if sound is None or not found.pictures:
        return []
    sounds, pictures = found.trafs(sound.id), found.pictures
    if not sounds:
        return [_without(found, sound)]
    heard, heard_last = (track_samples(sounds[at][1], sound) for at in (0, -1))
    shown, shown_last = pictures[0][1], pictures[-1][1]
    ends_s = _ends(heard_last) / sound.timescale - _ends(shown_last) / picture.timescale
    if ends_s > TOLERANCE_S:
        begins_s = _begins(heard) / sound.timescale - _begins(shown) / picture.timescale
        if begins_s > TOLERANCE_S:
            at = [moof.start for moof, _ in sounds]
            return _earlier(file, at, sound, round(min(begins_s, ends_s) * sound.timescale))
    elif ends_s < -TOLERANCE_S and sounds[-1][0].start >= pictures[-_LAST_FRAGMENTS:][0][0].start:
        at = [moof.start for moof, _ in pictures]
        return _shorter(file, at, picture, round(-ends_s * picture.timescale))
    return []


def _begins(samples: TrackSamples) -> int:
    if samples.begins is None:
        raise NotFragmentedMp4("a fragment without a time")
    return samples.begins


def _ends(samples: TrackSamples) -> int:
    return _begins(samples) + sum(samples.durations)


def _without(found: FileStructure, track: MediaTrack) -> Change:
    """Return a header without a track, and with free space in its place behind it."""
    moov = found.header
    kept = b"".join(
        _box(kind, _mvex_without(data, track) if kind == b"mvex" else data)
        for kind, data in all_inside(found.moov)
        if kind != b"trak" or id_of(data) != track.id
    )
    header = _box(b"moov", kept)
    return Change(
        moov.start, header + _box(b"free", bytes(moov.end - moov.start - len(header) - 8))
    )


def _mvex_without(mvex: bytes, track: MediaTrack) -> bytes:
    return b"".join(
        _box(kind, data)
        for kind, data in all_inside(mvex)
        if kind != b"trex" or struct.unpack_from(">I", data, 4)[0] != track.id
    )


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def _earlier(
    file: BoxReader, positions: Sequence[int], track: MediaTrack, ticks: int
) -> list[Change]:
    """Return what makes a whole track earlier."""
    return [_span(file, position, track).moved(ticks) for position in reversed(positions)]


def _shorter(
    file: BoxReader, positions: Sequence[int], track: MediaTrack, ticks: int
) -> list[Change]:
    """Return what lets the picture that stands longest go by up to ``ticks`` earlier, and all after it."""
    spans = [_span(file, position, track) for position in positions]
    samples = [
        (duration, number, i)
        for number, span in enumerate(spans)
        for i, duration in enumerate(span.durations)
    ]
    longest, number, i = max(samples)
    places, shown_later = spans[number].duration_places, spans[number].shown_later
    moved = min(ticks, longest - median_low(duration for duration, _, _ in samples))
    if moved < TOLERANCE_S * track.timescale or i >= len(places):
        return []
    if shown_later and shown_later[i] > moved // 2:
        return []  # only its decode time is early: it is shown when the next ones are
    later = [span.moved(moved) for span in spans[number + 1 :]]
    return [*later, Change(places[i], struct.pack(">I", longest - moved))]


def _inner(file: BoxReader, outer: Box) -> Iterator[Box]:
    position = outer.payload
    while position < outer.end:
        box = file.box(position)
        if box is None or box.end > outer.end:
            raise NotFragmentedMp4("a box that is longer than the one around it")
        yield box
        position = box.end


def _span(file: BoxReader, position: int, track: MediaTrack) -> _Span:
    """Return a track's part of the fragment at ``position``."""
    moof = file.box(position)
    if moof is None or moof.kind != b"moof":
        raise NotFragmentedMp4(f"no fragment at {position}")
    for traf in (box for box in _inner(file, moof) if box.kind == b"traf"):
        inner = list(_inner(file, traf))
        tfhd = next((box for box in inner if box.kind == b"tfhd"), None)
        if tfhd is not None and struct.unpack_from(">I", file.payload(tfhd), 4)[0] == track.id:
            return _parsed(file, inner, tfhd, track)
    raise NotFragmentedMp4(f"no part of the track at {position}")


def _parsed(file: BoxReader, inner: Sequence[Box], tfhd: Box, track: MediaTrack) -> _Span:
    tfdt = next((box for box in inner if box.kind == b"tfdt"), None)
    if tfdt is None:
        raise NotFragmentedMp4("a fragment without a time")
    wide = file.payload(tfdt)[:1] == b"\x01"
    (begins,) = struct.unpack_from(">Q" if wide else ">I", file.payload(tfdt), 4)
    default_at, default = _default_duration(file.payload(tfhd), track)
    truns = [(box, file.payload(box)) for box in inner if box.kind == b"trun"]
    durations = tuple(chain.from_iterable(_durations(data, default) for _, data in truns))
    places = tuple(chain.from_iterable(_places(box, data) for box, data in truns))
    if not places and len(durations) == 1 and default_at is not None:
        places = (tfhd.payload + default_at,)
    later = tuple(chain.from_iterable(_shown_later(data) for _, data in truns))
    return _Span(begins, tfdt.payload + 4, 8 if wide else 4, durations, places, later)


def _places(box: Box, trun: bytes) -> Sequence[int]:
    """Return where the duration of each sample of a ``trun`` stands in the file."""
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return ()
    begin, step = box.payload + _samples_at(trun), 4 * _fields(flags)
    return range(begin, begin + samples * step, step)


def _shown_later(trun: bytes) -> Sequence[int]:
    """Return the composition time offset of each sample of a ``trun``."""
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_SHOWN_LATER:
        return ()
    words = struct.unpack_from(f">{samples * _fields(flags)}i", trun, _samples_at(trun))
    return words[_fields(flags) - 1 :: _fields(flags)]


def _fields(flags: int) -> int:
    return sum(bool(flags & flag) for flag in _TRUN_PER_SAMPLE)


def _default_duration(tfhd: bytes, track: MediaTrack) -> tuple[int | None, int]:
    """Return where in a ``tfhd`` the default duration stands, None where it has none, and the duration."""
    (flags,) = struct.unpack_from(">I", tfhd)
    if not flags & 0x8:
        return None, track.default_duration
    offset = 8 + (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    return offset, int(struct.unpack_from(">I", tfhd, offset)[0])


def _samples_at(trun: bytes) -> int:
    (flags,) = struct.unpack_from(">I", trun)
    return 8 + 4 * bool(flags & _TRUN_DATA_OFFSET) + 4 * bool(flags & _TRUN_FIRST_FLAGS)


def _durations(trun: bytes, default: int) -> Sequence[int]:
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & _TRUN_DURATION:
        return [default] * min(samples, len(trun))
    words = struct.unpack_from(f">{samples * _fields(flags)}I", trun, _samples_at(trun))
    return words[:: _fields(flags)]
