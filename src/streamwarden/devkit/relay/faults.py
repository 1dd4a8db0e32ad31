"""Faults that the relay commits on demand, to test how the product handles them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from math import isfinite
from typing import TypeVar

from streamwarden.errors import InvalidInput

_E = TypeVar("_E", bound=StrEnum)


_D = TypeVar("_D", float, None)


class Silence(StrEnum):
    """Data that readers no longer get while their connection stays open."""

    NONE = "none"
    MEDIA = "media"
    """No RTP, while sender reports go on."""
    SOUND = "sound"
    """No RTP of audio tracks, like a microphone that is switched off."""
    ALL = "all"
    """Nothing at all, not even an answer to a keepalive."""


class Misbehaviour(StrEnum):
    """Wrong answers to DESCRIBE."""

    HANG = "hang"
    NOT_RTSP = "not_rtsp"
    ENDLESS_HEADERS = "endless_headers"
    ABSURD_SDP = "absurd_sdp"
    TEN_TRACKS = "ten_tracks"
    """A proper answer, with tracks that no recording can take."""


class FaultAction(StrEnum):
    """One-time faults for the current connections."""

    RESET_READERS = "reset_readers"
    CLOSE_READERS = "close_readers"
    RESET_PUBLISHER = "reset_publisher"
    CLOSE_PUBLISHER = "close_publisher"

    @property
    def resets(self) -> bool:
        """Whether the connection ends with RST and not with FIN."""
        return self in {FaultAction.RESET_READERS, FaultAction.RESET_PUBLISHER}

    @property
    def hits_readers(self) -> bool:
        """Whether it affects the readers, not the publisher."""
        return self in {FaultAction.RESET_READERS, FaultAction.CLOSE_READERS}


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of a path while it is set; its fields combine.

    Raises:
        InvalidInput: a value is outside its range; the error names the field.
    """

    silence: Silence = Silence.NONE
    describe: Misbehaviour | None = None
    describe_status: int | None = None
    """Every DESCRIBE is answered with this status, before the hook is called."""
    redirect: str | None = None
    """Every DESCRIBE is answered with 302 and this URL."""
    delay_s: float = 0.0
    """Each batch of frames is delayed by this time."""
    bytes_per_s: float = 0.0
    """Maximum rate of frames; overflow of the queue is lost. 0: unlimited."""
    sender_clock_shift_s: float = 0.0
    """Added to the NTP time of sender reports, like a camera with a wrong clock."""
    timestamp_jump_s: float = 0.0
    """Added to every RTP timestamp, and to the sender reports' RTP time with it."""
    picture_jump_s: float = 0.0
    """The same for video only, like an encoder that restarts while the audio continues."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.describe_status is not None and not 100 <= self.describe_status <= 999:  # noqa: PLR2004 - three digits, RFC 2326 section 7.1.1
            raise InvalidInput("a status has three digits", field="describe_status")
        for name in ("delay_s", "bytes_per_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidInput("must be zero or more", field=name)

    @property
    def moves_clocks(self) -> bool:
        """Whether frames are rewritten."""
        return any((self.sender_clock_shift_s, self.timestamp_jump_s, self.picture_jump_s))

    @property
    def slows(self) -> bool:
        """Whether frames are delayed."""
        return bool(self.delay_s or self.bytes_per_s)

    def to_json(self) -> dict[str, object]:
        """Return the form that :func:`fault_from_json` reads."""
        return asdict(self)


NO_FAULT = Fault()


def fault_from_json(body: Mapping[str, object]) -> Fault:
    """Read the control API's form of a fault.

    Raises:
        InvalidInput: an unknown field, or a value that the field cannot have.
    """
    known = {part.name for part in fields(Fault)}
    if unknown := sorted(set(body) - known):
        raise InvalidInput(f"no such part of a fault; there are {sorted(known)}", field=unknown[0])
    status = _number(body, "describe_status", None)
    return Fault(
        silence=_member(Silence, body, "silence") or Silence.NONE,
        describe=_member(Misbehaviour, body, "describe"),
        describe_status=None if status is None else int(status),
        redirect=None if body.get("redirect") is None else str(body["redirect"]),
        delay_s=_number(body, "delay_s", 0.0),
        bytes_per_s=_number(body, "bytes_per_s", 0.0),
        sender_clock_shift_s=_number(body, "sender_clock_shift_s", 0.0),
        timestamp_jump_s=_number(body, "timestamp_jump_s", 0.0),
        picture_jump_s=_number(body, "picture_jump_s", 0.0),
    )


def _member(kind: type[_E], body: Mapping[str, object], name: str) -> _E | None:
    value = body.get(name)
    try:
        return None if value is None else kind(str(value))
    except ValueError as error:
        raise InvalidInput(str(error), field=name) from error


def _number(body: Mapping[str, object], name: str, default: _D) -> float | _D:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise InvalidInput("must be a number", field=name)
    return float(value)


class FaultTable:
    """The faults by path; a path without one has the fault of all paths, if set."""

    def __init__(self) -> None:
        self._everywhere = NO_FAULT
        self._by_path: dict[str, Fault] = {}

    def of(self, path: str) -> Fault:
        """Return the fault of ``path``, an empty one if none is set."""
        return self._by_path.get(path, self._everywhere)

    def set(self, path: str | None, fault: Fault) -> None:
        """Set the fault of one path, or with None that of all paths without their own."""
        if path is None:
            self._everywhere = fault
        else:
            self._by_path[path] = fault

    def clear(self, path: str | None = None) -> None:
        """Clear the fault of one path, or with None all faults."""
        if path is None:
            self._everywhere = NO_FAULT
            self._by_path.clear()
        else:
            self._by_path.pop(path, None)

    def to_json(self) -> dict[str, object]:
        """Return all faults, for the control API."""
        paths = {path: fault.to_json() for path, fault in self._by_path.items()}
        return {"all": self._everywhere.to_json(), "paths": paths}
