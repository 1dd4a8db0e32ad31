"""Files that programs leave for the operators' tools: the demo's settings, a server's journal."""

from __future__ import annotations

import os
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from streamwarden.cli.demo_command import write_settings
from streamwarden.config import settings as config
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


# The journal of a server that may be running


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


# The demo's settings


def test_the_tools_read_what_the_demo_has_written(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    root = tmp_path / "a 'b' \u00e9\U0001f4f7"
    write_settings(path, {"record_root": str(root), "port_base": 8080, "whep_url": None})
    settings = config.load(path, {}, {})
    assert (settings.record_root, settings.port_base) == (root, 8080)


@pytest.mark.parametrize("text", ['"', "\\", "\n\t\0", "\x7f", "\u2028", "\U0001f4f7", "a # b"])
def test_every_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    write_settings(path, {"one": text, "two": text * 2})
    assert tomllib.loads(path.read_text(encoding="utf-8")) == {"one": text, "two": text * 2}


def test_an_empty_file_of_settings_is_one_too(tmp_path: Path) -> None:
    write_settings(tmp_path / "settings.toml", {})
    assert tomllib.loads((tmp_path / "settings.toml").read_text()) == {}


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_nobody_else_may_read_the_secrets_among_them(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "settings.toml"
    if before is not None:
        path.write_text("old, and longer than the new one will be\n" * 100)
        path.chmod(before)
    old_mask = os.umask(0)
    try:
        write_settings(path, {"internal_token": "secret"})
    finally:
        os.umask(old_mask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(path.read_text()) == {"internal_token": "secret"}
