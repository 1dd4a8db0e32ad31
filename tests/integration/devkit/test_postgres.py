"""The embedded Postgres: its place, its restarts, and that it never outlives us."""

from __future__ import annotations

import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.postgres_command import PostgresFailed

SERVE_FOR_EVER = """
import signal, sys
from pathlib import Path
from streamwarden.devkit.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
server.start()
print(server.pid, flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stopped cluster with one row, to copy: quicker than a new one for each test."""
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        run(server, "create table kept (n integer)")
        run(server, "insert into kept values (1)")
    return data_dir


@pytest.fixture
def data_dir(prepared: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "a folder" / "data"
    shutil.copytree(prepared, copy)
    return copy


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data_dir, fsync=False) as server:
        yield server


def run(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(statement.encode())


def kept(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.url) as connection:
        return [int(row[0]) for row in connection.execute("select n from kept order by n")]


def socket_dir(server: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(server.url).query)["host"][0])


def postmaster_of_a_killed_program(data_dir: Path) -> int:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE_FOR_EVER, str(data_dir)], stdout=subprocess.PIPE
    ) as program:
        assert program.stdout
        postmaster = int(program.stdout.readline())
        program.kill()
    return postmaster


def has_ended(pid: int) -> bool:
    """Wait until ``pid`` has ended; False after ten seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = bool(select.select([process], [], [], 10)[0])
    os.close(process)
    return ended


def test_it_listens_on_a_private_socket_and_nowhere_else(server: EmbeddedPostgres) -> None:
    place = socket_dir(server)
    with psycopg.connect(server.url) as connection:
        listening = connection.execute("show listen_addresses").fetchone()

    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert listening == ("",)


def test_rows_outlive_a_stop_and_a_kill(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, fsync=False)
    url = server.start()
    first = server.pid
    run(server, "insert into kept values (2)")

    server.kill()
    assert server.pid is None
    assert server.start() == url
    assert kept(server) == [1, 2]
    assert server.pid != first

    server.stop()
    assert server.start() == url
    assert kept(server) == [1, 2]
    server.stop()


def test_a_start_while_it_runs_and_a_stop_while_it_does_not_are_harmless(
    server: EmbeddedPostgres,
) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid

    server.stop()
    server.stop()
    server.kill()


def test_a_second_server_on_the_same_folder_is_refused_in_words(
    server: EmbeddedPostgres, data_dir: Path
) -> None:
    with pytest.raises(PostgresFailed, match=f"in use by process {os.getpid()}"):
        EmbeddedPostgres(data_dir).start()

    assert kept(server) == [1]


def test_it_dies_with_a_killed_program(data_dir: Path) -> None:
    assert has_ended(postmaster_of_a_killed_program(data_dir))


def test_it_starts_at_once_after_its_program_was_killed(data_dir: Path) -> None:
    postmaster_of_a_killed_program(data_dir)

    with EmbeddedPostgres(data_dir, fsync=False) as server:
        assert kept(server) == [1]


def test_files_that_name_a_strangers_process_do_not_keep_it_from_starting(data_dir: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        (data_dir / "cluster" / "postmaster.pid").write_text(f"{stranger.pid}\n", encoding="utf-8")
        (data_dir / "socket").mkdir(mode=0o700)
        lock = data_dir / "socket" / ".s.PGSQL.5432.lock"
        lock.write_text(f"{stranger.pid}\n", encoding="utf-8")

        with EmbeddedPostgres(data_dir, fsync=False) as server:
            assert kept(server) == [1]
        assert stranger.poll() is None
        stranger.kill()


def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "cluster.new"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n", encoding="utf-8")

    with EmbeddedPostgres(tmp_path, fsync=False) as server:
        run(server, "select 1")
    assert not unfinished.exists()


@pytest.mark.parametrize("name", ["x" * 120, "a,b"])
def test_a_path_that_no_socket_can_have_gets_its_socket_elsewhere(
    prepared: Path, tmp_path: Path, name: str
) -> None:
    data_dir = tmp_path / name
    shutil.copytree(prepared, data_dir)

    with EmbeddedPostgres(data_dir, fsync=False) as server:
        place = socket_dir(server)
        assert kept(server) == [1]
        assert place.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not place.exists()


def test_a_socket_folder_that_others_may_enter_is_refused(data_dir: Path) -> None:
    (data_dir / "socket").mkdir()
    (data_dir / "socket").chmod(0o755)

    with pytest.raises(PostgresFailed, match=r"not a folder of user \d+ alone"):
        EmbeddedPostgres(data_dir).start()


def test_a_cluster_that_cannot_be_served_says_why_and_lets_go(data_dir: Path) -> None:
    (data_dir / "cluster" / "PG_VERSION").write_text("9.6\n", encoding="utf-8")
    server = EmbeddedPostgres(data_dir)

    with pytest.raises(PostgresFailed, match="incompatible"):
        server.start()

    (data_dir / "cluster" / "PG_VERSION").write_text("18\n", encoding="utf-8")
    with EmbeddedPostgres(data_dir, fsync=False) as second:
        assert kept(second) == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become another user")
def test_root_without_user_namespaces_runs_it_as_another_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "unshare" else which(name))
    # Not below pytest's own folder, which others may not enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with EmbeddedPostgres(Path(folder) / "data", fsync=False) as server:
            run(server, "create table kept (n integer)")
            server.kill()
            server.start()
            assert kept(server) == []
            assert psutil.Process(server.pid).uids().real != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give a folder away")
def test_another_users_folder_is_refused_in_words(data_dir: Path) -> None:
    os.chown(data_dir, 12345, 12345)

    with pytest.raises(PostgresFailed, match="belongs to user 12345"):
        EmbeddedPostgres(data_dir).start()


def test_the_terminals_ctrl_c_does_not_reach_it(server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid
