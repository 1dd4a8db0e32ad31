from __future__ import annotations

import errno
import json
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Gap, Segment
from streamwarden.storage import journal as journal_module
from streamwarden.storage.journal import Journal, decode, encode, read_pending

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAMERA = UUID(int=7)


def segment(number: int = 0) -> Segment:
    return Segment(
        id=UUID(int=1000 + number),
        camera_id=CAMERA,
        owner="ümläut ~ 子\n",
        run=1,
        number=number,
        started_at=NOW,
        ended_at=NOW + timedelta(milliseconds=30_125),
        media_ms=30_000,
        size_bytes=123_456,
        path=f"otto/{CAMERA}/2026-03-01/120000.000Z-r1-{number}.mp4",
        salvaged=True,
        digest=bytes(range(32)),
    )


GAP = Gap(id=uuid4(), camera_id=CAMERA, started_at=NOW, ended_at=None, cause="stalled")


def test_a_line_that_ends_otherwise_or_is_absurdly_long_holds_up_no_row(path: Path) -> None:
    """A carriage return made the offsets wrong; a line longer than one read was never dropped."""
    rows = [encode(segment(number), NOW) for number in range(3)]
    path.write_bytes(
        rows[0] + b"torn\rby\x0bthe disk\n" + rows[1] + bytes(9 << 20) + b"\n" + rows[2]
    )
    with closing(Journal(path)) as journal:
        found: list[object] = []
        for _ in range(9):
            batch = journal.take(1)
            found += batch.entries
            journal.done(batch)
        assert found == [segment(0), segment(1), segment(2)]
        assert path.stat().st_size == 0
    assert not read_pending(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"started_at": None}, {"started_at": "2026-03-01T12:00:00"}, {"media_ms": "1"}, {"run": 2**70},
        {"owner": "\ud800"}, {"owner": "\0"}, {"salvaged": 7}, {"path": None}, {"number": True},
    ],
)  # fmt: skip
def test_a_row_that_postgres_would_refuse_is_none(changed: dict[str, object]) -> None:
    """It would be refused at every try, and hold up what is behind it."""
    fields = json.loads(encode(segment(), NOW))
    assert decode(json.dumps(fields).encode()) == segment()
    assert decode(json.dumps(fields | changed).encode()) is None


def test_a_line_of_json_nested_without_end_is_no_row() -> None:
    assert decode(b"[" * 100_000) is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def numbers(journal: Journal, limit: int = 1000) -> list[int]:
    rows = journal.take(limit).entries
    return [row.number for row in rows if isinstance(row, Segment)]


def drain(journal: Journal, limit: int = 1000) -> int:
    batch = journal.take(limit)
    journal.done(batch)
    return batch.lines + batch.refused


@pytest.mark.parametrize(
    "row",
    [
        segment(),
        replace(segment(), digest=None, salvaged=False),
        replace(segment(), standing=True),
        GAP,
        replace(GAP, ended_at=NOW + timedelta(hours=1)),
    ],
)
def test_a_row_comes_out_as_it_went_in(row: Segment | Gap) -> None:
    assert decode(encode(row, NOW)) == row
    assert encode(row, NOW).count(b"\n") == 1
    # An earlier version could not read a field that it does not know.
    assert b"standing" not in encode(row, NOW)


def test_rows_come_out_in_the_order_in_which_they_went_in(journal: Journal) -> None:
    journal.append([segment(0), GAP], NOW)
    journal.append([segment(1)], NOW)
    assert journal.take(10).entries == (segment(0), GAP, segment(1))
    assert journal.waiting == 3


def test_taking_drops_nothing_and_done_drops_what_was_taken(journal: Journal) -> None:
    journal.append([segment(n) for n in range(5)], NOW)
    batch = journal.take(2)
    assert numbers(journal, 2) == [0, 1]
    journal.append([segment(5)], NOW)
    journal.done(batch)
    assert numbers(journal) == [2, 3, 4, 5]
    assert journal.waiting == 4


def test_an_empty_journal_gives_nothing(journal: Journal) -> None:
    assert drain(journal) == 0
    assert journal.waiting_since() is None


def test_what_has_been_drained_takes_no_room(journal: Journal, path: Path) -> None:
    journal.append([segment(n) for n in range(5)], NOW)
    drain(journal, 3)
    assert path.stat().st_size > 0
    drain(journal)
    assert path.stat().st_size == 0
    journal.append([segment(9)], NOW)
    assert numbers(journal) == [9]


def test_what_waits_survives_a_crash_and_is_read_again(path: Path) -> None:
    crashed = Journal(path)
    crashed.append([segment(n) for n in range(4)], NOW)
    crashed.done(crashed.take(2))
    with closing(Journal(path)) as journal:
        assert journal.waiting == 4
        assert numbers(journal) == [0, 1, 2, 3]
    crashed.close()


def test_a_line_that_a_crash_has_torn_is_cut_off(path: Path) -> None:
    whole, torn = encode(segment(0), NOW), encode(segment(1), NOW)[:-7]
    path.write_bytes(whole + torn)
    with closing(Journal(path)) as journal:
        assert journal.waiting == 1
        assert path.read_bytes() == whole
        journal.append([segment(2)], NOW)
        assert numbers(journal) == [0, 2]
        assert drain(journal) == 2
        assert journal.waiting == 0


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[]\n", b"null\n", b'{"kind": "gap"}\n', b"\xff\xfe\n", b"\x00" * 9 + b"\n"],
)
def test_a_line_that_cannot_be_read_is_passed_over(path: Path, line: bytes) -> None:
    path.write_bytes(line + encode(segment(1), NOW))
    with closing(Journal(path)) as journal:
        assert numbers(journal) == [1]
        assert drain(journal) == 2
        assert journal.waiting == 0


def test_others_may_read_what_waits_without_changing_it(journal: Journal, path: Path) -> None:
    journal.append([segment(0), GAP], NOW)
    with path.open("ab") as file:
        file.write(b'{"torn')
    assert read_pending(path) == [segment(0), GAP]
    assert read_pending(path.with_name("none")) == []


def test_every_append_is_reported(journal: Journal) -> None:
    told: list[int] = []
    journal.tell(lambda: told.append(journal.waiting))
    journal.append([segment(0)], NOW)
    journal.append([segment(1)], NOW)
    assert told == [1, 2]


def test_the_oldest_row_says_since_when(journal: Journal) -> None:
    journal.append([segment(0)], NOW)
    journal.append([segment(1)], NOW + timedelta(seconds=9))
    assert journal.waiting_since() == NOW
    drain(journal, 1)
    assert journal.waiting_since() == NOW + timedelta(seconds=9)
    drain(journal)
    assert journal.waiting_since() is None
    journal.append([segment(2)], NOW + timedelta(seconds=20))
    assert journal.waiting_since() == NOW + timedelta(seconds=20)


def test_since_when_a_row_waits_is_known_after_a_restart(path: Path) -> None:
    with closing(Journal(path)) as before:
        before.append([segment(0)], NOW)
    with closing(Journal(path)) as journal:
        assert journal.waiting_since() == NOW


def test_a_row_of_a_version_that_noted_no_time_is_stored_like_any_other(path: Path) -> None:
    line = encode(segment(3), NOW).replace(b'"appended_at"', b'"unknown"', 1)
    assert decode(line) is None
    fields = json.loads(encode(segment(3), NOW))
    del fields["appended_at"]
    path.write_text(json.dumps(fields) + "\n")
    with closing(Journal(path)) as journal:
        assert journal.waiting_since() is None
        assert numbers(journal) == [3]


def test_a_journal_that_is_never_empty_does_not_grow_for_ever(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_COMPACT_BYTES", 4096)
    journal.append([segment(0)], NOW)
    sizes = []
    for number in range(1, 200):
        journal.append([segment(number)], NOW)
        assert numbers(journal, 1) == [number - 1]
        drain(journal, 1)
        sizes.append(path.stat().st_size)
    assert max(sizes) < 3 * 4096
    assert numbers(journal) == [199]
    with closing(Journal(path)) as again:
        assert numbers(again)[-1] == 199


class FullDisk:
    """A disk that takes only so many more bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._write: Callable[[int, bytes, int], int] = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, fd: int, data: bytes, position: int) -> int:
        if self.room is None:
            return self._write(fd, data, position)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "scripted")
        written = self._write(fd, data[: self.room], position)
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    return FullDisk(monkeypatch)


@pytest.mark.parametrize("room", [0, 40])
def test_what_a_full_disk_refuses_waits_in_memory(
    journal: Journal, disk: FullDisk, path: Path, room: int
) -> None:
    journal.append([segment(0)], NOW)
    size = path.stat().st_size
    disk.room = room
    journal.append([segment(1), GAP], NOW)
    assert path.stat().st_size == size
    assert journal.waiting == 3
    disk.room = None
    journal.append([segment(2)], NOW)
    assert numbers(journal) == [0, 2, 1]
    assert drain(journal, 3) == 3
    assert drain(journal) == 1
    assert journal.waiting == 0


def test_memory_holds_so_much_and_no_more(
    journal: Journal, disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_KEPT_IN_MEMORY", 5)
    disk.room = 0
    for number in range(5):
        journal.append([segment(number)], NOW)
    with pytest.raises(OSError, match="scripted"):
        journal.append([segment(5)], NOW)
    assert journal.waiting == 5
    drain(journal, 2)
    journal.append([segment(5)], NOW)
    assert numbers(journal) == [2, 3, 4, 5]


def test_a_long_journal_is_read_piece_by_piece(path: Path) -> None:
    lines = encode(segment(0), NOW) * 1000
    with path.open("wb") as file:
        for _ in range(100):
            file.write(lines)
    tracemalloc.start()
    with closing(Journal(path)) as journal:
        assert journal.waiting == 100_000
        for _ in range(3):
            assert drain(journal) == 1000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert journal.waiting == 97_000
    assert peak < 16 * 1024 * 1024


def test_only_its_owner_may_read_the_journal(journal: Journal, path: Path) -> None:
    del journal
    assert path.stat().st_mode & 0o077 == 0


def test_a_journal_is_in_memory_until_its_root_is_known(path: Path) -> None:
    with closing(Journal(path)) as before:
        before.append([segment(0)], NOW)
    with closing(Journal(path, opened=False)) as journal:
        journal.append([segment(1)], NOW)
        assert numbers(journal) == [1]
        journal.open()
        assert numbers(journal) == [0, 1]
    with closing(Journal(path)) as again:
        assert numbers(again) == [0, 1]


def test_a_journal_goes_on_in_the_file_that_is_at_its_path_now(
    journal: Journal, path: Path
) -> None:
    journal.append([segment(0), segment(1)], NOW)
    drain(journal, 1)
    journal.open()  # the same file: nothing happens
    assert numbers(journal) == [1]
    path.rename(path.with_name("gone"))
    with closing(Journal(path)) as other:
        other.append([segment(7)], NOW)
    journal.open()
    assert numbers(journal) == [7, 1]
    assert journal.waiting == 2
    journal.append([segment(2)], NOW)
    with closing(Journal(path)) as again:
        assert numbers(again) == [7, 1, 2]


def test_on_a_read_only_disk_rows_still_find_their_way_to_the_index(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "pwrite", refuse)
    monkeypatch.setattr(os, "ftruncate", refuse)
    journal.append([segment(3)], NOW)
    assert numbers(journal) == [3]
    drain(journal)
    assert (numbers(journal), journal.waiting) == ([], 0)


def test_how_long_rows_wait_is_shown_while_the_disk_hangs(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([segment(1)], NOW)
    hangs, go_on = threading.Event(), threading.Event()
    write = journal_module._write_whole

    def hang(fd: int, data: bytes, position: int) -> None:
        hangs.set()
        assert go_on.wait(60)
        write(fd, data, position)

    monkeypatch.setattr(journal_module, "_write_whole", hang)
    writer = threading.Thread(target=journal.append, args=([segment(2)], NOW + timedelta(hours=1)))
    writer.start()
    assert hangs.wait(60)
    shown: list[datetime | None] = []
    reader = threading.Thread(target=lambda: shown.append(journal.waiting_since()), daemon=True)
    reader.start()
    reader.join(10)
    go_on.set()
    writer.join(60)
    assert shown == [NOW]
    assert drain(journal) == 2
    assert journal.waiting_since() is None
