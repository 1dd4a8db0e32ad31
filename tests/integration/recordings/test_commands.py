"""``streamwarden recordings verify`` and ``reconcile`` as an operator and a script see them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from streamwarden.cli.main import main
from streamwarden.clock import Clock
from streamwarden.model import Camera
from streamwarden.recordings.reconcile import StartupReconcile
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.pool import Database
from streamwarden.workers import WorkerPool
from tests.fakes.manual_time import ManualTimers
from tests.integration.recordings.harness import NOON, Recordings, at

Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def camera(made: Recordings) -> Camera:
    camera = made.camera()
    made.record_all(camera, 0, 8)
    made.unwant(camera, 8)
    return camera


@pytest.fixture
def run(
    made: Recordings,
    shared_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    monkeypatch.setenv("DATABASE_URL", shared_url)
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(made.root))

    def command(*argv: str) -> tuple[int, list[dict[str, Any]]]:
        code = main(["recordings", *argv, "--json"])
        findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
        return code, findings

    return command


@pytest.mark.usefixtures("camera")
def test_where_nothing_is_wrong_the_code_is_zero_and_a_note_says_so(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify") == (0, [])
    assert run("verify", "--decode") == (0, [])
    assert run("reconcile") == (0, [])
    assert main(["recordings", "verify"]) == 0
    assert "nothing is wrong" in capsys.readouterr().err


def test_a_finding_makes_the_code_one_and_names_the_place(
    made: Recordings, camera: Camera, run: Run
) -> None:
    path = made.files(camera)[1]
    os.truncate(path, 100)
    code, findings = run("verify")
    assert code == 1
    assert findings == [
        {
            "kind": "file_cut_short",
            "camera_id": str(camera.id),
            "started_at": "2026-01-31T12:00:02.000Z",
            "ended_at": "2026-01-31T12:00:04.000Z",
            "path": str(path.relative_to(made.root)),
            "detail": f"100 bytes instead of {made.rows(camera)[1].size_bytes}",
        }
    ]


@pytest.mark.usefixtures("camera", "run")
@pytest.mark.parametrize("command", ["verify", "reconcile", "list"])
def test_an_id_that_nothing_has_is_no_good_news(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recordings", command, "--camera", str(uuid4())]) == 1
    assert "nothing is recorded under this id" in capsys.readouterr().err


def test_a_camera_without_recordings_and_one_that_was_removed_are_known(
    made: Recordings, camera: Camera, run: Run
) -> None:
    fresh = CameraRepository(made.database).add(
        name="Door", owner="alice", path="door", status="active", created_at=NOON
    )
    ids = [str(fresh.id), str(camera.id)]  # of the second one only recordings are left
    assert [run("verify", "--camera", one) for one in ids] == [(0, [])] * 2
    assert [main(["recordings", "list", "--camera", one]) for one in ids] == [0, 0]


def test_people_get_a_table_of_findings(
    made: Recordings, camera: Camera, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify")[0] == 0
    made.files(camera)[1].unlink()
    assert main(["recordings", "verify"]) == 1
    out = capsys.readouterr().out.splitlines()
    head, row = out[:2]
    assert "wanted" in " ".join(out[2:])
    assert head.split()[:2] == ["kind", "camera_id"]
    assert row.split()[:3] == ["file_missing", str(camera.id), "2026-01-31T12:00:02.000Z"]


def test_quick_decode_camera_and_time_choose_what_is_looked_at(
    made: Recordings, camera: Camera, run: Run
) -> None:
    path = made.files(camera)[3]
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    assert run("verify")[0] == 1
    assert run("verify", "--quick") == (0, [])
    other = made.camera()
    assert run("verify", "--camera", str(other.id)) == (0, [])
    assert run("verify", "--camera", str(camera.id))[0] == 1
    assert run("verify", "--to", "2026-01-31T12:00:06Z") == (0, [])
    assert run("verify", "--from", "2026-01-31T12:00:06Z")[0] == 1
    assert run("verify", "--from", "2026-01-31T12:00:08Z") == (0, [])
    path.write_bytes(bytes(len(content)))
    code, findings = run("verify", "--quick", "--decode")
    assert (code, [one["kind"] for one in findings]) == (1, ["file_unreadable"])


@pytest.mark.usefixtures("run")
def test_a_range_that_ends_before_it_begins_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in ("verify", "reconcile"):
        argv = ["recordings", command, "--from", "2026-02-01", "--to", "2026-01-01"]
        assert main(argv) == 2
        assert "--from must be before --to" in capsys.readouterr().err


def test_without_its_folder_or_its_database_a_check_fails_and_changes_nothing(
    made: Recordings,
    camera: Camera,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = made.rows(camera)
    assert run("verify")[0] == 0
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(made.root / "not mounted"))
    assert main(["recordings", "reconcile"]) == 1
    assert "is not a folder" in capsys.readouterr().err
    assert made.rows(camera) == rows
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(made.root))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hidden@127.0.0.1:1/none")
    assert main(["recordings", "verify"]) == 1
    said = capsys.readouterr().err
    assert "database does not answer" in said
    assert "hidden" not in said


def test_reconcile_says_what_became_of_each_and_fails_for_what_it_could_not_mend(
    made: Recordings, camera: Camera, run: Run
) -> None:
    files = made.files(camera)
    files[0].unlink()
    code, findings = run("reconcile")
    assert (code, [one["mended"] for one in findings]) == (0, ["lost: entered in the ledger"])
    os.truncate(files[1], 100)
    code, findings = run("reconcile")
    assert (code, [one["mended"] for one in findings]) == (1, [None])
    assert made.rows(camera)[0].path == str(files[1].relative_to(made.root))


# At the start of a server


class LateClock(Clock):
    """The server starts a minute after noon."""

    def now(self) -> Any:  # noqa: ANN401 - a datetime, as the clock's own
        return at(60)


def start(made: Recordings, database: Database, timers: ManualTimers) -> None:
    pool = WorkerPool("test", threads=1)
    StartupReconcile(
        record_root=made.root,
        database=database,
        clock=LateClock(),
        workers=pool,
        timers=timers,
    ).begin()
    pool.close()


def test_a_server_indexes_at_its_start_what_a_power_cut_took_from_the_index(
    made: Recordings, camera: Camera, database: Database
) -> None:
    before = made.rows(camera)
    made.forget_rows(before[1].id, before[3].id)
    start(made, database, ManualTimers())
    assert made.rows(camera) == before


def test_a_server_that_is_being_stopped_looks_at_no_further_camera(
    made: Recordings, camera: Camera, database: Database
) -> None:
    made.forget_rows(made.rows(camera)[1].id)
    left = made.rows(camera)
    pool = WorkerPool("test", threads=1)
    check = StartupReconcile(
        record_root=made.root,
        database=database,
        clock=LateClock(),
        workers=pool,
        timers=ManualTimers(),
    )
    check.stop()
    check.begin()
    pool.close()
    assert made.rows(camera) == left


def test_only_the_last_two_hours_are_looked_at(made: Recordings, database: Database) -> None:
    camera = made.camera(wanted_s=-7300)
    made.record(camera, -7300, -7298)
    made.unwant(camera, -7298)
    made.forget_rows(made.rows(camera)[0].id)
    start(made, database, ManualTimers())
    assert made.rows(camera) == []


def test_while_postgres_is_away_it_tries_again_later(made: Recordings, camera: Camera) -> None:
    away, timers = Database("postgresql://nobody@127.0.0.1:1/none", wait_s=0.1), ManualTimers()
    away.open()
    made.forget_rows(made.rows(camera)[0].id)
    start(made, away, timers)
    away.close()
    assert timers.pending() == [30.0]
    assert len(made.rows(camera)) == 3
    assert made.rows(camera)[0].started_at > NOON
