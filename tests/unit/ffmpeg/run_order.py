"""A ``RunOrder`` with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from streamwarden.ffmpeg.command import RunOrder

NOON = datetime(2026, 3, 29, 12, 0, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder(RunOrder):
    """A ``RunOrder`` with defaults."""

    run: int = 1
    url: str = field(default="rtsp://127.0.0.1:8554/cam/1?token=t", repr=False)
    segment_seconds: int = 15
    folder: Path = Path("/nowhere")
    audio: str = "copy"
    probe_s: float = 1.0
