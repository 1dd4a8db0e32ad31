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
WITHIN_S = 30.0


class AheadClock(Clock):
    """The machine's clock, put forward at will."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


class Door:
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
            server=MediaMtxClient(relay.control_url),
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
def door() -> Iterator[Door]:
    with RelayServer() as relay:
        found = Door(relay)
        yield found
        found.kicker.stop()


@pytest.fixture
def connect(door: Door) -> Iterator[Callable[[], RtspClient]]:
    opened: list[RtspClient] = []

    def client() -> RtspClient:
        opened.append(RtspClient(door.relay.ports.rtsp))
        return opened[-1]

    yield client
    for one in opened:
        one.socket.close()


Connect = Callable[[], RtspClient]


def stage(door: Door, connect: Connect) -> None:
    """Have a camera publish, a recorder read, and two users watch."""
    connect().publish(PATH, door.query("publish", "alice"))
    connect().read(PATH, door.query("record"))
    connect().read(PATH, door.query("view"))
    connect().read(PATH, door.query("view", "carol"))
    assert door.states() == ["publish", "read", "read", "read"]


def test_a_withdrawn_grant_ends_that_users_session_and_no_other(
    door: Door, connect: Connect
) -> None:
    stage(door, connect)
    assert door.kicker.sweep() == 0
    gone = rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=["view"], at=door.clock.now())
    door.denied.add(gone)
    assert door.kicker.sweep() == 1
    assert door.kicked("view", "grant_withdrawn") == 1
    assert door.relay.wait_for_readers(PATH, 2, timeout_s=WITHIN_S)
    assert door.kicker.sweep() == 0


def test_an_expired_view_ends_and_recording_and_publishing_go_on(
    door: Door, connect: Connect
) -> None:
    stage(door, connect)
    door.clock.ahead = timedelta(seconds=301)
    assert door.kicker.sweep() == 2
    assert door.kicked("view", "expired") == 2
    assert door.relay.wait_for_readers(PATH, 1, timeout_s=WITHIN_S)
    assert "publish" in door.states()


def test_a_retired_camera_loses_everybody_the_recorder_last(door: Door, connect: Connect) -> None:
    stage(door, connect)
    door.denied.add(rules.camera_retired(CAMERA, PATH, door.clock.now()))
    assert door.kicker.sweep() == 2, "those who watch"
    assert door.relay.wait_for_readers(PATH, 1, timeout_s=WITHIN_S)
    door.clock.ahead = timedelta(seconds=60)
    assert door.kicker.sweep() >= 1, "the publisher, and the recorder if it is still there"
    wait_for("nobody", lambda: door.states() == [], within_s=WITHIN_S)


def test_the_thread_ends_a_session_soon_after_it_is_woken(door: Door, connect: Connect) -> None:
    stage(door, connect)
    door.kicker.start()
    door.denied.add(rules.links_withdrawn(PATH, door.clock.now()))
    door.kicker.wake()
    wait_for(
        "the publisher gone",
        lambda: door.kicked("publish", "link_withdrawn") == 1,
        within_s=WITHIN_S,
    )


def test_a_server_that_was_away_is_swept_when_it_is_back(door: Door, connect: Connect) -> None:
    ports = door.relay.ports
    door.relay.stop()
    failures = "streamwarden_session_sweeps_failed_total"
    door.kicker.start()
    door.kicker.wake()
    wait_for("a failure", lambda: door.registry.get_sample_value(failures), within_s=WITHIN_S)
    door.denied.add(rules.user_blocked("bob", door.clock.now()))
    door.denied.set_blocked("bob", blocked=True)
    assert door.relay.start() == ports
    connect().publish(PATH, door.query("publish", "bob"))
    wait_for("a kick", lambda: door.kicked("publish", "user_blocked") == 1, within_s=WITHIN_S)


def test_every_session_is_seen_however_many_there_are(door: Door, connect: Connect) -> None:
    connect().publish(PATH, door.query("publish"))
    client = MediaMtxClient(door.relay.control_url)
    for _ in range(4):
        connect().read(PATH, door.query("view"))
    found = client.sessions()
    assert sorted(one.state for one in found) == ["publish", *["read"] * 4]
    assert {one.path for one in found} == {PATH}
    assert all(abs(one.created - door.clock.now()) < timedelta(minutes=1) for one in found)
    assert client.kick(found[0]) is True
    wait_for("it gone", lambda: len(client.sessions()) < 5, within_s=WITHIN_S)
    assert client.kick(found[0]) is False
    client.close()


def test_no_token_is_in_an_error_or_a_repr(door: Door, connect: Connect) -> None:
    connect().publish(PATH, door.query("publish"))
    client = MediaMtxClient(door.relay.control_url)
    assert "token" not in repr(client.sessions())
    client.close()
    door.relay.stop()
    with pytest.raises(MediaServerUnavailable) as away:
        client.sessions()
    assert "127.0.0.1" not in str(away.value)
    door.relay.start()
