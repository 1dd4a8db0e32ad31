"""``retention status``: what a changed age or quota would delete, before it happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from streamwarden.age_clock import read_clocks
from streamwarden.cli.main import main
from streamwarden.clock import Clock
from streamwarden.model import Camera
from streamwarden.paths import STATE
from streamwarden.recordings.deletion_rules import DeletionRulesFile, Rules, first_rules
from tests.integration.recordings.harness import Recordings

Status = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def cameras(made: Recordings, monkeypatch: pytest.MonkeyPatch) -> tuple[Camera, Camera]:
    """Two cameras with five and two segments of 1 MiB by their rows."""
    one, other = made.camera(), made.camera()
    made.record_all(one, 0, 10)
    made.record_all(other, 10, 14)
    made.database.execute(b"update segment set size_bytes = 1024 * 1024")
    limits = Rules(keep_for=timedelta(days=36_500))
    file = DeletionRulesFile(made.root / STATE)
    file.write(first_rules(limits, read_clocks(Clock()), None).as_released())
    monkeypatch.setenv("STREAMWARDEN_RETENTION_DAYS", "36500")
    return one, other


@pytest.fixture
def status(
    made: Recordings,
    cameras: tuple[Camera, Camera],
    shared_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Status:
    assert cameras
    monkeypatch.setenv("DATABASE_URL", shared_url)
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(made.root))

    def command(*argv: str) -> list[dict[str, Any]]:
        assert main(["retention", "status", *argv, "--json"]) == 0
        waits: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["waits"]
        return waits

    return command


def told(wait: dict[str, Any]) -> tuple[object, ...]:
    return tuple(wait[name] for name in ("reason", "waits_for", "segments", "size"))


def span(wait: dict[str, Any]) -> tuple[str, str]:
    return wait["from"][11:19], wait["to"][11:19]


def test_settings_that_change_nothing_delete_nothing(status: Status) -> None:
    assert status() == status("--dry-run") == []


@pytest.mark.parametrize(
    ("name", "value", "expected", "range_"),
    [
        (
            "TOTAL_QUOTA",
            "4 MiB",
            ("total_quota", "a quota of 4.0 MiB", 3, "3.0 MiB"),
            ("12:00:00", "12:00:06"),
        ),
        (
            "CAMERA_QUOTA",
            "1 MiB",
            ("camera_quota", "a quota of 1.0 MiB", 5, "5.0 MiB"),
            ("12:00:00", "12:00:12"),
        ),
        (
            "RETENTION_DAYS",
            "1",
            ("age", "recordings are kept 1 days", 7, "7.0 MiB"),
            ("12:00:00", "12:00:14"),
        ),
    ],
)
def test_what_changed_settings_would_delete_is_seen_before_the_server_knows_them(  # noqa: PLR0917
    made: Recordings,
    cameras: tuple[Camera, Camera],
    status: Status,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    expected: tuple[object, ...],
    range_: tuple[str, str],
) -> None:
    state = DeletionRulesFile(made.root / STATE)
    before, rows = state.read(), [made.rows(camera) for camera in cameras]
    monkeypatch.setenv(f"STREAMWARDEN_{name}", value)
    assert status() == []
    (wait,) = status("--dry-run")
    assert (told(wait), span(wait)) == (expected, range_)
    assert wait["goes_on_in_s"] == 86_400
    assert (state.read(), [made.rows(camera) for camera in cameras]) == (before, rows)


def test_a_quota_that_is_large_enough_deletes_nothing_and_says_so(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMWARDEN_TOTAL_QUOTA", "7 MiB")
    (wait,) = status("--dry-run")
    assert (wait["segments"], wait["size"], wait["from"]) == (0, "0.0 MiB", None)
