"""The structure of a file: its header, its fragments track by track, and its trailer, read in one walk.

Everything that is asked of a finished file is answered from it: its length and pictures (``fragments``),
whether its sound is beside its picture (``sound_offset``), its parameter sets at the end (``formats``).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from streamwarden.mp4.boxes import (
    Box,
    BoxReader,
    MediaTrack,
    NotFragmentedMp4,
    TrackSamples,
    Trailer,
    inside,
    track_of,
    track_samples,
    trailer_of,
    video_track,
)


class MovieFragment(NamedTuple):
    """A complete fragment of a file: its ``moof``, and the payload of each ``traf`` with its track's id."""

    moof: Box
    trafs: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class FileStructure:
    """What a walk over a file has found; all lists in the order of the file.

    ``whole_bytes`` is the offset of the end of the last complete fragment. ``complete``: the muxer's
    trailer is the last box; ``trailer`` is None where it is missing or its index is damaged.
    """

    header: Box
    moov: bytes
    fragments: tuple[MovieFragment, ...]
    whole_bytes: int
    complete: bool
    trailer: Trailer | None

    @property
    def track(self) -> MediaTrack:
        """The track of the pictures."""
        return video_track(self.moov)

    @cached_property
    def pictures(self) -> list[tuple[Box, TrackSamples]]:
        """The fragments with pictures, each with its ``moof``; raises NotFragmentedMp4."""
        track = self.track
        return [(moof, track_samples(traf, track)) for moof, traf in self.trafs(track.id)]

    def trafs(self, track_id: int) -> list[tuple[Box, bytes]]:
        """Return the payloads of a track's ``traf`` boxes, each with its ``moof``."""
        return [
            (fragment.moof, traf)
            for fragment in self.fragments
            for id_, traf in fragment.trafs
            if id_ == track_id
        ]


def read_header(file: BoxReader, size: int) -> tuple[Box, bytes]:
    """Return a file's ``moov`` and its payload; raise NotFragmentedMp4 without one."""
    for box in file.boxes(size):
        if box.kind == b"moov":
            return box, file.payload(box)
    raise NotFragmentedMp4("no movie header")


def read_structure(file: BoxReader, size: int) -> FileStructure:
    """Walk over the first ``size`` bytes of a file.

    Raises:
        NotFragmentedMp4: it has no complete ``moov`` with a video track, or its structure is damaged.
    """
    header: Box | None = None
    moov, last = b"", b""
    whole = end = 0
    fragments: list[MovieFragment] = []
    pending: MovieFragment | None = None
    trailer: Trailer | None = None
    for box in file.boxes(size):
        last = kind = box.kind
        end = box.end
        if kind == b"moof" and header is not None:
            trafs = tuple((track_of(traf), traf) for traf in inside(file.payload(box), b"traf"))
            pending = MovieFragment(box, trafs)
        elif kind == b"mdat" and header is not None:
            whole = end
            if pending is not None:
                fragments.append(pending)
                pending = None
        elif kind == b"moov":
            header, moov, whole = box, file.payload(box), end
            video_track(moov)
        elif kind == b"mfra" and end == size:
            with suppress(NotFragmentedMp4):
                trailer = trailer_of(box, file.payload(box))
    if header is None:
        raise NotFragmentedMp4("no movie header with a video track")
    complete = last == b"mfra" and end == size
    return FileStructure(header, moov, tuple(fragments), whole, complete, trailer)
