"""Sessions on a real server that lost their permission: the relay answers as MediaMTX does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.auth import revocation as rules
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import Clock
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaServerUnavailable
from streamwarden.mediamtx.sessions import SessionClaims, SessionKicker
from streamwarden.metrics.api_metrics import AccessMetrics
from tests.acceptance.waiting import wait_for
from tests.integration.devkit.relay_client import RtspClient

CAMERA = UUID(int=1)
PATH = "alice/door"
WITHIN_S = 120.0


class AheadClock(Clock):
    """The machine's clock, put forward at will."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class KickerHarness:
    """A relay with an kicker at its control API."""

    def __init__(self, relay: RelayServer) -> None:
        self.relay = relay
        self.clock = AheadClock()
        self.tokens = StreamTokens(parse_keys(f"k:{'s' * 40}"), self.clock)
        self.denied = DenialList(self.clock)
        self.denied.read([])
        self.claims = SessionClaims(self.clock)
        self.registry = CollectorRegistry()
        self.kicker = SessionKicker(
            server=MediaMtxClient(relay.control_url, ""),
            claims=self.claims,
            tokens=self.tokens,
            denials=self.denied,
            clock=self.clock,
            metrics=AccessMetrics(self.registry),
        )

    def query(self, use: str, sub: str = "bob") -> str:
        match use:
            case "record":
                signed = self.tokens.sign_record(CAMERA, PATH, ttl_s=300)
            case "view":
                signed = self.tokens.sign_view(sub, PATH, ttl_s=300)
            case _:
                signed = self.tokens.sign_publish(sub, PATH, ttl_s=300)
        return f"?token={signed.token}"

    def states(self) -> list[str]:
        return sorted(str(one["state"]) for one in self.relay.sessions())

    def kicked(self, use: str, reason: str) -> float:
        labels = {"use": use, "reason": reason}
        return self.registry.get_sample_value("streamwarden_sessions_kicked_total", labels) or 0.0


@pytest.fixture
def harness() -> Iterator[KickerHarness]:
    with RelayServer() as relay:
        found = KickerHarness(relay)
        yield found
        found.kicker.stop()


@pytest.fixture
def connect(harness: KickerHarness) -> Iterator[Callable[[], RtspClient]]:
    opened: list[RtspClient] = []

    def client() -> RtspClient:
        opened.append(RtspClient(harness.relay.ports.rtsp))
        return opened[-1]

    yield client
    for one in opened:
        one.socket.close()


Connect = Callable[[], RtspClient]


def open_sessions(harness: KickerHarness, connect: Connect) -> None:
    """Have a camera publish, a recorder read, and two users watch."""
    connect().publish(PATH, harness.query("publish", "alice"))
    connect().read(PATH, harness.query("record"))
    connect().read(PATH, harness.query("view"))
    connect().read(PATH, harness.query("view", "carol"))
    assert harness.states() == ["publish", "read", "read", "read"]


def test_a_withdrawn_grant_ends_that_users_session_and_no_other(
    harness: KickerHarness, connect: Connect
) -> None:
    open_sessions(harness, connect)
    assert harness.kicker.sweep() == 0
    gone = rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=["view"], at=harness.clock.now())
    harness.denied.add(gone)
    assert harness.kicker.sweep() == 1
    assert harness.kicked("view", "grant_withdrawn") == 1
    assert harness.relay.wait_for_readers(PATH, 2, timeout_s=WITHIN_S)
    assert harness.kicker.sweep() == 0


def test_an_expired_view_ends_and_recording_and_publishing_go_on(
    harness: KickerHarness, connect: Connect
) -> None:
    open_sessions(harness, connect)
    harness.clock.ahead = timedelta(seconds=301)
    assert harness.kicker.sweep() == 2
    assert harness.kicked("view", "expired") == 2
    assert harness.relay.wait_for_readers(PATH, 1, timeout_s=WITHIN_S)
    assert "publish" in harness.states()


def test_a_retired_camera_loses_everybody_the_recorder_last(
    harness: KickerHarness, connect: Connect
) -> None:
    open_sessions(harness, connect)
    harness.denied.add(rules.camera_retired(CAMERA, PATH, harness.clock.now()))
    assert harness.kicker.sweep() == 2, "those who watch"
    assert harness.relay.wait_for_readers(PATH, 1, timeout_s=WITHIN_S)
    harness.clock.ahead = timedelta(seconds=60)
    assert harness.kicker.sweep() >= 1, "the publisher, and the recorder if it is still there"
    wait_for("nobody", lambda: harness.states() == [], within_s=WITHIN_S)


def test_the_thread_ends_a_session_soon_after_it_is_woken(
    harness: KickerHarness, connect: Connect
) -> None:
    open_sessions(harness, connect)
    harness.kicker.start()
    harness.denied.add(rules.links_withdrawn(PATH, harness.clock.now()))
    harness.kicker.wake()
    wait_for(
        "the publisher gone",
        lambda: harness.kicked("publish", "link_withdrawn") == 1,
        within_s=WITHIN_S,
    )


def test_a_server_that_was_away_is_swept_when_it_is_back(
    harness: KickerHarness, connect: Connect
) -> None:
    ports = harness.relay.ports
    harness.relay.stop()
    failures = "streamwarden_session_sweeps_failed_total"
    harness.kicker.start()
    harness.kicker.wake()
    wait_for("a failure", lambda: harness.registry.get_sample_value(failures), within_s=WITHIN_S)
    harness.denied.add(rules.user_blocked("bob", harness.clock.now()))
    harness.denied.set_blocked("bob", blocked=True)
    assert harness.relay.start() == ports
    connect().publish(PATH, harness.query("publish", "bob"))
    wait_for("a kick", lambda: harness.kicked("publish", "user_blocked") == 1, within_s=WITHIN_S)


def test_every_session_is_seen_however_many_there_are(
    harness: KickerHarness, connect: Connect
) -> None:
    connect().publish(PATH, harness.query("publish"))
    client = MediaMtxClient(harness.relay.control_url, "")
    for _ in range(4):
        connect().read(PATH, harness.query("view"))
    found = client.sessions()
    assert sorted(one.state for one in found) == ["publish", *["read"] * 4]
    assert {one.path for one in found} == {PATH}
    assert all(abs(one.created - harness.clock.now()) < timedelta(minutes=1) for one in found)
    assert client.kick(found[0]) is True
    wait_for("it gone", lambda: len(client.sessions()) < 5, within_s=WITHIN_S)
    assert client.kick(found[0]) is False
    client.close()


def test_no_token_is_in_an_error_or_a_repr(harness: KickerHarness, connect: Connect) -> None:
    connect().publish(PATH, harness.query("publish"))
    client = MediaMtxClient(harness.relay.control_url, "")
    assert "token" not in repr(client.sessions())
    client.close()
    harness.relay.stop()
    with pytest.raises(MediaServerUnavailable) as away:
        client.sessions()
    assert "127.0.0.1" not in str(away.value)
    harness.relay.start()
