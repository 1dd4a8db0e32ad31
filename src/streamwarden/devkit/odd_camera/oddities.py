"""The ways in which a camera misbehaves, and their texts on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.rtsp_client import Login

_K = TypeVar("_K", bound=StrEnum)

_WRAPS_AFTER_S: Final = 20


class StampKind(StrEnum):
    """The RTP timestamps of pictures."""

    NORMAL = "normal"
    ZERO = "zero"
    """They stand still."""
    FAST = "fast"
    """Their clock runs ``by`` times as fast as it should; below 1 it is slow."""
    JUMP = "jump"
    """They jump by ``by`` seconds, once, ``at_s`` after the viewer's start."""
    EVERY = "every"
    """They jump by ``by`` seconds every ``at_s``."""
    WRAP = "wrap"
    """They pass the end of their 32 bits after ``at_s``, 20 s where that is 0."""
    MARKED_SEI = "seimark"
    """They are right; the marker bit is also set on SEI units, in the middle of a picture."""


@dataclass(frozen=True, slots=True)
class Stamps:
    """The RTP timestamps of pictures: ``kind``, with the numbers that it takes."""

    kind: StampKind = StampKind.NORMAL
    by: float = 0.0
    at_s: float = 0.0

    def shown_s(self, media_s: float, elapsed_s: float) -> float:
        """Return the time to stamp on the picture at ``media_s``, ``elapsed_s`` after the start."""
        match self.kind:
            case StampKind.ZERO:
                return 0.0
            case StampKind.FAST:
                return media_s * self.by
            case StampKind.JUMP:
                return media_s + (self.by if elapsed_s >= self.at_s else 0.0)
            case StampKind.EVERY:
                return media_s + self.by * int(elapsed_s / self.at_s)
            case _:
                return media_s

    @property
    def first_ticks(self) -> int:
        """The timestamp of the first picture."""
        wraps_after_s = self.at_s or _WRAPS_AFTER_S
        return (1 << 32) - round(wraps_after_s * 90_000) if self.kind is StampKind.WRAP else 500_000


class ReportKind(StrEnum):
    """The sender reports (RTCP)."""

    NONE = "none"
    GOOD = "good"
    STEP = "step"
    """The clock in them steps by ``by`` seconds, ``at_s`` after the viewer's start."""
    UNSET = "1970"
    """The clock in them was never set: it began at the Unix epoch with the viewer's start."""


@dataclass(frozen=True, slots=True)
class Reports:
    """The sender reports: ``kind``, with the numbers that it takes."""

    kind: ReportKind = ReportKind.NONE
    by: float = 0.0
    at_s: float = 0.0

    def clock_s(self, unix_s: float, elapsed_s: float) -> float:
        """Return what the camera's clock shows, as Unix time."""
        match self.kind:
            case ReportKind.STEP:
                return unix_s + (self.by if elapsed_s >= self.at_s else 0.0)
            case ReportKind.UNSET:
                return elapsed_s
            case _:
                return unix_s


@dataclass(frozen=True, slots=True)
class Dropout:
    """Of every ``every_s`` the last ``lost_s`` are not sent, while timestamps go on."""

    lost_s: float
    every_s: float

    def loses(self, elapsed_s: float) -> bool:
        """Whether what is due ``elapsed_s`` after the start is lost."""
        return elapsed_s % self.every_s >= self.every_s - self.lost_s


class Sets(StrEnum):
    """The parameter sets in the session description, where they are not those of another stream."""

    OWN = "own"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """The misbehaviour of a camera; without an argument it is an ordinary one.

    Times are in seconds since the viewer's PLAY. They take effect at the next packet, so that a running
    camera can change.

    Raises:
        InvalidInput: a value is outside its range; the error names the field.
    """

    fps: float = 10.0
    """Pictures in a second, whatever the stream was encoded for."""
    swap_every_s: float | None = None
    """The next stream follows after so long, in mid-stream; after the last the first."""
    joins_mid_gop: bool = False
    """A viewer's first picture is one from the middle of the stream, not a key frame."""
    burst_s: float = 0.0
    """So many seconds of old pictures are sent at once at the start."""
    stamps: Stamps = field(default_factory=Stamps)
    reports: Reports = field(default_factory=Reports)
    dropout: Dropout | None = None
    reboot_every_s: float | None = None
    """A connection is closed so long after its PLAY."""
    hang_after_s: float | None = None
    """From then on nothing is sent, while the connection stays open."""
    sprop: str = Sets.OWN
    """The stream whose parameter sets the session description shows; or a member of ``Sets``."""
    in_band: bool = True
    """Whether parameter sets are also sent among the pictures."""
    sound: str | None = None
    """The sound's kind (``sounds.SOUNDS``), None for a camera without a microphone."""
    sound_after_s: float | None = 0.0
    """When sound begins, None: never, although it is announced."""
    sound_stops_s: float | None = None
    sound_rate: float = 1.0
    """The sound's clock in proportion to the picture's."""
    metadata: bool = False
    """An ONVIF metadata track is announced, and sent once a second."""
    back_channel: bool = False
    """A track for sound to the camera is announced."""
    login: Login | None = None
    schemes: tuple[str, ...] = ("Digest", "Basic")
    transports: tuple[str, ...] = ("tcp", "udp")
    transport_status: int = 461
    """The answer to a SETUP with a transport that is not among ``transports``."""
    describe_status: int | None = None
    """Every DESCRIBE is answered with this status."""
    viewers: int | None = None
    """At most so many play at once; the DESCRIBE of one more is answered with 453."""
    bare_line_feeds: bool = False
    """Answers have line feeds without carriage returns."""
    options_status: int = 200

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.fps <= 1000:  # noqa: PLR2004 - above it the loop would not sleep
            raise InvalidInput("must be above 0 and at most 1000", field="fps")
        if not self.sound_rate > 0:
            raise InvalidInput("must be above 0", field="sound_rate")
        if self.stamps.kind is StampKind.EVERY and not self.stamps.at_s > 0:
            raise InvalidInput("a repeated jump needs a time above 0", field="stamps")
        if self.dropout is not None and not 0 < self.dropout.lost_s <= self.dropout.every_s:
            raise InvalidInput("no more can be lost than there is", field="dropout")


def parse_stamps(text: str) -> Stamps:
    """Parse ``KIND``, ``fast:FACTOR``, ``jump:SECONDS@TIME`` or ``every:SECONDS@TIME``."""
    return Stamps(*_with_numbers(StampKind, text))


def parse_reports(text: str) -> Reports:
    """Parse ``KIND`` or ``step:SECONDS@TIME``."""
    return Reports(*_with_numbers(ReportKind, text))


def parse_dropout(text: str) -> Dropout:
    """Parse ``LOST@EVERY``."""
    lost, _, every = text.partition("@")
    return Dropout(float(lost), float(every))


def _with_numbers(kinds: type[_K], text: str) -> tuple[_K, float, float]:
    kind, _, numbers = text.partition(":")
    by, _, at = numbers.partition("@")
    return kinds(kind), float(by or 0), float(at or 0)
