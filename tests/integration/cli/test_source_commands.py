"""Cameras that are pulled, by the operators' commands on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from streamwarden.cli.main import main
from streamwarden.mediamtx.credentials import CameraCredentials, CredentialCipher
from streamwarden.storage.cameras import SourceRepository
from streamwarden.storage.pool import Database

KEY = b"k" * 32
URL = "rtsp://127.0.0.1:1/x"  # nobody is there: a camera that is off
Run = Callable[..., Any]


@pytest.fixture
def run(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for name, value in {
        "MEDIAMTX_API_URL": "http://127.0.0.1:9",
        "RTSP_INTERNAL_URL": "rtsp://127.0.0.2:8554",
        "SOURCE_NETWORKS": "127.0.0.1",
        "SOURCE_SECRET_KEYS": KEY.hex(),
    }.items():
        monkeypatch.setenv(f"STREAMWARDEN_{name}", value)

    def command(*argv: str, fails: int = 0) -> Any:  # noqa: ANN401 - any JSON, or what was complained
        assert main([*argv, "--json"]) == fails
        said = capsys.readouterr()
        assert "geheim" not in said.out + said.err
        return said.err if fails else json.loads(said.out)

    return command


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text("geheim\n")
    return str(file)


def add(run: Run, *options: str, fails: int = 0) -> Any:  # noqa: ANN401 - likewise
    return run("camera", "add", "--owner", "alice", "--name", "Yard", *options, fails=fails)


@pytest.fixture
def pulled(run: Run, secret: str) -> str:
    shown = ("--source-username", "viewer", "--source-password-file", secret)
    return str(add(run, "--source-url", URL, *shown)["id"])


def test_a_camera_is_added_with_its_source_and_listed_clean(
    run: Run, pulled: str, database: Database
) -> None:
    (camera,) = run("camera", "list")["items"]
    assert (camera["source_url"], camera["source_credentials"]) == (URL, True)
    stored = SourceRepository(database).get(UUID(pulled))
    assert stored is not None
    assert stored.encrypted is not None
    assert CredentialCipher([KEY]).decrypt(UUID(pulled), stored.encrypted) == CameraCredentials(
        "viewer", "geheim"
    )


def test_a_source_is_changed_and_removed_and_the_trail_has_its_host(run: Run, pulled: str) -> None:
    changed = run("camera", "set", pulled, "--source-url", "rtsp://127.0.0.1:1/y")
    assert (changed["source_url"][-2:], changed["source_credentials"]) == ("/y", True)
    bare = run("camera", "set", pulled, "--no-source-credentials")
    assert bare["source_credentials"] is False
    assert run("camera", "set", pulled, "--no-source")["source_url"] is None
    noted = [(one["action"], one["detail"]) for one in run("audit", "list")["items"]]
    assert sorted(noted, key=str) == [
        ("add_camera", {"source": "127.0.0.1"}),
        ("change_camera", {"source": "127.0.0.1"}),
        ("change_camera", {"source": "127.0.0.1"}),
        ("change_camera", {"source": None}),
    ]


def test_what_is_not_allowed_is_wrong_usage_and_changes_nothing(run: Run, pulled: str) -> None:
    for url in ("rtsp://127.0.0.2/x", "rtsp://10.0.0.7/x", "rtsp://a:geheim@127.0.0.1/x"):
        run("camera", "set", pulled, "--name", "Gate", "--source-url", url, fails=2)
        add(run, "--source-url", url, fails=2)
    (camera,) = run("camera", "list")["items"]
    assert (camera["name"], camera["source_url"]) == ("Yard", URL)


@pytest.mark.parametrize("setting", ["MEDIAMTX_API_URL", "SOURCE_SECRET_KEYS"])
def test_a_setting_that_is_missing_is_named(
    run: Run, secret: str, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.delenv(f"STREAMWARDEN_{setting}")
    shown = ("--source-username", "viewer", "--source-password-file", secret)
    assert f"STREAMWARDEN_{setting}" in add(run, "--source-url", URL, *shown, fails=1)
    assert run("camera", "list") == {"items": []}
