"""Video sources of virtual cameras: FFmpeg's input and encoder arguments for each kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamwarden.devkit import clock_picture

TONE_SAMPLE_RATE = 16000
"""Hz. Enough for a tone; AAC at 48 kHz would cost as much CPU as the small picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPicture:
    """Colour bars, the burnt-in UTC clock and a tone; H.264 baseline and AAC.

    ``key_frame_every_s`` is the distance between key frames: some cameras send one in ten seconds.
    ``bitrate_kbps`` pads the video to a constant rate; None leaves it at what the picture needs,
    about 50 kbit/s.
    """

    __test__ = False  # not a test class, despite its name

    width: int = 1280
    height: int = 720
    fps: int = 25
    tone_hz: int = 440
    key_frame_every_s: int = 1
    bitrate_kbps: int | None = None

    def arguments(self) -> tuple[str, ...]:
        """Return the input and the encoders.

        Video and tone come from one graph, whose outputs advance together, so ``realtime`` on the video
        paces both. (``-re`` sends the first half second at once, so every frame's clock would be half a
        second late; two graphs with ``realtime`` slow each other down in FFmpeg 5.1.)
        """
        graph = f"{self._video()}[out0];{self._audio()}[out1]"
        return ("-f", "lavfi", "-i", graph, *self._encoders())

    def _video(self) -> str:
        # RTCTIME is the wall clock in microseconds when the frame is made; the clock is drawn
        # from it, and then the frames get evenly spaced times, as from a camera.
        return (
            f"smptebars=size={self.width}x{self.height}:rate={self.fps},format=yuv420p,realtime,"
            f"settb=1/1000000,setpts=RTCTIME,{clock_picture.drawing(self.width)},"
            "setpts=N/(FRAME_RATE*TB)"
        )

    def _audio(self) -> str:
        return f"sine=frequency={self.tone_hz}:sample_rate={TONE_SAMPLE_RATE}"

    def _encoders(self) -> tuple[str, ...]:
        # zerolatency uses sliced threads; one thread costs less here.
        distance = str(self.fps * self.key_frame_every_s)
        video = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
                 "-profile:v", "baseline", "-threads", "1",
                 "-g", distance, "-keyint_min", distance, "-sc_threshold", "0")  # fmt: skip
        # Without it each frame waits for its audio and arrives 0.15 s later.
        prompt = ("-max_interleave_delta", "1")
        return (*video, *self._rate(), "-c:a", "aac", "-b:a", "32k", *prompt)

    def _rate(self) -> tuple[str, ...]:
        if self.bitrate_kbps is None:
            return ()
        rate = f"{self.bitrate_kbps}k"
        return ("-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate,
                "-x264-params", "nal-hrd=cbr")  # fmt: skip


SMALL_PICTURE = TestPicture(width=640, height=360, fps=15)
"""For tests: about a twentieth of a core."""


@dataclass(frozen=True, slots=True)
class LoopedClip:
    """A file that is played in a loop, without transcoding."""

    path: Path

    def arguments(self) -> tuple[str, ...]:
        """Return the input, paced at its own rate, and stream copy of at most one video and one audio."""
        return ("-re", "-stream_loop", "-1", "-i", str(self.path), *_COPY)


@dataclass(frozen=True, slots=True)
class RealCamera:
    """An RTSP camera that is republished without transcoding. Its URL may hold a password.

    ``transport`` is MediaMTX's word: ``tcp``, ``udp``, ``multicast`` or ``automatic``, which is UDP
    first and TCP for a camera that refuses it.
    """

    url: str
    transport: str = "tcp"

    def arguments(self) -> tuple[str, ...]:
        """Return the input, with a timeout of 5 s, and stream copy."""
        chosen = _TRANSPORTS.get(self.transport)
        transport = ("-rtsp_transport", chosen) if chosen is not None else ()
        # Without it FFmpeg examines a camera with few pictures for up to 5 s before it sends one.
        prompt = ("-analyzeduration", "1000000")
        return (*transport, *prompt, "-timeout", "5000000", "-i", self.url, *_COPY)

    @property
    def host(self) -> str:
        """The camera's name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def address(self) -> str:
        """The URL without user and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User and password; None for what the URL does not have."""
        parts = urlsplit(self.url)
        return tuple(  # type: ignore[return-value]  # of two
            None if text is None else unquote(text) for text in (parts.username, parts.password)
        )

    def __repr__(self) -> str:
        return "RealCamera()"


VideoSource = TestPicture | LoopedClip | RealCamera


_TRANSPORTS = {"tcp": "tcp", "udp": "udp", "multicast": "udp_multicast"}
"""FFmpeg's words; its own default is UDP first."""


_COPY = ("-map", "0:v:0", "-map", "0:a:0?", "-c", "copy")


def source_from(text: str) -> VideoSource:
    """Return the source for a ``--camera`` option: an rtsp:// or rtsps:// URL, else a file."""
    if text.startswith(("rtsp://", "rtsps://")):
        return RealCamera(text)
    return LoopedClip(Path(text).expanduser().absolute())
