"""What an installation keeps: over an upgrade, and when its database is lost and its files are not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from streamwarden.cli.main import main
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.paths import segment_id
from streamwarden.storage.migrate import known_migrations, migrate
from tests.acceptance.camera_kinds import tracks
from tests.acceptance.footage import complaints, file_of, stored_files
from tests.acceptance.installation import OWNER, Installation, database_with_password
from tests.acceptance.program import Program, programs
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

Operator = Callable[..., dict[str, Any]]

CLIP_S = 2
CLIPS = 3
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
OLD = Path(__file__).with_name("old") / "at_0001.sql"
_FRAGMENTS = "movflags=+frag_keyframe+empty_moov+default_base_moof:frag_duration=1000000"


pytestmark = pytest.mark.slow


def at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def url(postgres_server: EmbeddedPostgres) -> str:
    """An empty database."""
    return database_with_password(postgres_server, "open-sesame-of-an-old-database")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    with programs(tmp_path) as make:
        yield make


@pytest.fixture
def installation(
    tmp_path: Path, make: Callable[..., Program], url: str, ffmpeg: str
) -> Iterator[Installation]:
    """An installation that is not yet started."""
    installation = Installation(tmp_path, make, database_url=url, ffmpeg=ffmpeg)
    yield installation
    installation.close()


@pytest.fixture
def operator(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Operator:
    """An operators' tool, in this process: what it prints. A code other than 0 fails the test."""

    def call(*words: str) -> dict[str, Any]:
        for name, value in installation.environ(installation.database_url).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main([*words, "--json"])
        shown = capsys.readouterr()
        assert code == 0, shown.out + shown.err
        said: dict[str, Any] = json.loads(shown.out)
        return said

    return call


def old_segments(ffmpeg: str, folder: Path, camera_id: UUID) -> list[dict[str, object]]:
    """Make the files that version 0.1 has left, and return what its index says of them."""
    argv = [ffmpeg, "-v", "error", "-nostdin"]
    argv += ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25[out0];sine[out1]", "-c:a", "aac"]
    argv += ["-t", str(CLIP_S * CLIPS), "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"]
    argv += ["-pix_fmt", "yuv420p", "-f", "segment", "-segment_time", str(CLIP_S)]
    argv += ["-reset_timestamps", "1", "-segment_format", "mp4"]
    argv += ["-segment_format_options", _FRAGMENTS, "clip-%d.mp4"]
    subprocess.run(argv, cwd=folder.parent, check=True, timeout=60)
    return [old_segment(folder, number, camera_id) for number in range(CLIPS)]


def old_segment(folder: Path, number: int, camera_id: UUID) -> dict[str, object]:
    started = BEGAN + timedelta(seconds=CLIP_S * number)
    path = folder / f"{started:%Y-%m-%d}" / f"{started:%H%M%S}.000Z-r1-{number + 1}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / f"clip-{number}.mp4").rename(path)
    return {
        "id": segment_id(camera_id, 1, number + 1),
        "number": number + 1,
        "started_at": started,
        "ended_at": started + timedelta(seconds=CLIP_S),
        "size_bytes": path.stat().st_size,
        "path": str(path.relative_to(folder.parents[1])),
    }


def write_old_installation(installation: Installation, url: str, ffmpeg: str) -> UUID:
    """Leave on disk and in Postgres what the first version left when it was last stopped."""
    camera_id = uuid4()
    folder = installation.record_root / OWNER / str(camera_id)
    folder.parent.mkdir(parents=True, mode=0o700)
    folder.mkdir()
    rows = old_segments(ffmpeg, folder, camera_id)
    migrate(url, known=known_migrations()[:1])
    camera = {
        "camera_id": camera_id, "owner": OWNER, "began": at(0), "ended": at(CLIP_S * CLIPS),
        "gap_id": uuid4(),
    }  # fmt: skip
    write_old_ledger(folder, camera)
    with psycopg.connect(url) as connection:
        for statement in OLD.read_text(encoding="utf-8").split(";\n"):
            many = rows if "%(number)s" in statement else [{}]
            for row in many:
                connection.execute(statement.encode(), camera | row)
    return camera_id


def write_old_ledger(folder: Path, camera: dict[str, object]) -> None:
    """The camera's own account on disk, as it was when the server was stopped in order."""
    (folder / ".live").mkdir()
    gap = {"id": str(camera["gap_id"]), "started_at": camera["ended"], "cause": "shutdown"}
    ledger = {"covered_until": camera["ended"], "gap": gap, "last_segment": None}
    (folder / ".live" / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")


def test_an_old_installation_is_carried_forward_and_goes_on_recording(
    installation: Installation, url: str, ffmpeg: str, operator: Operator
) -> None:
    camera_id = write_old_installation(installation, url, ffmpeg)
    installation.start()
    with psycopg.connect(url) as connection:
        applied = connection.execute("select version from schema_migration").fetchall()
    assert len(applied) == len(known_migrations()) > 1

    camera = CameraUser(installation.user(OWNER), str(camera_id))
    # What was wanted is wanted: nobody presses a button.
    camera.await_status(lambda status: status["status"] != "stopped")
    installation.publish(camera)
    camera.await_status("running")
    new = camera.await_segments(1, run_after=1)
    old = [one for one in camera.segments() if one["run"] == 1]
    assert [one["media_seconds"] for one in old] == [float(CLIP_S)] * CLIPS
    assert camera.gaps()[0]["cause"] == "shutdown"
    assert_all_play(camera, [*old, *new], installation, ffmpeg)
    stop(installation)
    assert operator("recordings", "verify")["findings"] == []


def two_seconds(installation: Installation) -> None:
    """Have segments that a test can wait for."""
    answer = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
    assert answer.status == 200


def assert_all_play(
    camera: CameraUser, segments: list[Item], installation: Installation, ffmpeg: str
) -> None:
    folder = installation.record_root / OWNER / camera.camera_id
    for segment in segments:
        assert camera.file(segment).status == 200
        file = file_of(folder, segment)
        # Sound that came late, or not at all, is in none of a file's tracks.
        sound = tracks(ffmpeg, file)[1] is not None
        assert complaints(ffmpeg, file, sound=sound) == ""


def stop(installation: Installation) -> None:
    for program in (installation.streaming, installation.api):
        assert program.stop() == 0


def essence(items: list[Item]) -> list[tuple[str, int, int, str]]:
    return [(one["id"], one["run"], one["bytes"], one["started_at"]) for one in items]


def test_a_lost_database_is_made_again_from_the_files_alone(
    installation: Installation, ffmpeg: str, operator: Operator, postgres_server: EmbeddedPostgres
) -> None:
    installation.start()
    two_seconds(installation)
    camera = installation.camera()
    pushing = installation.publish(camera)
    camera.connect()
    camera.await_segments(2)
    camera.disconnect()
    camera.await_status("stopped")
    folder = installation.record_root / OWNER / camera.camera_id
    wait_for("a row for each file", lambda: all_indexed(camera, folder))
    before = camera.segments()
    stop(installation)

    # As docs/operating.md says it.
    installation.move_to(database_with_password(postgres_server, "open-sesame-of-a-new-database"))
    state = installation.record_root / ".streamwarden"
    shutil.rmtree(state)
    state.mkdir()  # so that a disk that is not mounted is not taken for a lost index
    operator("migrate")
    operator("camera", "add", "--id", camera.camera_id, "--owner", OWNER, "--name", "Door")
    mended = operator("recordings", "reconcile")["findings"]
    assert {one["kind"] for one in mended} == {"row_missing"}
    assert len(mended) == len(before)
    assert operator("recordings", "verify")["findings"] == []

    installation.start()
    after = camera.segments()
    assert essence(after) == essence(before)
    assert_all_play(camera, after, installation, ffmpeg)
    # A new run takes no number that a file has already.
    two_seconds(installation)
    pushing.restart()
    camera.connect()
    last = max(one["run"] for one in before)
    camera.await_segments(1, run_after=last)


def all_indexed(camera: CameraUser, folder: Path) -> bool:
    return {file_of(folder, one) for one in camera.segments()} == set(stored_files(folder))


@pytest.mark.parametrize("command", [("migrate",), ("serve", "--role", "api")])
def test_a_database_of_a_newer_version_is_refused_in_words_and_not_touched(
    installation: Installation, url: str, command: tuple[str, ...], make: Callable[..., Program]
) -> None:
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute(
            "insert into schema_migration (version, name, checksum) values (9999, 'later', 'x')"
        )
    program = make(*command, environ=installation.environ(url)).start()
    assert program.await_exit() == 1
    assert "run a newer streamwarden" in program.stderr
    assert "Traceback" not in program.stderr
