"""Names of cameras, asked for by sweep after sweep."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from streamwarden.mediamtx.source_paths import FAILED_S, FRESH_S, DnsCache
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock


class NameServer:
    """Answers after ``takes_s``, or not at all."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.found: dict[str, list[str]] = {"cam": ["10.0.0.7"], "own": ["10.0.0.2"]}
        self.takes_s = 0.0
        self.asked: list[str] = []

    def resolve(self, name: str) -> Collection[str]:
        self.asked.append(name)
        self.clock.advance(self.takes_s)
        if name not in self.found:
            raise OSError("no such name")
        return self.found[name]


@pytest.fixture
def server() -> NameServer:
    return NameServer(ManualClock(EPOCH))


@pytest.fixture
def names(server: NameServer) -> DnsCache:
    return DnsCache(server.resolve, server.clock, always=["own"])


def test_a_name_is_asked_for_once_in_a_while(server: NameServer, names: DnsCache) -> None:
    for _ in range(3):
        assert names.addresses("cam") == ["10.0.0.7"]
    server.found["cam"] = ["10.0.0.8"]
    server.clock.advance(FRESH_S)
    assert names.addresses("cam") == ["10.0.0.8"]
    assert server.asked == ["cam", "cam"]


def test_a_name_that_is_unknown_is_left_alone_for_longer(
    server: NameServer, names: DnsCache
) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="resolved"):
            names.addresses("none")
        server.clock.advance(FRESH_S)
    server.clock.advance(FAILED_S)
    server.found["none"] = ["10.0.0.9"]
    assert names.addresses("none") == ["10.0.0.9"]
    assert server.asked == ["none", "none"]


def test_a_slow_name_server_delays_one_run_of_the_loop_and_never_for_our_own_hosts(
    server: NameServer, names: DnsCache
) -> None:
    server.takes_s = 10.0
    for number in range(9):
        with pytest.raises(OSError, match=r"resolved|slow"):
            names.addresses(f"dead{number}")
    assert server.asked == ["dead0"]
    assert names.addresses("own") == ["10.0.0.2"]
    server.takes_s = 0.0
    server.clock.advance(30.0)
    assert names.addresses("cam") == ["10.0.0.7"]
