"""Cameras that an operator starts and stops, the link that signs in, and a database that refuses."""

from __future__ import annotations

import json
import time
from uuid import UUID

import jwt
import pytest

from streamwarden.cli.main import main
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.streams import StreamRepository
from tests.acceptance.waiting import PATIENCE_S

SECRET = "user-secret-of-at-least-32-bytes-x"
ADD = ("camera", "add", "--owner", "alice", "--name", "Yard", "--json")


@pytest.fixture(autouse=True)
def _settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("STREAMWARDEN_USER_JWT_SECRET", SECRET)


def camera(capsys: pytest.CaptureFixture[str], *more: str) -> UUID:
    assert main([*ADD, *more]) == 0
    return UUID(json.loads(capsys.readouterr().out)["id"])


def wanted(database: Database, camera_id: UUID) -> bool | None:
    found = StreamRepository(database).get(camera_id)
    return None if found is None else found.wanted


def test_a_camera_is_added_and_started_and_stopped(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    added = camera(capsys)
    assert wanted(database, added) is None
    assert main(["camera", "start", str(added)]) == 0
    assert "is to be recorded" in capsys.readouterr().out
    assert wanted(database, added) is True
    before = sum(map(len, DenialRepository(database).pages()))
    assert main(["camera", "stop", str(added)]) == 0
    assert wanted(database, added) is False
    assert sum(map(len, DenialRepository(database).pages())) == before + 1
    assert main(["audit", "list", "--camera", str(added), "--json"]) == 0
    actions = [
        item["action"] for item in json.loads(capsys.readouterr().out.split("\n", 1)[1])["items"]
    ]
    assert {"start", "stop"} <= set(actions)


def test_a_camera_is_added_with_its_start(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wanted(database, camera(capsys, "--start")) is True


def test_an_inactive_camera_is_not_started(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    added = camera(capsys, "--status", "inactive")
    assert main(["camera", "start", str(added)]) == 2
    assert "is inactive and is not recorded" in capsys.readouterr().err
    assert wanted(database, added) is None


@pytest.mark.parametrize(
    ("page", "begins"),
    [
        (None, "http://127.0.0.1:8080/#token="),
        ("https://cams.example/", "https://cams.example/#token="),
    ],
)
def test_the_link_signs_in(
    page: str | None,
    begins: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if page is not None:
        monkeypatch.setenv("STREAMWARDEN_PAGE_URL", page)
    assert main(["sign-in", "--sub", "alice", "--role", "admin"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(begins)
    token = printed.out.strip().partition("#token=")[2]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="streamwarden")
    assert (claims["sub"], claims["roles"]) == ("alice", ["admin"])
    assert "valid until" in printed.err


def test_no_link_is_made_where_a_provider_signs_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STREAMWARDEN_USER_JWT_SECRET")
    monkeypatch.setenv("STREAMWARDEN_USER_JWKS_URL", "https://id.example/keys")
    assert main(["sign-in", "--sub", "alice"]) == 1
    assert "by your identity provider" in capsys.readouterr().err


def test_migrate_says_why_postgres_refuses(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    monkeypatch.setenv("DATABASE_URL", database_url.replace(f"/{name}", "/no_such_database"))
    began_s = time.monotonic()
    assert main(["migrate"]) == 1
    assert time.monotonic() - began_s < PATIENCE_S
    assert 'database "no_such_database" does not exist' in capsys.readouterr().err


def test_check_config_names_what_a_role_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check-config"]) == 0
    assert "check-config --role api" in capsys.readouterr().err
    assert main(["check-config", "--role", "api"]) == 1
    said = capsys.readouterr().err
    assert "STREAMWARDEN_INTERNAL_TOKEN: is not set" in said
    assert "STREAMWARDEN_STREAM_TOKEN_KEYS: is not set" in said
    assert "STREAMWARDEN_RECORD_ROOT" not in said
    monkeypatch.delenv("DATABASE_URL")
    assert main(["check-config", "--role", "webui"]) == 0
