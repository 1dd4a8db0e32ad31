"""The reserve is kept whatever state the index is in, and without a free byte."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.errors import Unavailable
from streamwarden.model import Camera
from streamwarden.paths import STATE
from streamwarden.recordings import deletion_log, retention
from streamwarden.recordings.deletion_log import (
    DELETION_LOG,
    ROOM_BYTES,
    DeletionLog,
    LoggedDeletions,
)
from streamwarden.recordings.deletion_rules import DeletionRulesFile
from streamwarden.recordings.durable import free_bytes
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.retention import Retention, RetentionLimits, RulesInForce
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.storage.streams import PeriodRepository
from tests.fakes.manual_time import ManualClock
from tests.integration.recordings.harness import Recordings, at
from tests.small_disk import SmallDisk, small_disk

HOUR_S = 3_600
KIB = 1024
MIB = 1024**2


def retention_of(
    root: Path, database: Database, clock: ManualClock, *, reserve_bytes: int
) -> Retention:
    """Return a retention that keeps a reserve."""
    state = root / STATE
    limits = RetentionLimits(keep_for=timedelta(days=30), reserve_bytes=reserve_bytes)
    rules = RulesInForce(
        file=DeletionRulesFile(state),
        limits=limits.rules,
        grace=timedelta(days=1),
        known=lambda: None,
        clock=clock,
        on_waits=lambda _: None,
    )
    return Retention(
        record_root=root,
        limits=limits,
        rules=rules,
        segments=SegmentRepository(database),
        gaps=GapRepository(database),
        periods=PeriodRepository(database),
        on_deleted=lambda *_: None,
        offline=OfflineRetention(
            record_root=root,
            state=state,
            waiting_since=lambda: None,
            clock=clock,
            reckoned=rules.now,
        ),
    )


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, max_size=2, wait_s=1.0, statement_timeout_s=2.0)
    database.open()
    try:
        yield database
    finally:
        database.close()


# Moods of an index


@dataclass(frozen=True, slots=True)
class Mood:
    """A state of the database: statements that bring it about and undo it, and options of sessions."""

    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    options: str = ""


def refusing(state: str) -> Mood:
    """The table refuses every statement with a SQLSTATE."""
    return Mood(
        begin=(
            "alter table segment rename to segment_away",
            f"""create function refuse() returns setof segment_away language plpgsql as
                $$ begin raise exception 'scripted' using errcode = '{state}'; end $$""",
            "create view segment as select * from refuse()",
        ),
        end=(
            "drop view segment",
            "drop function refuse()",
            "alter table segment_away rename to segment",
        ),
    )


MOODS = {
    "read-only": Mood(options="-c default_transaction_read_only=on"),
    "without rights": Mood(
        begin=("create role nobody_may",),
        end=("drop role nobody_may",),
        options="-c role=nobody_may",
    ),
    "without its table": Mood(
        begin=("alter table segment rename to segment_away",),
        end=("alter table segment_away rename to segment",),
    ),
    "with other columns": Mood(
        begin=("alter table segment rename column holes to holes_away",),
        end=("alter table segment rename column holes_away to holes",),
    ),
    **{
        f"SQLSTATE {state}": refusing(state)
        for state in (
            *("XX001", "XX002", "53100", "53200", "53300", "0A000", "57014", "57P01", "57P03"),
            *("40001", "40P01", "55P03", "58030", "22P02", "23514", "42601", "P0001", "28000"),
        )
    },
}


@pytest.fixture
def two(made: Recordings) -> tuple[Camera, Camera]:
    """Two cameras that recorded in turns."""
    first, second = made.camera(), made.camera(wanted_s=2)
    for start_s in (0, 4, 8):
        made.record(first, start_s, start_s + 2)
        made.record(second, start_s + 2, start_s + 4)
        made.miss(first, start_s + 2, start_s + 4)
        made.miss(second, start_s + 4, start_s + 6)
    return first, second


def with_options(url: str, options: str) -> str:
    return f"{url}&options={quote(options)}" if options else url


@pytest.mark.parametrize("mood", MOODS.values(), ids=MOODS)
def test_the_reserve_is_kept_whatever_mood_the_index_is_in(
    made: Recordings,
    two: tuple[Camera, Camera],
    shared_url: str,
    mood: Mood,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = sorted((row for camera in two for row in made.rows(camera)), key=lambda r: r.started_at)
    monkeypatch.setattr(retention, "free_bytes", lambda _root: 10**6)
    clock = ManualClock(at(HOUR_S), 100.0)
    missing = rows[0].size_bytes + 1
    with ExitStack() as closing:
        for statement in mood.begin:
            made.database.execute(statement.encode())
        for statement in reversed(mood.end):
            closing.callback(made.database.execute, statement.encode())
        database = closing.enter_context(opened(with_options(shared_url, mood.options)))
        blind = retention_of(made.root, database, clock, reserve_bytes=10**6 + missing)
        assert blind.sweep()
        gone = [row for row in rows if not (made.root / row.path).exists()]
        assert gone == rows[:2]
        monkeypatch.setattr(retention, "free_bytes", lambda _root: 10**9)
        with pytest.raises(Exception, match=r"."):
            blind.sweep()  # with its reserve, it waits for the index
    assert made.verify() == []
    seeing = retention_of(made.root, made.database, clock, reserve_bytes=10**6)
    while seeing.sweep():
        pass
    assert [row for camera in two for row in made.rows(camera)] == [
        row for camera in two for row in rows[2:] if row.camera_id == camera.id
    ]
    assert made.verify() == []


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this module's own: it is damaged and stopped."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("index"), fsync=False) as server:
        migrate(server.start())
        yield server


def a_file(root: Path, number: int, size_bytes: int) -> Path:
    """Write a stored file of a camera, a minute after the last one."""
    path = (
        root
        / "alice/11111111-2222-3333-4444-555555555555/2026-01-31"
        / f"12{number // 60:02d}{number % 60:02d}.000Z-r1-{number}.mp4"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size_bytes))
    return path


def damaged(server: EmbeddedPostgres) -> Callable[[], None]:
    """Overwrite the table and all its indexes, as a bad disk does; return what undoes it."""
    with psycopg.connect(server.start()) as connection:
        connection.execute("checkpoint")
        found = connection.execute(
            "select pg_relation_filepath(oid) from pg_class where relname = 'segment'"
            " or oid in (select indexrelid from pg_index where indrelid = 'segment'::regclass)"
        ).fetchall()
        (folder,) = connection.execute("show data_directory").fetchone() or ("",)
    server.stop()
    files = {Path(folder, name): Path(folder, name).read_bytes() for (name,) in found}
    for path, content in files.items():
        path.write_bytes(bytes([0xA5]) * max(len(content), 8 * KIB))
    server.start()

    def repair() -> None:
        server.stop()
        for path, content in files.items():
            path.write_bytes(content)
        server.start()

    return repair


def stopped(server: EmbeddedPostgres) -> Callable[[], None]:
    """Stop the server's processes where they are; return what lets them go on."""
    postmaster = psutil.Process(server.pid)
    pids = [postmaster.pid, *(child.pid for child in postmaster.children())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    return go_on


@pytest.mark.parametrize("harm", [damaged, stopped])
def test_the_reserve_is_kept_by_a_server_that_is_damaged_or_stands_still(
    own_server: EmbeddedPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[EmbeddedPostgres], Callable[[], None]],
) -> None:
    root = tmp_path / "records"
    (root / STATE).mkdir(parents=True)
    files = [a_file(root, number, KIB) for number in range(4)]
    monkeypatch.setattr(retention, "free_bytes", lambda _root: 0)
    with opened(own_server.start()) as database, ExitStack() as closing:
        SegmentRepository(database).camera_ids()
        closing.callback(harm(own_server))
        clock = ManualClock(at(2 * HOUR_S), 100.0)
        assert retention_of(root, database, clock, reserve_bytes=2 * KIB).sweep()
    assert [path.exists() for path in files] == [False, False, True, True]


# Without a free byte


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 256 * MIB) as disk:
        yield disk


def test_a_disk_without_a_free_byte_is_freed_with_postgres_on_it(disk: SmallDisk) -> None:
    root = disk.folder / "records"
    (root / STATE).mkdir(parents=True)
    clock = ManualClock(at(2 * HOUR_S), 100.0)
    with EmbeddedPostgres(disk.folder / "postgres") as server:
        migrate(server.start())
        with opened(server.url) as database:
            calm = retention_of(root, database, clock, reserve_bytes=MIB)
            assert not calm.sweep()
            files = [a_file(root, number, 64 * KIB) for number in range(40)]
            disk.leave(0)
            with pytest.raises(OSError, match="No space left"):
                (root / "more").write_bytes(bytes(64 * KIB))
            # The server gives space back when it ends, and cannot even start again without any.
            server.kill()
            disk.leave(0)
            sweeper = retention_of(root, database, clock, reserve_bytes=MIB)
            assert sweeper.sweep()
            assert free_bytes(root) >= MIB
            gone = [path for path in files if not path.exists()]
            assert gone == files[: len(gone)]
            noted = (root / STATE / DELETION_LOG).read_text().split()
            assert noted == [str(path.relative_to(root)) for path in gone]


def test_a_log_that_was_never_made_keeps_no_file_on_a_full_disk(disk: SmallDisk) -> None:
    # An upgrade onto a full disk: there was no moment at which room could be made.
    root = disk.folder / "records"
    (root / STATE).mkdir(parents=True)
    files = [a_file(root, number, 16 * KIB) for number in range(6)]
    disk.leave(0)
    offline = OfflineRetention(
        record_root=root,
        state=root / STATE,
        waiting_since=lambda: None,
        clock=ManualClock(at(2 * HOUR_S), 100.0),
    )
    gone = [each.path for _ in range(4) for each in offline.delete(16 * KIB)]
    assert gone == files[: len(gone)]
    assert len(gone) >= 4
    noted = (root / STATE / DELETION_LOG).read_text().split()
    assert noted == [str(path.relative_to(root)) for path in gone]


# The log itself

NAMES = [
    f"alice/11111111-2222-3333-4444-555555555555/2026-01-31/12{m:02d}{s:02d}.000Z-r1-{m * 60 + s}.mp4"
    for m in range(60)
    for s in range(60)
]


def test_names_are_written_into_the_room_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DeletionLog(tmp_path)
    log.prepare()
    full = OSError(errno.ENOSPC, "full")
    noted = 0
    with monkeypatch.context() as patch:
        patch.setattr(DeletionLog, "_grow", lambda _: (_ for _ in ()).throw(full))
        while True:
            try:
                noted += log.add(NAMES[noted : noted + 200])
            except OSError as error:
                assert error is full  # noqa: PT017 - the loop's end
                break
        assert (tmp_path / DELETION_LOG).stat().st_size == ROOM_BYTES
    assert noted > 500
    again = DeletionLog(tmp_path)
    assert len(list(again.rows())) == noted
    assert again.add(NAMES[noted : noted + 200]) == 200
    assert len(list(log.rows())) == noted + 200
    log.clear()
    assert list(log.rows()) == []
    assert again.logged_at() is None
    assert (tmp_path / DELETION_LOG).stat().st_size == ROOM_BYTES


def test_a_log_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / DELETION_LOG
    path.write_text(f"\n{NAMES[0]}\n\n{NAMES[1]}\n{NAMES[2][:-5]}")
    log = DeletionLog(tmp_path)
    assert log.logged_at() is not None
    assert log.add(NAMES[3:5]) == 2
    assert len(list(log.rows())) == 4


def test_a_reader_sees_what_is_written_within_one_tick(tmp_path: Path) -> None:
    log, reader = DeletionLog(tmp_path), LoggedDeletions(tmp_path)
    log.prepare()
    for name in NAMES[:20]:
        (row,) = deletion_log.rows_of(f"{name}\n".encode())
        assert row not in reader
        log.add([name])
        assert row in reader


def test_nothing_is_deleted_by_name_while_the_index_answers_and_the_reserve_is_kept(
    made: Recordings, two: tuple[Camera, Camera]
) -> None:
    clock = ManualClock(at(HOUR_S), 100.0)
    with pytest.raises(Unavailable), opened("postgresql://127.0.0.1:1/none") as database:
        retention_of(made.root, database, clock, reserve_bytes=0).sweep()
    assert [len(made.files(camera)) for camera in two] == [3, 3]
