from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamwarden.errors import ConfigError
from streamwarden.ffmpeg.command import recording_argv
from streamwarden.recordings.record_root import RecordRoot, RecordRootInUse
from tests.unit.ffmpeg.run_order import SampleOrder


def test_a_second_server_is_refused_in_words_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = RecordRoot(tmp_path / "rec"), RecordRoot(tmp_path / "rec")
    first.take()
    with pytest.raises(RecordRootInUse, match="another streamwarden records into"):
        second.take()
    first.release()
    second.take()
    second.release()
    second.release()


def test_a_lock_held_by_another_process_counts_and_dies_with_it(tmp_path: Path) -> None:
    code = "import sys\nfrom pathlib import Path\n"
    code += "from streamwarden.recordings.record_root import RecordRoot\n"
    code += "RecordRoot(Path(sys.argv[1])).take()\nprint('held', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = RecordRoot(tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RecordRootInUse):
            root.take()
        holder.kill()
    root.take()
    root.release()


def test_a_root_that_cannot_be_written_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: File exists"):
        RecordRoot(tmp_path / "file" / "rec").take()


@contextmanager
def _sleeper(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    code = "print(1, flush=True); import sys; sys.stdin.read()"
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


def test_what_a_killed_server_left_recording_is_ended_and_nothing_else(tmp_path: Path) -> None:
    arguments = recording_argv("ffmpeg", SampleOrder())
    root = tmp_path / "rec"
    live = root / "alice" / "camera" / ".live"
    with (
        _sleeper(live, *arguments) as orphan,
        _sleeper(live, "-i", "an operator looks") as looking,
        _sleeper(root / "alice", *arguments) as elsewhere,
        _sleeper(tmp_path / "other" / ".live", *arguments) as of_another,
    ):
        assert RecordRoot(root).end_orphans() == [orphan.pid]
        assert orphan.wait(10) == -9
        assert [p.poll() for p in (looking, elsewhere, of_another)] == [None, None, None]
    assert RecordRoot(root).end_orphans() == []


def test_when_the_last_server_was_alive_is_known_afterwards(tmp_path: Path) -> None:
    root = RecordRoot(tmp_path)
    assert root.alive_until() is None
    root.take()
    root.heartbeat()
    root.release()
    alive = RecordRoot(tmp_path).alive_until()
    assert alive is not None
    assert abs(alive - datetime.now(UTC)) < timedelta(seconds=30)
    os.utime(tmp_path / ".streamwarden" / "alive", (0, 0))
    root.heartbeat()
    assert root.alive_until() != datetime.fromtimestamp(0, UTC)


def test_a_root_is_fresh_until_a_server_has_taken_it_once(tmp_path: Path) -> None:
    first = RecordRoot(tmp_path / "root")
    first.take()
    first.release()
    again = RecordRoot(tmp_path / "root")
    again.take()
    again.release()
    assert (first.fresh, again.fresh) == (True, False)
