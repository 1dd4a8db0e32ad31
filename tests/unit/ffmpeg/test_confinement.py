from __future__ import annotations

import os

import pytest

from streamwarden.errors import ConfigError
from streamwarden.ffmpeg.command import (
    DIE_WITH_PARENT,
    LIMITS,
    FfmpegAccount,
    ffmpeg_account,
    recording_argv,
)
from tests.unit.ffmpeg.run_order import SampleOrder


def test_no_account_means_our_own() -> None:
    assert ffmpeg_account(None) is None


def test_an_account_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such account"):
        ffmpeg_account("nobody-of-this-name")


def test_root_is_no_account_for_ffmpeg() -> None:
    with pytest.raises(ConfigError, match="FFMPEG_USER"):
        ffmpeg_account("root")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may change to any account")
def test_only_root_can_run_ffmpeg_as_somebody_else() -> None:
    with pytest.raises(ConfigError, match="only root"):
        ffmpeg_account("nobody")


def test_another_users_rights_are_taken_before_ffmpeg_is_run() -> None:
    argv = FfmpegAccount(65534, 65533).argv(recording_argv("/usr/bin/ffmpeg", SampleOrder()))
    at = argv.index("--")
    assert argv[:at] == [*DIE_WITH_PARENT[:-1], "--reuid=65534", "--regid=65533", "--clear-groups"]
    assert argv[at + 1] == "/usr/bin/ffmpeg"


def test_a_dump_of_memory_would_hold_the_token_and_is_never_written() -> None:
    assert "--core=0:0" in LIMITS
