"""The way to the next run: URL, tracks, probe time, and the pause after a loss.

A respawn is ordinary and has no limit: it follows a capped, jittered, exponential pause that only a
closed segment resets. The pause is a pure function of the cause and of how often runs were lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from streamwarden.actors.sound_plan import SoundPlan
from streamwarden.auth.rtsp_urls import token_expiry
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.mediamtx.rtsp_client import (
    NotDescribed,
    SdpTrack,
    describe,
    parse_camera_url,
    tracks_of,
)
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CameraFiles, CannotStore

AT_ONCE: Final = {Cause.UNAUTHORIZED: 1, Cause.STARTING: 1, Cause.UNSUPPORTED_MEDIA: 2}
"""How often these causes may respawn without a pause, until a run has recorded: the next attempt uses a
new token, a longer probe or another way to take the sound (there are two more)."""


DISK: Final = frozenset(
    {
        Cause.DISK_FULL,
        Cause.NOT_WRITABLE,
        Cause.RECORD_ROOT_MISSING,
        Cause.RECORD_ROOT_CHANGED,
        Cause.RECORD_ROOT_READ_ONLY,
        Cause.RECORD_ROOT_HANGS,
    }
)
"""Causes that wait for the disk: it is tried every ``DISK_RETRY_S``, and nothing is spawned before."""


DISK_RETRY_S: Final = 2.0


SOURCE: Final = frozenset(
    {
        Cause.SOURCE_OFFLINE,
        Cause.STALLED,
        Cause.TIMEOUT,
        Cause.SERVER_ERROR,
        Cause.CONNECTION_REFUSED,
        Cause.UNREACHABLE,
    }
)
"""Causes of which the media server knows when they are over: its path is ready again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff: ``base_s`` doubles with each loss up to ``cap_s``; half of a pause is jitter."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def pause_s(self, losses: int, chance: Callable[[], float]) -> float:
        """Return the pause in seconds after ``losses`` losses in a row; ``chance`` gives 0 to 1.

        0 losses mean that the run had recorded: its successor follows at once, and the token bucket of
        the watcher spreads out the spawns of many cameras.
        """
        if losses <= 0:
            return 0.0
        full = min(self.cap_s, self.base_s * 2.0 ** min(losses - 1, 16))
        return full * (0.5 + 0.5 * chance())


def pause_s(
    cause: Cause, losses: Losses, *, backoff: Backoff, chance: Callable[[], float]
) -> float:
    """Return the pause in seconds after ``losses``, the last one for ``cause``."""
    # Such a run has waited, and a pause may be where the key frame is.
    if losses.may_follow_at_once(cause) or cause is Cause.NO_KEY_FRAME:
        return 0.0
    if cause in DISK:
        return min(DISK_RETRY_S, backoff.cap_s)
    return backoff.pause_s(losses.total, chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The losses since a run last recorded; ``total`` is 0 if the lost run had recorded.

    ``tried`` holds the causes of ``AT_ONCE`` so far, so that two causes that alternate do not respawn
    without a pause for ever.
    """

    total: int = 0
    tried: tuple[Cause, ...] = ()

    def add(self, cause: Cause, *, recorded: bool) -> Losses:
        """Return the losses with one more, of a run that had ``recorded`` or not."""
        first = recorded and self.total == 0
        tried = (*self.tried, cause) if self.may_follow_at_once(cause) else self.tried
        return Losses(total=0 if first else self.total + 1, tried=tried)

    def may_follow_at_once(self, cause: Cause) -> bool:
        """Return whether a loss for ``cause`` may respawn without a pause."""
        return self.tried.count(cause) <= AT_ONCE.get(cause, -1)


FRESH_FOR_S: Final = 20.0
"""A token that expires sooner than this is not used for a spawn."""


PROBE_S: Final = 1.0
"""How long FFmpeg probes: 0.1 s failed one start in six with "dimensions not set"."""


PROBE_LONGER_S: Final = 5.0


DESCRIBE_S: Final = 1.5
"""How long the media server may take to describe a stream, which it does within some milliseconds. A spawn
follows in any case."""


def describe_stream(url: str) -> StreamTracks | None:
    """Return what the stream at ``url`` holds, None where it is not described in time. Blocking."""
    try:
        return stream_tracks(tracks_of(describe(parse_camera_url(url), timeout_s=DESCRIBE_S)))
    except (NotDescribed, InvalidInput):
        return None  # FFmpeg meets the same trouble, and its end has a cause


def stream_tracks(described: Sequence[SdpTrack]) -> StreamTracks:
    """Return the tracks that a run takes: the first of each kind."""
    codecs = {track.kind: track.codec for track in reversed(described)}
    return StreamTracks(picture=codecs.get("video", ""), sound=codecs.get("audio"))


class ReadTokens(Protocol):
    """Source of RTSP URLs with a fresh read token: the API, which stands above this room."""

    def fetch(self, camera_id: UUID) -> str:
        """Return the RTSP URL to read from. Blocking.

        Raises:
            CannotRead: no token can be fetched.
        """


class CannotRead(Exception):
    """No read token: the API is unavailable or refuses to have this camera recorded."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def failure(error: object) -> tuple[Cause, str]:
    """Return the cause and the text of a failure; one that carries no cause is a bug."""
    if isinstance(error, CannotStore | CannotRead):
        return error.cause, str(error)
    return Cause.INTERNAL, f"{type(error).__name__}: {error}"[:300]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a worker has prepared for a run; ``tracks`` is None where the stream was not described."""

    run: int
    folder: Path
    url: str = field(repr=False)
    probe_s: float
    tracks: StreamTracks | None


class Spawning:
    """The parameters of one camera's next run.

    Used in the recorder's thread; only the function that ``preparation`` returns runs in a worker.
    """

    def __init__(
        self,
        *,
        camera_id: UUID,
        files: CameraFiles,
        tokens: ReadTokens,
        clock: Clock,
        backoff: Backoff,
        chance: Callable[[], float],
        describe: Callable[[str], StreamTracks | None] = describe_stream,
    ) -> None:
        self._camera_id = camera_id
        self._files = files
        self._tokens = tokens
        self._clock = clock
        self._backoff = backoff
        self._chance = chance
        self._url: str | None = None
        self._losses = Losses()
        self._rested = True
        self._describe = describe
        self._sound = SoundPlan()
        self._ways: dict[int, SoundWay] = {}
        """The live runs' ways of recording sound."""
        self._probe_s = PROBE_S
        self.patient = False
        """Whether the last run was connected and got nothing: the next one waits for the key frame."""
        self._wall_clock = False
        """Whether the camera's time stamps have turned out to be of no use."""

    def offer(self, url: str | None) -> None:
        """Keep a URL for the next spawn, if its token is still good then."""
        self._url = url or self._url

    def preparation(self) -> Callable[[], Prepared]:
        """Return the work before a spawn, for a worker: a token, a run number, the stream's tracks."""
        offered, self._url = self._usable(self._url), None
        probe_s, describe = self._probe_s, self._describe
        camera_id, tokens, files = self._camera_id, self._tokens, self._files

        def prepare() -> Prepared:
            url = offered or tokens.fetch(camera_id)
            folder, run = files.next_run()
            return Prepared(run=run, folder=folder, url=url, probe_s=probe_s, tracks=describe(url))

        return prepare

    def order(self, prepared: Prepared, segment_seconds: int, *, beside: bool) -> RunOrder:
        """Return the order of a prepared run; ``beside`` another one that records."""
        now = self._clock.monotonic()
        self._sound.described(prepared.tracks)
        way = self._sound.way(now, beside=beside)
        self._ways[prepared.run] = way
        return RunOrder(
            run=prepared.run,
            url=prepared.url,
            segment_seconds=segment_seconds,
            folder=prepared.folder,
            audio=way,
            probe_s=prepared.probe_s,
            tracks=self._sound.tracks,
            wall_clock=self._wall_clock,
            patient=self.patient,
        )

    def date_by_arrival(self) -> bool:
        """Have the next runs date pictures by their arrival; return whether that is new."""
        before, self._wall_clock = self._wall_clock, True
        return not before

    def sound_judged(self, order: RunOrder, *, flows: bool) -> None:
        """Take in whether sound flows in a run, which an earlier incarnation may have begun."""
        way = self._ways[order.run] = SoundWay(order.audio)
        self._sound.tracks = self._sound.tracks or order.tracks
        self._sound.judged(way, self._clock.monotonic(), flows=flows)

    def silent(self, run: int) -> bool:
        """Take in that a file of a run holds no sound; return whether the run was to record it."""
        way = self._ways.get(run)
        return way is not None and self._sound.silent(way, self._clock.monotonic())

    def recording(self, run: int) -> None:
        """Take in that a run has begun to record."""
        if (way := self._ways.get(run)) is not None:
            self._sound.recording(way, self._clock.monotonic())

    def sound_wait_s(self, run: int) -> float | None:
        """Return in how many seconds a recording run is to be replaced for its sound; None: it is not."""
        way = self._ways.get(run)
        return None if way is None else self._sound.wait_s(way, self._clock.monotonic())

    def left(self, run: int, cause: Cause | None, *, recorded: bool, beside: bool) -> None:
        """Take in a run's end; ``cause`` is None if it was not lost, ``beside`` if another one records."""
        way = self._ways.pop(run, None)
        if way is not None and cause is not None:
            now = self._clock.monotonic()
            self._sound.lost(way, cause, now, recorded=recorded, beside=beside)

    def lost(self, cause: Cause, *, recorded: bool) -> float:
        """Take in the loss of a run that had ``recorded`` or not; return the pause in seconds."""
        self._losses = self._losses.add(cause, recorded=recorded and self._rested)
        self._rested = False
        self.patient = cause is Cause.NO_KEY_FRAME
        if cause is Cause.STARTING:
            self._probe_s = PROBE_LONGER_S
        return pause_s(cause, self._losses, backoff=self._backoff, chance=self._chance)

    def recorded(self) -> None:
        """A run has closed a segment: reset the pause."""
        self._losses = Losses()
        self._rested = True

    def _usable(self, url: str | None) -> str | None:
        if url is None:
            return None
        expiry = token_expiry(url)
        if expiry is not None and expiry - self._clock.now().timestamp() < FRESH_FOR_S:
            return None
        return url
