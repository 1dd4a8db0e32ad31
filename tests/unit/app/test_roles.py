from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from streamwarden.app import roles as module
from streamwarden.app.roles import RunningRoles, keep_files_private, run_roles, with_ports
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.workers import cores
from tests.fakes.manual_time import DEADLINE_S


class FakeRoles:
    """Stands in for the three roles, and notes what is started and stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        self.fail = ""
        monkeypatch.setattr(module, "ApiRole", self.part("api", {"api": 1}))
        monkeypatch.setattr(module, "StreamingRole", self.part("streaming", {"streaming": 2}))
        monkeypatch.setattr(module, "WebUiRole", self.part("webui", {"webui": 3}))
        monkeypatch.setattr(module, "keep_files_private", lambda: None)
        monkeypatch.setattr(module, "raise_file_limit", lambda: None)
        monkeypatch.setattr(Settings, "require_for", lambda *_: None)

    def part(self, name: str, ports: dict[str, int]) -> Callable[..., object]:
        parts = self

        class Part:
            def __init__(self, *_: object, **__: object) -> None:
                self.ports = ports

            def start(self) -> None:
                if parts.fail == name:
                    raise ConfigError("scripted")
                parts.events.append(f"start {name}")

            def stop(self, deadline_s: float = 0.0) -> None:
                assert deadline_s <= DEADLINE_S
                parts.events.append(f"stop {name}")

        return Part


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> FakeRoles:
    return FakeRoles(monkeypatch)


ALL = frozenset({"api", "streaming", "webui"})


def running(roles: frozenset[str]) -> RunningRoles:
    return run_roles(Settings(), roles)


def test_roles_stop_in_the_reverse_order_of_their_start(parts: FakeRoles) -> None:
    started = running(ALL)
    assert started.ports == {"api": 1, "streaming": 2, "webui": 3}
    started.stop(DEADLINE_S)
    begun = [event.removeprefix("start ") for event in parts.events[:3]]
    assert parts.events[3:] == [f"stop {name}" for name in reversed(begun)]


def test_a_stop_twice_is_one_stop(parts: FakeRoles) -> None:
    started = running(ALL)
    started.stop(1.0)
    started.stop(1.0)
    assert len(parts.events) == 6


def test_one_role_may_run_alone(parts: FakeRoles) -> None:
    running(frozenset({"streaming"})).stop(1.0)
    assert parts.events == ["start streaming", "stop streaming"]


def test_a_role_that_does_not_start_takes_the_others_down_again(parts: FakeRoles) -> None:
    parts.fail = "streaming"
    with pytest.raises(ConfigError):
        running(ALL)
    assert parts.events == ["start api", "stop api"]


def test_port_0_asks_for_any_port_and_the_urls_follow() -> None:
    given = Settings(host="127.0.0.1", api_port=0, streaming_port=0, internal_api_port=0)
    settings = with_ports(given)
    ports = {settings.api_port, settings.streaming_port, settings.internal_api_port}
    assert len(ports - {0, None}) == 3
    assert settings.streaming_url == f"http://127.0.0.1:{settings.streaming_port}"


def test_a_url_that_was_set_is_kept() -> None:
    settings = with_ports(Settings(api_port=0, api_url="http://elsewhere:1"))
    assert settings.api_url == "http://elsewhere:1"


def test_ports_that_were_set_are_kept() -> None:
    given = Settings(api_port=1234, api_url=None)
    assert with_ports(given).api_port == 1234


def test_a_process_keeps_its_files_to_itself_and_may_open_many() -> None:
    before = os.umask(0o022)
    try:
        keep_files_private()
        assert os.umask(0o022) == 0o027
    finally:
        os.umask(before)
    assert cores() >= 1
