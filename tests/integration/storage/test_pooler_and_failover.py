"""Postgres as people run it: behind PgBouncer, and as a primary with a standby that takes over."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.postgres_command import ENVIRONMENT, find_binaries, run_as
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.storage.refusals import StorageUnavailable
from streamwarden.storage.streams import SettingsRepository
from tests.acceptance.faults import instant
from tests.acceptance.pressure import had_s
from tests.acceptance.waiting import wait_for
from tests.fakes.storage_samples import a_segment

WITHIN_S = 10.0
CAMERA = UUID(int=7)


@contextmanager
def opened(url: str, **options: float) -> Iterator[Database]:
    database = Database(url, max_size=4, wait_s=1.0, **options)  # type: ignore[arg-type] # floats only
    database.open()
    try:
        yield database
    finally:
        database.close()


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# PgBouncer


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("behind"), fsync=False) as server:
        with psycopg.connect(server.start(), autocommit=True) as connection:
            # So that a session that was lent before is noticed by its zone.
            connection.execute("alter database postgres set timezone = 'Asia/Taipei'")
        yield server


@pytest.fixture(params=["transaction", "session"])
def pooled_url(
    request: pytest.FixtureRequest, tmp_path: Path, behind: EmbeddedPostgres
) -> Iterator[str]:
    """PgBouncer with its defaults and two sessions of the server, which it lends in turn."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
    port, given = free_port(), parse_qs(urlsplit(behind.url).query)
    user = urlsplit(behind.url).username
    (tmp_path / "pgbouncer.ini").write_text(
        f"""[databases]
sw = host={given["host"][0]} port={given["port"][0]} dbname=postgres user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = {request.param}
default_pool_size = 8
server_round_robin = 1
unix_socket_dir =
"""
    )
    argv = [program, str(tmp_path / "pgbouncer.ini")]
    user_of = run_as()
    process = subprocess.Popen(
        [*user_of.prefix, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:

        def listens() -> bool:
            with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port))):
                return True
            return False

        wait_for("PgBouncer to listen", listens)
        yield f"postgresql://{user}@127.0.0.1:{port}/sw"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_a_pooler_is_migrated_through_and_worked_through(pooled_url: str) -> None:
    migrate(pooled_url)
    assert migrate(pooled_url) == []
    with opened(pooled_url) as database:
        segments, settings = SegmentRepository(database), SettingsRepository(database)
        segments.insert_many([a_segment(CAMERA, start=0, end=10)])
        failures: list[BaseException] = []

        def work() -> None:
            try:
                # psycopg prepares a statement at its fifth execution.
                for _ in range(20):
                    assert segments.latest(CAMERA) is not None
                    settings.get("a")
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        database.execute(b"truncate segment")


def test_a_pooled_session_speaks_utc_and_has_a_time_limit(pooled_url: str) -> None:
    with opened(pooled_url, statement_timeout_s=0.5) as database:
        for _ in range(8):
            found = database.fetch_values(
                b"select current_setting('TimeZone') || current_setting('statement_timeout')"
            )
            assert found == ["UTC500ms"]
        with pytest.raises(StorageUnavailable, match="too long"):
            database.execute(b"select pg_sleep(5)")


# A standby


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary, and a standby that follows it."""
    primary, standby = EmbeddedPostgres(tmp_path / "a"), EmbeddedPostgres(tmp_path / "b")
    with ExitStack() as stopping:
        stopping.callback(primary.stop)
        stopping.callback(standby.stop)
        migrate(primary.start())
        given, user = parse_qs(urlsplit(primary.url).query), run_as()
        folder = tmp_path / "b"
        folder.mkdir()
        user.give(folder)
        done = subprocess.run(
            [
                *(*user.prefix, str(find_binaries() / "pg_basebackup"), "--write-recovery-conf"),
                *("-D", str(folder / "cluster"), "-h", given["host"][0], "-p", given["port"][0]),
                *("-U", str(urlsplit(primary.url).username), "-X", "stream", "-c", "fast"),
            ],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"no standby can be made here: {done.stderr.strip()}")
        standby.start()
        yield primary, standby


def promote(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("select pg_promote(true, 30)")


def demote(server: EmbeddedPostgres, folder: Path) -> None:
    """Start a stopped primary as a standby, which follows nobody."""
    (folder / "cluster" / "standby.signal").touch()
    run_as().give(folder / "cluster" / "standby.signal")
    server.start()


def seconds_until_written(database: Database) -> float:
    began = instant()
    while had_s(began, instant()) < WITHIN_S * 3:
        try:
            SettingsRepository(database).put("a", 1)
        except StorageUnavailable:
            continue
        return had_s(began, instant())
    pytest.fail("no server was found that can be written to")


def both(one: EmbeddedPostgres, other: EmbeddedPostgres) -> str:
    hosts = [parse_qs(urlsplit(server.url).query)["host"][0] for server in (one, other)]
    user = urlsplit(one.url).username
    return f"postgresql://{user}@/postgres?host={','.join(hosts)}&port=5432,5432"


def test_of_two_hosts_the_new_primary_is_followed(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path
) -> None:
    primary, standby = pair
    with opened(both(standby, primary)) as database:
        assert seconds_until_written(database) < WITHIN_S
        database.check()
        primary.kill()
        promote(standby)
        assert seconds_until_written(database) < WITHIN_S
        demote(primary, tmp_path / "a")
        assert seconds_until_written(database) < WITHIN_S


class Endpoint:
    """An address that moves: each new connection is led to the server of the moment; old ones stay."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.target = ""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=_forward, args=(client, self.target), daemon=True).start()


def _forward(client: socket.socket, target: str) -> None:
    with client, socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(target)
        except OSError:
            return
        back = threading.Thread(target=_pipe, args=(server, client), daemon=True)
        back.start()
        _pipe(client, server)
        back.join()


def _pipe(from_: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := from_.recv(65_536):
            to.sendall(data)
    for each in (from_, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def socket_of(server: EmbeddedPostgres) -> str:
    return f"{parse_qs(urlsplit(server.url).query)['host'][0]}/.s.PGSQL.5432"


def is_read_only(ask: Callable[[], None]) -> bool:
    with pytest.raises(StorageUnavailable) as found:
        ask()
    return "read-only" in str(found.value)


def reads(settings: SettingsRepository) -> bool:
    try:
        return settings.get("a") == 1
    except StorageUnavailable:
        return False


def test_an_address_that_moves_late_is_followed(
    pair: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path
) -> None:
    primary, standby = pair
    endpoint = Endpoint(tmp_path / "e")
    with closing(endpoint):
        endpoint.target = socket_of(primary)
        user = urlsplit(primary.url).username
        url = f"postgresql://{user}@/postgres?host={endpoint.folder}&port=5432"
        with opened(url) as database:
            assert seconds_until_written(database) < WITHIN_S
            primary.kill()
            promote(standby)
            # The address still leads to the old primary when it is back as a standby.
            demote(primary, tmp_path / "a")

            settings = SettingsRepository(database)
            for ask in (database.check, partial(settings.put, "a", 2)):
                wait_for("a word of the demoted primary", partial(is_read_only, ask))
            # It can be read meanwhile.
            wait_for("the setting", partial(reads, settings))
            endpoint.target = socket_of(standby)
            assert seconds_until_written(database) < WITHIN_S
            database.check()
