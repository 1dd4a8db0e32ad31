"""Looks at a disk that answers, that does not, and that answers again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamwarden.ffmpeg.looks import MAX_THREADS, DiskLooks, Look, Question, look_at
from tests.fakes.manual_time import DEADLINE_S


class HangingDisk:
    """A disk whose files hang by name until it is let go."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def look(self, path: Path, *, holds_media: bool, measure: bool) -> Look:
        del measure
        self.begun.release()
        if path.name in self.hanging:
            assert self.go_on.wait(DEADLINE_S)
        return Look(exists=True, size_bytes=1, holds_media=holds_media)


class Asker:
    """The watching thread's side: answers arrive in a queue and are taken in the test's thread."""

    def __init__(self, disk: HangingDisk) -> None:
        self.now_s = 0.0
        self.answers: list[str] = []
        self._delivered = threading.Semaphore(0)
        self.looks = DiskLooks(self._deliver, look=disk.look, now=lambda: self.now_s)

    def _deliver(self, call: Callable[[], None]) -> None:
        del call
        self._delivered.release()

    def ask(self, *names: str) -> None:
        def noted(name: str) -> Callable[[Look, float], None]:
            return lambda _look, _done_s: self.answers.append(name)

        self.looks.ask([Question(Path(name), True, noted(name)) for name in names])

    def take(self) -> list[str]:
        assert self._delivered.acquire(timeout=DEADLINE_S)
        self.looks.answer()
        return self.answers


@pytest.fixture
def disk() -> Iterator[HangingDisk]:
    disk = HangingDisk()
    yield disk
    disk.go_on.set()


@pytest.fixture
def asker(disk: HangingDisk) -> Iterator[Asker]:
    asker = Asker(disk)
    yield asker
    asker.looks.close()


def test_questions_are_answered_in_order(asker: Asker) -> None:
    asker.ask("a", "b", "c")
    while len(asker.answers) < 3:
        asker.take()
    assert asker.answers == ["a", "b", "c"]


def test_a_file_that_does_not_answer_holds_up_no_other(disk: HangingDisk, asker: Asker) -> None:
    disk.hanging.add("hangs")
    asker.ask("hangs", "other")
    assert disk.begun.acquire(timeout=DEADLINE_S)
    asker.looks.tend()
    assert asker.answers == []
    asker.now_s = 2.0
    asker.looks.tend()
    assert asker.take() == ["other"]
    disk.go_on.set()
    assert asker.take() == ["other", "hangs"]


def test_a_disk_that_hangs_takes_a_few_threads_and_gives_them_back(
    disk: HangingDisk, asker: Asker
) -> None:
    names = [str(number) for number in range(20)]
    disk.hanging.update(names)
    asker.ask(*names)
    for looking in range(1, MAX_THREADS + 3):
        if looking <= MAX_THREADS:
            assert disk.begun.acquire(timeout=DEADLINE_S)
        asker.now_s += 2.0
        asker.looks.tend()
    assert asker.looks._threads == MAX_THREADS
    disk.go_on.set()
    while len(asker.answers) < 20:
        asker.take()
    assert sorted(asker.answers) == sorted(names)
    asker.ask("again")
    while "again" not in asker.answers:
        asker.take()


def test_an_answer_that_cannot_be_taken_keeps_no_other_from_being_taken(asker: Asker) -> None:
    def fails(_look: Look, _done_s: float) -> None:
        raise RuntimeError("a bug")

    asker.looks.ask([Question(Path("bad"), True, fails)])
    asker.ask("good")
    while not asker.answers:
        asker.take()
    assert asker.answers == ["good"]


def test_a_file_in_a_folder_that_cannot_be_read_is_neither_there_nor_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert look_at(tmp_path / "file" / "below", holds_media=False).exists is None
    assert look_at(tmp_path / "none", holds_media=False).exists is False
