"""The session kicker: its pauses, and what it forgets."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaSession
from streamwarden.mediamtx.sessions import EVERY_S, SOON_S, SOON_TIMES, SessionClaims, SessionKicker
from streamwarden.metrics.api_metrics import AccessMetrics
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock


class EmptyServer(MediaMtxClient):
    """A media server without sessions, which takes its time."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.takes_s = 0.0

    def sessions(self) -> list[MediaSession]:
        self.clock.advance(self.takes_s)
        return []

    def kick(self, session: MediaSession, /) -> bool:
        raise AssertionError(session)

    def close(self) -> None:
        pass


class KickerHarness:
    """A session kicker whose pauses are read."""

    def __init__(self) -> None:
        self.clock = ManualClock(EPOCH)
        self.server = EmptyServer(self.clock)
        self.tokens = StreamTokens(parse_keys(f"k:{'s' * 40}"), self.clock)
        self.claims = SessionClaims(self.clock)
        self.kicker = SessionKicker(
            server=self.server,
            claims=self.claims,
            tokens=self.tokens,
            denials=DenialList(self.clock),
            clock=self.clock,
            metrics=AccessMetrics(CollectorRegistry()),
        )

    def pauses_s(self, times: int) -> list[float]:
        return [self.kicker._thread.attempt() for _ in range(times)]


@pytest.fixture
def harness() -> KickerHarness:
    return KickerHarness()


def test_a_wake_makes_it_look_soon_a_few_times(harness: KickerHarness) -> None:
    assert harness.pauses_s(2) == [EVERY_S] * 2
    harness.kicker.wake()
    assert harness.pauses_s(SOON_TIMES + 2) == [SOON_S] * SOON_TIMES + [EVERY_S] * 2


def test_a_wake_in_between_begins_the_count_anew(harness: KickerHarness) -> None:
    harness.kicker.wake()
    harness.pauses_s(SOON_TIMES - 1)
    harness.kicker.wake()
    assert harness.pauses_s(SOON_TIMES + 1) == [SOON_S] * SOON_TIMES + [EVERY_S]


def test_very_many_sessions_take_no_more_than_a_part_of_the_time(harness: KickerHarness) -> None:
    harness.server.takes_s = 1.0
    harness.kicker.wake()
    assert harness.pauses_s(1) == [20.0]


def test_the_claims_of_sessions_that_are_gone_are_forgotten(harness: KickerHarness) -> None:
    token = harness.tokens.sign_view("bob", "alice/door", ttl_s=300).token
    claims = harness.tokens.recall(token)
    assert claims is not None
    harness.claims.note("gone", claims)
    harness.clock.advance(100)
    harness.kicker.sweep()
    assert len(harness.claims) == 0
