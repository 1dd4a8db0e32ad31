"""A clock that a test advances, and an order of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamwarden.clock import Clock
from streamwarden.ffmpeg.command import RunOrder

NOON = datetime(2026, 3, 29, 12, 0, 0, tzinfo=UTC)


class ManualClock(Clock):
    """Both clocks; ``pass_by`` moves both, ``set_by`` the wall clock alone."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def pass_by(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_by(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder(RunOrder):
    """A ``RunOrder`` with defaults."""

    run: int = 1
    url: str = field(default="rtsp://127.0.0.1:8554/cam/1?token=t", repr=False)
    segment_seconds: int = 15
    folder: Path = Path("/nowhere")
    audio: str = "copy"
    probe_s: float = 1.0
