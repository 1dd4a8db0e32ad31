"""The watch over threads that answer, hang and answer again, by a clock of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamwarden.app.thread_watch import EVERY_S, STUCK_S, ThreadWatch
from streamwarden.errors import Unavailable


class Asked:
    """A thread's queue: answers at once, or keeps what it is asked."""

    def __init__(self) -> None:
        self.hangs = False
        self.kept: list[Callable[[], None]] = []

    def ask(self, answer: Callable[[], None]) -> None:
        if self.hangs:
            self.kept.append(answer)
        else:
            answer()

    def go_on(self) -> None:
        self.hangs = False
        for answer in self.kept:
            answer()
        self.kept.clear()


class Beats:
    """A watch over two threads, and its time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.good, self.bad = Asked(), Asked()
        threads = {"good": self.good.ask, "bad": self.bad.ask}
        self.watch = ThreadWatch(threads, now=lambda: self.now_s)

    def pass_s(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += EVERY_S
            self.watch.beat()


@pytest.fixture
def beats() -> Beats:
    return Beats()


def test_threads_that_answer_are_well(beats: Beats) -> None:
    beats.pass_s(10 * STUCK_S)
    beats.watch.check()
    assert {read() for read in beats.watch.silences().values()} == {0.0}


def test_a_thread_that_hangs_is_named_and_the_others_are_not(beats: Beats) -> None:
    beats.bad.hangs = True
    beats.pass_s(STUCK_S - 2 * EVERY_S)
    beats.watch.check()
    beats.pass_s(4 * EVERY_S)
    with pytest.raises(Unavailable, match=r"no answer from bad$"):
        beats.watch.check()
    silences = beats.watch.silences()
    assert silences["bad"]() >= STUCK_S
    assert silences["good"]() == 0.0
    assert len(beats.bad.kept) == 1, "a thread that hangs is asked once"
    beats.bad.go_on()
    beats.pass_s(EVERY_S)
    beats.watch.check()


def test_the_figure_grows_although_the_watch_itself_has_ended(beats: Beats) -> None:
    beats.pass_s(EVERY_S)
    beats.now_s += 100.0
    assert beats.watch.silences()["good"]() == 100.0


def test_a_program_that_was_stopped_was_not_silent(beats: Beats) -> None:
    beats.bad.hangs = True
    beats.pass_s(EVERY_S)
    beats.now_s += 600.0
    beats.watch.beat()
    beats.watch.check()
