"""``deploy/mediamtx.yml``: what streamwarden relies on, and that it is the one that the demo runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streamwarden.devkit.mediamtx_program import config_file
from tests.unit.deploy.deploy_files import DEPLOY, needs_checkout, read_yaml


@pytest.fixture(scope="module")
def settings() -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_yaml(config_file())
    return found


@needs_checkout
def test_deploys_file_is_the_one_of_the_package() -> None:
    assert (DEPLOY / "mediamtx.yml").read_bytes() == config_file().read_bytes()


def test_every_access_is_asked_for_the_operators_own_too(
    settings: Mapping[str, Any],
) -> None:
    assert settings["authMethod"] == "http"
    assert settings["authHTTPAddress"].endswith(":8083/api/v1/m2m/check-stream-pwd")
    assert settings["authHTTPExclude"] == []
    # The secret is one key, the network another; lists of sessions hold tokens.
    for name in ("apiAddress", "metricsAddress"):
        assert settings[name].startswith("127.0.0.1:"), name
    for name in ("apiAllowOrigins", "metricsAllowOrigins"):
        assert settings[name] == [], name


def test_nothing_is_on_that_nobody_needs(settings: Mapping[str, Any]) -> None:
    off = ("rtmp", "hls", "srt", "moq", "pprof", "playback")
    assert [name for name in off if settings[name] is not False] == []
    assert settings["pathDefaults"]["record"] is False
    assert settings["rtspTransports"] == ["tcp"]
    assert settings["rtspAuthMethods"] == ["basic"]


def test_queues_are_bounded_and_viewers_cannot_take_the_recorders_place(
    settings: Mapping[str, Any],
) -> None:
    queue = settings["writeQueueSize"]
    assert queue > 0
    assert queue & (queue - 1) == 0
    assert settings["pathDefaults"]["maxReaders"] == 0  # the hook bounds viewers, and them alone
