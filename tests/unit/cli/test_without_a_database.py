"""Commands that need no database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.stream_tokens import StreamAction, StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.cli.main import main
from streamwarden.clock import Clock

JWT_SECRET = "j" * 40
KEY_SECRET = "k" * 40
CAMERA = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("STREAMWARDEN_USER_JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("STREAMWARDEN_STREAM_TOKEN_KEYS", f"one:{KEY_SECRET}")
    monkeypatch.setenv("STREAMWARDEN_RTSP_PUBLISH_URL", "rtsp://media.example:8554")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.strip()


def test_a_users_token_is_one_that_the_api_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "user", "--sub", "alice", "--role", "admin", "--ttl", "60"]) == 0
    tokens = UserTokens(JWT_SECRET, audience="streamwarden", roles_claim="roles", clock=Clock())
    user = tokens.verify(printed(capsys))
    assert (user.sub, user.roles) == ("alice", frozenset({"admin"}))


def test_a_token_as_json_says_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "user", "--sub", "alice", "--ttl", "60", "--json"]) == 0
    shown = json.loads(printed(capsys))
    life = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
    assert 50 < life.total_seconds() <= 60
    assert set(shown) == {"token", "expires_at"}


@pytest.mark.parametrize(
    ("use", "action"), [("read", StreamAction.READ), ("publish", StreamAction.PUBLISH)]
)
def test_a_stream_token_opens_its_path_and_comes_as_a_url(
    use: str, action: StreamAction, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", use, "--path", "alice/door", "--sub", "alice", "--json"]) == 0
    shown = json.loads(printed(capsys))
    tokens = StreamTokens(parse_keys(f"one:{KEY_SECRET}"), Clock())
    claims = tokens.verify(shown["token"], path="alice/door", action=action)
    assert claims.sub == "alice"
    assert shown["url"] == f"rtsp://media.example:8554/alice/door?token={shown['token']}"


@pytest.mark.parametrize("path", ["", "../x", "a b", "a//b", "/a", "a/b/c/d/e", "é"])
def test_a_path_that_no_camera_can_have_is_wrong_usage(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "publish", "--path", path]) == 2
    assert "path must be" in capsys.readouterr().err


def test_without_a_secret_the_command_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAMWARDEN_USER_JWT_SECRET")
    assert main(["token", "user", "--sub", "alice"]) == 1
    assert "STREAMWARDEN_USER_JWT_SECRET is not set" in capsys.readouterr().err


def test_without_a_database_the_command_says_which_setting_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["camera", "list"]) == 1
    assert "STREAMWARDEN_DATABASE_URL is not set" in capsys.readouterr().err


def test_a_database_that_is_away_is_a_failure_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@127.0.0.1:1/d")
    assert main(["camera", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("streamwarden: ")
    assert "hush" not in said


def test_check_config_shows_each_setting_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    shown = printed(capsys)
    assert "STREAMWARDEN_STALL_AFTER" in shown
    assert JWT_SECRET not in shown
    assert KEY_SECRET not in shown


def test_check_config_as_json_says_where_each_value_came_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("retention_days = 7\n")
    assert main(["check-config", "--json", "--config", str(file)]) == 0
    shown = json.loads(printed(capsys))
    assert shown["STREAMWARDEN_RETENTION_DAYS"] == {"value": 7, "source": "file"}
    assert shown["STREAMWARDEN_USER_JWT_SECRET"]["source"] == "environment"


def test_check_config_refuses_an_unknown_setting_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMWARDEN_RETENTION_DAY", "7")
    assert main(["check-config"]) == 1
    assert "did you mean STREAMWARDEN_RETENTION_DAYS" in capsys.readouterr().err


def test_check_config_refuses_a_signing_key_that_is_too_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMWARDEN_STREAM_TOKEN_KEYS", "one:short")
    assert main(["check-config"]) == 1
    said = capsys.readouterr().err
    assert "STREAM_TOKEN_KEYS" in said
    assert "short" not in said.replace("too short", "")


@pytest.mark.parametrize("keys", ["geheim", "ab" * 31, f"{'ab' * 32},{'ab' * 32}"])
def test_check_config_refuses_a_sealing_key_that_is_none_and_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str
) -> None:
    monkeypatch.setenv("STREAMWARDEN_SOURCE_SECRET_KEYS", keys)
    assert main(["check-config"]) == 1
    said = capsys.readouterr().err
    assert "STREAMWARDEN_SOURCE_SECRET_KEYS: " in said
    assert "geheim" not in said
    assert "abab" not in said


def test_check_config_shows_no_sealing_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAMWARDEN_SOURCE_SECRET_KEYS", "ab" * 32)
    assert main(["check-config"]) == 0
    assert "abab" not in capsys.readouterr().out


def test_nothing_to_change_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["camera", "set", CAMERA]) == 2
    assert "nothing to change" in capsys.readouterr().err
