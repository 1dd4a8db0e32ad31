"""HLS media playlists over the recorder's own files (RFC 8216). Pure: values in, text out.

Each file has its own EXT-X-MAP (its header, as a byte range) and begins with EXT-X-DISCONTINUITY. The
decode times of every file start at zero; the URIs of recordings ask for them moved on (``at``), because
FFmpeg and mpv do not follow discontinuities. URIs are relative, so that they also resolve at the BFF.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from urllib.parse import quote

from streamwarden.clock import rfc3339
from streamwarden.model import Segment

MEDIA_TYPE = "application/vnd.apple.mpegurl"
_VERSION = 7
"""EXT-X-MAP outside of I-frame playlists needs 6 (RFC 8216, 7); fragmented MP4 came with 7."""
SEAM = timedelta(milliseconds=500)
"""Tolerance between the measured times of neighbours; less than this is no overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some bytes of a file that play for ``media_ms``; ``uri`` is relative to the playlist."""

    uri: str
    init_bytes: int
    offset: int
    size_bytes: int
    media_ms: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """A playlist; ``kind`` is VOD, EVENT, or empty for a sliding window."""

    parts: Sequence[Part]
    kind: str = ""
    sequence: int = 0
    discontinuities: int = 0
    target: timedelta | None = None
    """Upper bound of the length of all parts, also of later ones; None where all parts are known."""

    def text(self, token: str | None) -> str:
        """Return the text; every URI carries ``token``."""
        return "\n".join(self._lines("" if token is None else f"?token={quote(token, safe='')}"))

    def _target_s(self) -> int:
        """Return EXT-X-TARGETDURATION in whole seconds (RFC 8216, 4.3.3.1)."""
        if self.target is not None:
            return math.ceil(self.target.total_seconds())
        return max(1, *(math.ceil(part.media_ms / 1000) for part in self.parts), 1)

    def _lines(self, query: str) -> Iterator[str]:
        yield "#EXTM3U"
        yield f"#EXT-X-VERSION:{_VERSION}"
        yield f"#EXT-X-TARGETDURATION:{self._target_s()}"
        if self.kind:
            yield f"#EXT-X-PLAYLIST-TYPE:{self.kind}"
        yield f"#EXT-X-MEDIA-SEQUENCE:{self.sequence}"
        if self.discontinuities:
            yield f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuities}"
        if self.kind:
            yield "#EXT-X-INDEPENDENT-SEGMENTS"
        before, at_ms = "", 0
        for part in self.parts:
            if part.uri != before:
                yield from _file(part, query, discontinuity=bool(before))
            before = part.uri
            yield from _part(part, _with_place(query, at_ms) if self.kind else query)
            at_ms += part.media_ms
        if self.kind == "VOD":
            yield "#EXT-X-ENDLIST"
        yield ""


def _file(part: Part, query: str, *, discontinuity: bool) -> Iterator[str]:
    if discontinuity:
        yield "#EXT-X-DISCONTINUITY"
    yield f'#EXT-X-MAP:URI="{part.uri}{query}",BYTERANGE="{part.init_bytes}@0"'


def _with_place(query: str, at_ms: int) -> str:
    return f"{query}{'&' if query else '?'}at={at_ms}" if at_ms else query


def _part(part: Part, query: str) -> Iterator[str]:
    yield f"#EXT-X-PROGRAM-DATE-TIME:{rfc3339(part.started_at)}"
    yield f"#EXTINF:{part.media_ms / 1000:.3f},"
    yield f"#EXT-X-BYTERANGE:{part.size_bytes}@{part.offset}"
    yield f"{part.uri}{query}"


def part_of(segment: Segment) -> Part:
    """Return the whole media of a segment's file as one part."""
    return Part(
        uri=f"{segment.id}.mp4",
        init_bytes=segment.init_bytes,
        offset=segment.init_bytes,
        size_bytes=segment.size_bytes - segment.init_bytes,
        media_ms=segment.media_ms,
        started_at=segment.started_at,
    )


def playable(segment: Segment) -> bool:
    """Return whether a player can play the segment: its header and media are known."""
    return 0 < segment.init_bytes < segment.size_bytes and segment.media_ms > 0


def one_line(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments without those that repeat what their neighbours play.

    Runs overlap in a make-before-break. A segment is dropped if another one, or its two neighbours
    together, cover it; of two that cover each other, the later run's stays. An overlap that is left is
    the end of a segment, which `cut` removes.
    """
    kept: list[Segment] = []
    for segment in sorted(segments, key=lambda one: (one.started_at, one.run, one.id)):
        while kept and _covers(segment, kept[-1]):
            kept.pop()
        if kept and _covers(kept[-1], segment):
            continue
        if len(kept) > 1 and segment.started_at <= kept[-2].ended_at + SEAM:
            kept.pop()
        kept.append(segment)
    return kept


def _covers(cover: Segment, other: Segment) -> bool:
    if cover.run == other.run:
        return False  # the segments of one run follow each other, even very short ones
    return cover.started_at <= other.started_at + SEAM and other.ended_at <= cover.ended_at + SEAM


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a file's media: the offset of its end, and its length."""

    end: int
    media_ms: int


def cut(part: Part, pieces: Iterable[Piece], until: datetime) -> Part | None:
    """Return ``part`` without the fragments that begin at ``until`` or later; None if none is left."""
    room_ms = (until - part.started_at) / timedelta(milliseconds=1)
    end, played_ms = part.offset, 0
    for piece in pieces:
        if played_ms + piece.media_ms / 2 > room_ms:
            break
        end, played_ms = piece.end, played_ms + piece.media_ms
    if played_ms == 0:
        return None
    return replace(part, size_bytes=end - part.offset, media_ms=played_ms)


def overlapping(segments: Sequence[Segment]) -> dict[str, datetime]:
    """Return the URIs of segments that reach into the next one, with the start of that one."""
    return {
        f"{one.id}.mp4": after.started_at
        for one, after in pairwise(segments)
        if after.started_at + SEAM < one.ended_at and after.run != one.run
    }
