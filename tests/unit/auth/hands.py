"""A clock whose hands the test holds, and keys for every test here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamwarden.clock import Clock

SECRET = "user-secret-of-at-least-32-bytes-length"
KEY = "stream-key-of-at-least-32-bytes-length"
OTHER_KEY = "another-stream-key-of-at-least-32-bytes"


class HeldClock(Clock):
    def __init__(self, moment: datetime = datetime(2026, 11, 1, 12, tzinfo=UTC)) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def pass_s(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
