"""The probe of a camera: its tracks, and the problems that a recording of it would have.

First one DESCRIBE, which distinguishes a wrong password from a wrong path and follows no redirect; then
some seconds of the stream are recorded with the recorder's own FFmpeg arguments. What becomes of the sound
is decided by the recorder's own function (`StreamTracks.sound_way`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import Any, Final

from streamwarden.actors.spawning import stream_tracks
from streamwarden.auth.rtsp_urls import redact
from streamwarden.ffmpeg.command import require_setpriv
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.ffmpeg.sampling import (
    JUMP_S,
    STARTS_WITHIN_S,
    PacketTrack,
    Sample,
    Sampler,
    TrackDescription,
)
from streamwarden.ffmpeg.sandbox import Sandbox
from streamwarden.ffmpeg.stream_tracks import SoundWay
from streamwarden.mediamtx.rtsp_client import (
    CameraUrl,
    NotDescribed,
    SdpTrack,
    Trouble,
    describe,
    distrusted,
    set_up,
    tracks_of,
)
from streamwarden.model import Cause, Transport
from streamwarden.probe import advice
from streamwarden.probe.advice import ProbeFinding, TrackHandling

_RARE_S: Final = 4.5
"""Key frames further apart than this are noted; 4 s is the default of some makers."""

_AAC: Final = "aac"

_KINDS: Final = {"video": "picture", "audio": "sound"}

_NAMES: Final = {
    "h264": "H.264",
    "hevc": "H.265",
    "mjpeg": "MJPEG",
    "mpeg4": "MPEG-4 Visual",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
    "aac": "AAC",
    "opus": "Opus",
    "pcm_alaw": "G.711 A-law",
    "pcm_mulaw": "G.711 mu-law",
    "adpcm_g722": "G.722",
    "adpcm_g726": "G.726",
    "vnd.onvif.metadata": "ONVIF metadata",
    # Names in session descriptions, for tracks of which nothing came.
    "h265": "H.265",
    "jpeg": "MJPEG",
    "mpeg4-generic": "AAC",
    "pcma": "G.711 A-law",
    "pcmu": "G.711 mu-law",
}

_BROWSERS: Mapping[str, str] = {"no_browser": "none", "some_browsers": "some"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackReport:
    """One track that a camera offers; values that could not be measured are None.

    ``kind`` is ``picture``, ``sound`` or ``data``, ``key_frame_s`` the median distance of key frames.
    """

    kind: str
    codec: str
    profile: str | None = None
    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    key_frame_s: float | None = None
    b_frames: bool | None = None
    sample_rate_hz: int | None = None
    channels: str | None = None
    bits_per_second: int | None = None
    handling: TrackHandling | None = None

    def as_json(self) -> Mapping[str, Any]:
        """Return the report for scripts."""
        return {
            "kind": self.kind,
            "codec": self.codec,
            "profile": self.profile,
            "width": self.width,
            "height": self.height,
            "frames_per_second": self.frames_per_second,
            "key_frame_seconds": self.key_frame_s,
            "b_frames": self.b_frames,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "bits_per_second": self.bits_per_second,
            "fate": None if self.handling is None else self.handling.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """The result for one camera; without problems it can be recorded. ``url`` has no credentials."""

    url: str
    seconds: float
    transports: Mapping[Transport, Trouble | None] = field(default_factory=dict)
    """What the camera answered to each transport that was asked for; None: it sends by it."""
    tracks: Sequence[TrackReport] = ()
    problems: Sequence[ProbeFinding] = ()
    notes: Sequence[ProbeFinding] = ()

    @property
    def browsers(self) -> str | None:
        """The browsers that play a recording: ``all``, ``some``, ``none``; None without a picture."""
        if not any(
            track.kind == "picture" and track.handling is TrackHandling.KEPT
            for track in self.tracks
        ):
            return None
        codes = {note.code for note in self.notes}
        return next((word for code, word in _BROWSERS.items() if code in codes), "all")

    @property
    def good(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def as_json(self) -> Mapping[str, Any]:
        """Return the report for scripts."""
        return {
            "url": self.url,
            "ok": self.good,
            "seconds": self.seconds,
            "transports": {
                way: "ok" if trouble is None else trouble.value
                for way, trouble in self.transports.items()
            },
            "browsers": self.browsers,
            "tracks": [track.as_json() for track in self.tracks],
            "problems": [finding.as_json() for finding in self.problems],
            "notes": [finding.as_json() for finding in self.notes],
        }


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """The tracks that a camera describes, and a sample of what it sends."""

    named: Sequence[SdpTrack]
    sample: Sample
    seconds: float
    distrust: str | None = None
    """Why its certificate is not trusted, None if it is."""
    transports: Mapping[Transport, Trouble | None] = field(default_factory=dict)

    def of_kind(self, kind: str) -> list[PacketTrack]:
        """Return the received tracks of a kind, ``video`` or ``audio``."""
        return [track for track in self.sample.tracks if track.kind == kind]

    @property
    def picture(self) -> PacketTrack | None:
        """The track that would be recorded as the picture, None if nothing of it came."""
        return next((one for one in self.of_kind("video")[:1] if one.packets), None)


def probe_camera(
    url: CameraUrl,
    *,
    ffmpeg: str,
    seconds: float,
    transport: Transport = Transport.AUTOMATIC,
    starts_within_s: float = STARTS_WITHIN_S,
    sandbox: Sandbox | None = None,
    ask: Callable[[CameraUrl], str] = describe,
) -> ProbeReport:
    """Probe the camera at ``url`` for ``seconds``; its faults are in the report.

    ``transport`` automatic: by the first that it takes, TCP before any other.

    Raises:
        ConfigError: this machine has no setpriv, which confines FFmpeg.
    """
    require_setpriv()
    try:
        named = tracks_of(ask(url))
    except NotDescribed as error:
        return ProbeReport(
            url=redact(url.clean), seconds=seconds, problems=(advice.of_trouble(error),)
        )
    transports = _transports(url, transport)
    chosen = next((way for way, trouble in transports.items() if trouble is None), None)
    if chosen is None:
        first = next(trouble for trouble in transports.values() if trouble is not None)
        return ProbeReport(
            url=redact(url.clean),
            seconds=seconds,
            transports=transports,
            problems=(advice.of_trouble(NotDescribed(first)),),
        )
    distrust = distrusted(url) if url.secure else None
    jobs = JobRunner(sandbox)
    jobs.start()
    try:
        with TemporaryDirectory(prefix="streamwarden-probe-") as folder:
            sampler = Sampler(
                jobs,
                ffmpeg=ffmpeg,
                folder=Path(folder),
                starts_within_s=starts_within_s,
                transport=chosen,
            )
            sample = sampler.take(url.with_login(), seconds=seconds, tracks=stream_tracks(named))
    finally:
        jobs.close()
    return report(url, ProbeSample(named, sample, seconds, distrust, transports))


def _transports(url: CameraUrl, wanted: Transport) -> Mapping[Transport, Trouble | None]:
    """Ask for each transport in question; return what each was answered, in the order of preference."""
    ways: tuple[Transport, ...] = (wanted,)
    if wanted is Transport.AUTOMATIC:
        ways = (Transport.TCP,) if url.secure else _IN_ORDER
    found: dict[Transport, Trouble | None] = {}
    for way in ways:
        try:
            set_up(url, way)
        except NotDescribed as error:
            found[way] = error.trouble
        else:
            found[way] = None
    return found


_IN_ORDER: Final = (Transport.TCP, Transport.UDP, Transport.MULTICAST)


def report(url: CameraUrl, found: ProbeSample) -> ProbeReport:
    """Return the report on a sample."""
    return ProbeReport(
        url=redact(url.clean),
        seconds=found.seconds,
        transports=found.transports,
        tracks=tuple(_tracks(found)),
        problems=tuple(_problems(found)),
        notes=tuple(_notes(found)),
    )


def _tracks(found: ProbeSample) -> Iterable[TrackReport]:
    descriptions = {one.codec: one for one in reversed(found.sample.descriptions)}
    for kind in ("video", "audio"):
        named = [track for track in found.named if track.kind == kind]
        for place, (name, came) in enumerate(zip_longest(named, found.of_kind(kind))):
            handling = _handling(found, kind, place)
            yield _track(
                kind,
                name,
                came,
                description=descriptions.get(came.codec if came else ""),
                handling=handling,
            )
    for track in found.named:
        if track.kind not in {"video", "audio"}:
            yield TrackReport(
                kind="data", codec=_name(track.codec), handling=TrackHandling.LEFT_OUT
            )


def _track(
    kind: str,
    named: SdpTrack | None,
    came: PacketTrack | None,
    *,
    description: TrackDescription | None,
    handling: TrackHandling | None,
) -> TrackReport:
    codec = _name(came.codec) if came else _name(named.codec if named else "")
    if came is None or not came.packets:
        return TrackReport(kind=_KINDS[kind], codec=codec, handling=handling)
    rate = came.bits_per_second
    bits = None if rate is None else round(rate)
    if kind == "audio":
        return TrackReport(
            kind="sound",
            codec=codec,
            profile=description.profile if description else None,
            sample_rate_hz=description.sample_rate_hz if description else None,
            channels=description.channels if description else None,
            bits_per_second=bits,
            handling=handling,
        )
    distance_s = _key_frame_s(came)
    return TrackReport(
        kind="picture",
        codec=codec,
        profile=description.profile if description else None,
        width=came.width or None,
        height=came.height or None,
        frames_per_second=None if came.per_second is None else round(came.per_second, 2),
        key_frame_s=None if distance_s is None else round(distance_s, 2),
        b_frames=came.reordered(),
        bits_per_second=bits,
        handling=handling,
    )


def _handling(found: ProbeSample, kind: str, place: int) -> TrackHandling | None:
    """Return how a kind's ``place``-th track is handled: of each kind the first is recorded."""
    if found.picture is None or not found.picture.key_frames_s():
        return None
    if found.sample.audio is None or place > 0:
        return TrackHandling.LEFT_OUT
    if kind == "video":
        return TrackHandling.KEPT
    if not any(track.packets for track in found.of_kind("audio")[:1]):
        return TrackHandling.LEFT_OUT  # a recorder takes the picture alone until sound flows
    return _HANDLING.get(found.sample.audio, TrackHandling.LEFT_OUT)


_HANDLING: Final = {SoundWay.COPY: TrackHandling.KEPT, SoundWay.AAC: TrackHandling.MADE_AAC}


def _problems(found: ProbeSample) -> Iterable[ProbeFinding]:
    if found.distrust is not None:
        yield advice.distrusted(found.distrust)
    if not any(track.kind == "video" for track in found.named):
        yield advice.NO_PICTURE
        return
    codec = next((_name(track.codec) for track in found.of_kind("video")), "an unknown codec")
    picture = found.picture
    if picture is None:
        yield advice.of_cause(found.sample.cause or Cause.TIMEOUT, codec)
        return
    if not picture.key_frames_s():
        yield advice.no_key_frame(found.seconds)
    if found.sample.audio is None:
        yield advice.of_cause(Cause.UNSUPPORTED_MEDIA, codec)
    elif found.sample.cause is not None:
        yield advice.broke_off(found.sample.cause)
    jumps = picture.jumps_s()
    if jumps or picture.stood_still_s() > JUMP_S:
        yield advice.time_jumps(max(jumps, key=abs, default=None))


def _notes(found: ProbeSample) -> Iterable[ProbeFinding]:
    if found.transports.get(Transport.TCP) is not None:
        yield advice.NOT_BY_TCP
    picture = found.picture
    if picture is None:
        return
    profile = next((d.profile for d in found.sample.descriptions if d.codec == picture.codec), None)
    if (unplayable := advice.browsers(picture.codec, profile)) is not None:
        yield unplayable
    if (without_s := _without_key_frame_s(picture)) > _RARE_S:
        yield advice.rare_key_frames(without_s)
    if picture.reordered():
        yield advice.B_FRAMES
    for sound in found.of_kind("audio")[:1]:
        if not sound.packets:
            yield advice.SILENT_SOUND
        elif sound.codec == _AAC:
            yield advice.NO_SOUND_IN_PREVIEW


def _key_frame_s(track: PacketTrack) -> float | None:
    """Return the median distance of key frames; None for fewer than two, or if all frames are."""
    if all(packet.key for packet in track.packets):
        return None
    distances = [after - before for before, after in pairwise(track.key_frames_s())]
    return median_low(distances) if distances else None


def _without_key_frame_s(track: PacketTrack) -> float:
    """Return the longest known time without a key frame."""
    key_frames = track.key_frames_s()
    since_last_s = track.seconds - key_frames[-1] if key_frames else 0.0
    return max(_key_frame_s(track) or 0.0, since_last_s)


def _name(codec: str) -> str:
    return _NAMES.get(codec.lower(), codec or "unknown")
