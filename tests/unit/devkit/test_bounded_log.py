"""A log that stays within its bound."""

from __future__ import annotations

from pathlib import Path

from streamwarden.devkit.bounded_log import BoundedLog


def test_a_full_log_becomes_the_older_file_and_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    with BoundedLog(path, max_bytes=100) as log:
        for number in range(1000):
            log.write(b"line %d\n" % number)

    older = path.with_name("server.log.1")
    assert sorted(tmp_path.iterdir()) == [path, older]
    assert path.stat().st_size <= 100
    assert older.stat().st_size <= 100
    assert path.read_bytes().endswith(b"line 999\n")


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    for line in (b"first\n", b"second\n"):
        with BoundedLog(tmp_path / "server.log") as log:
            log.write(line)

    assert (tmp_path / "server.log").read_bytes() == b"first\nsecond\n"


def test_a_line_longer_than_the_bound_is_cut(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "server.log", max_bytes=10) as log:
        log.write(b"x" * 1000)

    assert (tmp_path / "server.log").read_bytes() == b"x" * 10


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    with BoundedLog(tmp_path / "server.log") as log:
        for number in range(30):
            log.write(b"line %d\n" % number)

        assert log.tail.splitlines() == [f"line {number}" for number in range(10, 30)]
