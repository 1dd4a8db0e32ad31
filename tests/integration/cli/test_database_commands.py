"""The operators' commands on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from streamwarden.cli.main import main
from streamwarden.model import Gap, Segment
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import StreamRepository

Run = Callable[..., dict[str, Any]]

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def run(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.setenv("DATABASE_URL", database_url)

    def command(*argv: str) -> dict[str, Any]:
        code = main([*argv, "--json"])
        assert code == 0, capsys.readouterr().err
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return shown

    return command


def added(run: Run, **more: str) -> dict[str, Any]:
    options = {"owner": "alice", "name": "Front door"} | more
    return run(
        "camera", "add", *(word for key, value in options.items() for word in (f"--{key}", value))
    )


def test_a_fresh_database_is_migrated_once(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert main(["migrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["applied"]
    assert main(["migrate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"applied": []}
    assert main(["migrate"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_an_added_camera_is_listed_with_its_id_as_its_path(run: Run) -> None:
    camera = added(run)
    assert camera["path"] == camera["id"]
    assert camera["status"] == "active"
    assert run("camera", "list") == {"items": [camera]}


def test_more_cameras_than_a_page_are_all_listed(run: Run, database: Database) -> None:
    cameras = CameraRepository(database)
    for number in range(501):
        cameras.add(name=f"c{number}", owner="alice", created_at=NOW + timedelta(seconds=number))
    assert len(run("camera", "list")["items"]) == 501


def test_a_path_that_is_taken_is_a_failure_that_says_so(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    added(run, path="alice/door")
    assert main(["camera", "add", "--owner", "b", "--name", "n", "--path", "alice/door"]) == 1
    assert "another camera has this path" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_a_name_that_no_list_can_show_is_wrong_usage(name: str, run: Run) -> None:
    assert main(["camera", "add", "--owner", "alice", "--name", name]) == 2
    assert run("camera", "list") == {"items": []}


def test_setting_a_camera_changes_only_what_is_given(run: Run) -> None:
    camera = added(run)
    changed = run("camera", "set", camera["id"], "--status", "inactive")
    assert changed == camera | {"status": "inactive"}


@pytest.mark.parametrize(("status", "wanted"), [("inactive", False), ("active", True)])
def test_deactivating_a_camera_ends_its_desired_stream_too(
    status: str, wanted: bool, run: Run, database: Database
) -> None:
    camera = added(run)
    row = CameraRepository(database).get(UUID(camera["id"]))
    assert row is not None
    StreamRepository(database).want(row, requested_by="alice", at=NOW)
    run("camera", "set", camera["id"], "--status", status)
    desired = StreamRepository(database).get(row.id)
    assert desired is not None
    assert desired.wanted is wanted


def test_removing_a_camera_ends_its_desired_stream_too(run: Run, database: Database) -> None:
    camera = added(run)
    row = CameraRepository(database).get(UUID(camera["id"]))
    assert row is not None
    StreamRepository(database).want(row, requested_by="alice", at=NOW)
    assert run("camera", "remove", camera["id"]) == {"removed": camera["id"]}
    desired = StreamRepository(database).get(row.id)
    assert desired is not None
    assert not desired.wanted
    assert run("camera", "list") == {"items": []}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("command", [["camera", "remove"], ["token", "read", "--camera"]])
def test_a_camera_that_is_not_there_is_a_failure(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = str(uuid4())
    assert main([*command, unknown]) == 1
    assert f"no camera {unknown}" in capsys.readouterr().err
    assert main(["camera", "set", unknown, "--name", "n"]) == 1


def test_a_stream_token_finds_its_cameras_path(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWARDEN_STREAM_TOKEN_KEYS", f"one:{'k' * 40}")
    monkeypatch.setenv("STREAMWARDEN_RTSP_PUBLISH_URL", "rtsp://h:8554")
    camera = added(run, path="alice/door")
    shown = run("token", "publish", "--camera", camera["id"])
    assert shown["url"].startswith("rtsp://h:8554/alice/door?token=")


def recorded(database: Database, camera_id: UUID) -> None:
    later = NOW + timedelta(seconds=10)
    segment = Segment(
        id=uuid4(), camera_id=camera_id, owner="alice", run=1, number=0, started_at=NOW,
        ended_at=later, media_ms=10_000, size_bytes=1234, path="alice/x.mp4",
    )  # fmt: skip
    SegmentRepository(database).insert_many([segment])
    gap = Gap(
        id=uuid4(), camera_id=camera_id, started_at=later, ended_at=None, cause="source_offline"
    )
    GapRepository(database).upsert_many([gap])


def test_recordings_are_listed_with_their_gaps_in_time_order(run: Run, database: Database) -> None:
    camera_id = uuid4()
    recorded(database, camera_id)
    argv = ("recordings", "list", "--camera", str(camera_id), "--to", "2026-01-31T13:00Z")
    page = run(*argv)
    assert [item["kind"] for item in page["items"]] == ["segment", "gap"]
    segment, gap = page["items"]
    assert (segment["media_seconds"], segment["bytes"]) == (10.0, 1234)
    assert segment["started_at"] == "2026-01-31T12:00:00.000Z"
    assert (gap["ended_at"], gap["cause"]) == (None, "source_offline")


def test_a_long_list_comes_in_pages(run: Run, database: Database) -> None:
    camera_id = uuid4()
    recorded(database, camera_id)
    argv = ("recordings", "list", "--camera", str(camera_id), "--to", "2026-01-31T13:00Z")
    first = run(*argv, "--limit", "1")
    second = run(*argv, "--limit", "1", "--cursor", first["next_cursor"])
    kinds = [item["kind"] for page in (first, second) for item in page["items"]]
    assert kinds == ["segment", "gap"]


def test_a_broken_cursor_and_an_empty_range_are_wrong_usage(run: Run) -> None:
    camera = added(run)
    argv = ["recordings", "list", "--camera", camera["id"]]
    assert main([*argv, "--cursor", "nonsense"]) == 2
    assert main([*argv, "--from", "2026-02-01", "--to", "2026-01-01"]) == 2
    assert run(*argv) == {"items": [], "next_cursor": None}


@pytest.mark.usefixtures("run")
def test_people_get_a_table(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    camera_id = uuid4()
    recorded(database, camera_id)
    argv = ["recordings", "list", "--camera", str(camera_id), "--to", "2026-01-31T13:00Z"]
    assert main(argv) == 0
    head, segment, gap = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["kind", "started_at", "ended_at"]
    assert segment.split()[0] == "segment"
    assert gap.split()[-1] == "source_offline"


def test_grants_are_given_shown_and_taken_back(run: Run) -> None:
    camera = added(run)["id"]
    given = run(
        *("grant", "add", "--camera", camera, "--user", "bob"),
        *("--action", "view", "--action", "recordings", "--until", "2026-01-31T09:00"),
    )
    assert given["items"] == [
        {
            "user": "bob",
            "action": "recordings",
            "from": None,
            "until": "2026-01-31T09:00:00.000Z",
        },
        {"user": "bob", "action": "view", "from": None, "until": None},
    ]
    run("grant", "add", "--camera", camera, "--user", "bob", "--action", "control")
    gone = run("grant", "remove", "--camera", camera, "--user", "bob", "--action", "view")
    assert gone == {"user": "bob", "withdrawn": ["view"]}
    left = run("grant", "list", "--camera", camera)["items"]
    assert [row["action"] for row in left] == ["control", "recordings"]


def test_what_is_taken_away_by_hand_is_denied_and_noted(run: Run, database: Database) -> None:
    camera = added(run)["id"]
    run("grant", "add", "--camera", camera, "--user", "bob", "--action", "view")
    assert denied(database) == set()
    run("grant", "remove", "--camera", camera, "--user", "bob")
    assert denied(database) == {("view", camera, "bob"), ("live", camera, "bob")}
    run("user", "block", "carol", "--note", "left")
    assert ("publish", "", "carol") in denied(database)
    run("camera", "set", camera, "--status", "inactive")
    assert ("record", camera, "") in denied(database)

    noted = [event["action"] for event in run("audit", "list")["items"]]
    assert noted == ["change_camera", "block_user", "withdraw_grant", "grant"]
    assert [event["action"] for event in run("audit", "list", "--user", "carol")["items"]] == [
        "block_user"
    ]


def test_a_block_is_listed_until_it_is_lifted(run: Run) -> None:
    run("user", "block", "carol", "--note", "left")
    assert [(row["user"], row["note"]) for row in run("user", "list")["items"]] == [
        ("carol", "left")
    ]
    assert run("user", "unblock", "carol") == {"user": "carol", "blocked": False}
    assert run("user", "list") == {"items": []}


def test_a_new_path_and_a_new_owner_close_the_old_ones(run: Run, database: Database) -> None:
    camera = added(run, path="a/b")["id"]
    run("camera", "set", camera, "--path", "a/c", "--owner", "carol")
    assert {("view", "a/b", ""), ("publish", "a/b", ""), ("live", camera, "")} <= denied(database)
    run("camera", "remove", camera)
    assert ("publish", "a/c", "") in denied(database)


def test_a_path_that_was_another_cameras_is_not_given_while_nobody_can_be_disconnected(
    run: Run,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    camera = added(run, path="a/b")["id"]
    run("camera", "remove", camera)
    monkeypatch.setenv("STREAMWARDEN_MEDIAMTX_API_URL", "http://127.0.0.1:1")
    add = ("camera", "add", "--owner", "bob", "--name", "x", "--path")
    assert main([*add, "a/b"]) != 0
    assert "cannot be disconnected" in capsys.readouterr().err
    assert CameraRepository(database).list_visible(None, limit=9).items == ()
    assert run(*add, "a/fresh")["path"] == "a/fresh"


def denied(database: Database) -> set[tuple[str, str, str]]:
    pages = DenialRepository(database).pages()
    return {(row.use, row.path, row.sub) for page in pages for row in page}
