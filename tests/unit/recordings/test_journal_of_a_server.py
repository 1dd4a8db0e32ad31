"""The journal of a server that may be running, as other commands read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from streamwarden.model import Gap, Segment
from streamwarden.recordings.reconcile import verifier
from streamwarden.storage.journal import Entry, Journal, encode, read_pending

NOON = datetime(2026, 1, 31, 12, 0, 0, 125000, tzinfo=UTC)


def a_segment(number: int = 0) -> Segment:
    return Segment(
        id=uuid4(),
        camera_id=uuid4(),
        owner="alice",
        run=1,
        number=number,
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=2),
        media_ms=2000,
        size_bytes=99,
        path="alice/x.mp4",
        digest=b"\0\xff",
    )


def a_gap() -> Gap:
    return Gap(id=uuid4(), camera_id=uuid4(), started_at=NOON, ended_at=None, cause="stalled")


def test_all_rows_on_their_way_are_read_and_none_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    rows: list[Entry] = [a_segment(), a_gap(), a_segment(1)]
    journal = Journal(path)
    journal.append(rows, NOON)
    before = path.read_bytes()
    assert read_pending(path) == rows
    assert path.read_bytes() == before
    assert journal.take(9).entries == tuple(rows)
    journal.close()


def test_rows_that_postgres_has_already_may_be_read_again(tmp_path: Path) -> None:
    path, rows = tmp_path / "journal", [a_segment(), a_segment(1)]
    journal = Journal(path)
    journal.append(rows, NOON)
    journal.done(journal.take(1))
    assert read_pending(path) == rows
    journal.done(journal.take(1))
    assert read_pending(path) == []
    journal.close()


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    row = a_segment()
    path = tmp_path / "journal"
    following = encode(a_gap(), NOON)
    for cut in (0, 1, len(following) // 2, len(following) - 1):
        path.write_bytes(encode(row, NOON) + following[:cut])
        assert read_pending(path) == [row]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"kind": "gap"}\n'])
def test_a_line_that_cannot_be_read_is_passed_over(tmp_path: Path, line: bytes) -> None:
    row = a_gap()
    path = tmp_path / "journal"
    path.write_bytes(line + encode(row, NOON))
    assert read_pending(path) == [row]


def test_where_no_server_ever_ran_nothing_is_pending(tmp_path: Path) -> None:
    assert read_pending(tmp_path / "journal") == []
    assert verifier(tmp_path, None)._pending() == []  # type: ignore[arg-type]
