from __future__ import annotations

import threading
from collections.abc import Callable

import pykka
import pytest

from streamwarden.supervision import (
    ChildExited,
    ChildStarted,
    Link,
    Shutdown,
    SupervisedActor,
    inbox_depths,
    tell,
)
from streamwarden.supervision._actor import Exit, ExitKind, ExitReason
from tests.fakes.manual_time import DEADLINE_S
from tests.unit.supervision.harness import (
    Crash,
    Harness,
    Hold,
    Leave,
    Ref,
    Worker,
)


class Lone:
    """One actor and its notices."""

    def __init__(self, harness: Harness, kind: type[SupervisedActor] = Worker) -> None:
        self.harness = harness
        link = harness.link("lone", 7, lambda _: None)
        self.ref: Ref = harness.cast("lone", kind.start(link=link, harness=harness))

    def notices(self) -> list[str]:
        """Return the notices once the actor's thread is done with everything."""
        self.harness.wait("down", "lone")
        self.harness.join("lone")
        events = [event for event in self.harness.events("up", "down") if event[1] == "lone"]
        return ["up" if event[0] == "up" else event[2] for event in events]


class BrokenText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


ENDS: list[tuple[str, Callable[[Ref], object], ExitKind]] = [
    ("ordered stop", lambda ref: tell(ref, Shutdown()), ExitKind.SHUTDOWN),
    (
        "ordered stop twice",
        lambda ref: [tell(ref, Shutdown()), tell(ref, Shutdown())],
        ExitKind.SHUTDOWN,
    ),
    ("exit", lambda ref: tell(ref, Exit()), ExitKind.SHUTDOWN),
    ("stop, then exit", lambda ref: [tell(ref, Shutdown()), tell(ref, Exit())], ExitKind.SHUTDOWN),
    ("by itself", lambda ref: tell(ref, Leave(ExitReason(ExitKind.NORMAL))), ExitKind.NORMAL),
    (
        "failed by itself",
        lambda ref: tell(ref, Leave(ExitReason(ExitKind.FAILED))),
        ExitKind.FAILED,
    ),
    ("exception", lambda ref: tell(ref, Crash(ValueError("x"))), ExitKind.FAILED),
    ("exception without a text", lambda ref: tell(ref, Crash(BrokenText())), ExitKind.FAILED),
    ("SystemExit", lambda ref: tell(ref, Crash(SystemExit(3))), ExitKind.FAILED),
    ("KeyboardInterrupt", lambda ref: tell(ref, Crash(KeyboardInterrupt())), ExitKind.FAILED),
    ("pykka's stop", lambda ref: ref.stop(block=False), ExitKind.NORMAL),
    (
        "two exceptions",
        lambda ref: [tell(ref, Crash(ValueError("x"))) for _ in "ab"],
        ExitKind.FAILED,
    ),
]


@pytest.mark.parametrize(("end", "kind"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS])
def test_every_end_after_the_start_gives_exactly_one_notice(
    harness: Harness, end: Callable[[Ref], object], kind: ExitKind
) -> None:
    lone = Lone(harness)
    end(lone.ref)
    assert lone.notices() == ["up", kind]
    assert [(e.child_id, e.incarnation) for e in harness.exits] == [("lone", 7)]


class FinishesAndRaises(Worker):
    def receive(self, message: object) -> object:
        self.finish()
        raise ValueError(message)


class FinishesTwice(Worker):
    def receive(self, message: object) -> object:
        self.finish()
        self.finish(ExitReason(ExitKind.FAILED))
        return message


class FinishesInCleanUp(Worker):
    def receive(self, message: object) -> object:
        self.finish()
        return message

    def terminate(self, reason: ExitReason) -> None:
        del reason
        self.finish(ExitReason(ExitKind.FAILED))


@pytest.mark.parametrize("kind", [FinishesAndRaises, FinishesTwice, FinishesInCleanUp])
def test_the_first_of_two_ends_within_one_message_counts(
    harness: Harness, kind: type[Worker]
) -> None:
    lone = Lone(harness, kind)
    tell(lone.ref, "end")
    assert lone.notices() == ["up", ExitKind.NORMAL]


def test_an_init_that_raises_gives_one_notice_of_a_failed_start(harness: Harness) -> None:
    harness.failures["lone"] = 1
    assert Lone(harness).notices() == [ExitKind.START_FAILED]
    assert harness.exits[0].reason.error == "OSError: scripted"


class ExitsInInit(Worker):
    def init(self) -> None:
        raise SystemExit(1)


class FinishesInInit(Worker):
    def init(self) -> None:
        self.finish()


class FailsToAnnounce(Worker):
    def started(self) -> None:
        raise ValueError("cannot announce")


@pytest.mark.parametrize(
    ("kind", "notice"),
    [
        (ExitsInInit, ExitKind.START_FAILED),
        (FinishesInInit, ExitKind.NORMAL),
        (FailsToAnnounce, ExitKind.START_FAILED),
    ],
)
def test_an_end_within_the_start_gives_one_notice_and_no_announcement(
    harness: Harness, kind: type[Worker], notice: ExitKind
) -> None:
    assert Lone(harness, kind).notices() == [notice]


class FailsToCleanUp(Worker):
    error: type[BaseException] = ValueError

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)
        raise self.error("terminate")


class ExitsInCleanUp(FailsToCleanUp):
    error = SystemExit


@pytest.mark.parametrize("kind", [FailsToCleanUp, ExitsInCleanUp])
@pytest.mark.parametrize(("end", "notice"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS])
def test_a_terminate_that_raises_changes_nothing_of_the_notice(
    harness: Harness, kind: type[Worker], end: Callable[[Ref], object], notice: ExitKind
) -> None:
    other = Worker.start(link=harness.link("other", 1, lambda _: None), harness=harness)
    harness.cast("other", other)
    lone = Lone(harness, kind)
    end(lone.ref)
    assert lone.notices() == ["up", notice]
    assert other.ask("still there", timeout=DEADLINE_S) == "still there"


class CleansUp(Worker):
    def terminate(self, reason: ExitReason) -> None:
        self.harness.note(("cleaned", reason.kind))


@pytest.mark.parametrize(("end", "kind"), [e[1:] for e in ENDS], ids=[e[0] for e in ENDS])
def test_terminate_runs_once_before_the_notice(
    harness: Harness, end: Callable[[Ref], object], kind: ExitKind
) -> None:
    lone = Lone(harness, CleansUp)
    end(lone.ref)
    lone.notices()
    assert harness.events("cleaned", "down") == [("cleaned", kind), ("down", "lone", kind)]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_system_exit_in_a_handler_stops_no_other_actor(
    harness: Harness, error: BaseException
) -> None:
    other = Worker.start(link=harness.link("other", 1, lambda _: None), harness=harness)
    harness.cast("other", other)
    lone = Lone(harness)
    tell(lone.ref, Crash(error))
    assert lone.notices() == ["up", ExitKind.FAILED]
    assert other.ask("still there", timeout=DEADLINE_S) == "still there"


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1)])
def test_an_exception_in_an_ask_goes_to_the_asker_and_ends_nothing(
    harness: Harness, error: BaseException
) -> None:
    lone = Lone(harness)
    with pytest.raises(
        Exception, match=type(error).__name__ if isinstance(error, SystemExit) else "x"
    ):
        lone.ref.ask(Crash(error), timeout=DEADLINE_S)
    assert lone.ref.ask("still there", timeout=DEADLINE_S) == "still there"
    assert harness.events("down") == []


def test_no_message_is_handled_after_the_end_and_askers_are_told(harness: Harness) -> None:
    lone = Lone(harness)
    gate = threading.Event()
    tell(lone.ref, Hold(gate))
    harness.wait("held", "lone")
    tell(lone.ref, Exit())
    tell(lone.ref, "too late")
    asked = lone.ref.ask("too late", block=False)
    gate.set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=DEADLINE_S)
    lone.notices()
    assert harness.events("got") == []
    assert not tell(lone.ref, "dead")


def test_an_unknown_message_is_a_failure(harness: Harness) -> None:
    link = harness.link("lone", 1, lambda _: None)
    ref = harness.cast("lone", SupervisedActor.start(link=link))
    tell(ref, "what")
    harness.wait("down", "lone", ExitKind.FAILED)
    assert harness.exits[0].reason.error == "TypeError: SupervisedActor takes no str"


def test_an_error_text_is_cut(harness: Harness) -> None:
    lone = Lone(harness)
    tell(lone.ref, Crash(ValueError("x" * 10_000)))
    lone.notices()
    assert len(harness.exits[0].reason.error or "") == 300


def test_a_lingering_child_ends_when_it_says_so(harness: Harness) -> None:
    harness.lingering.add("lone")
    lone = Lone(harness)
    assert not lone.ref.proxy().stopping.get(timeout=DEADLINE_S)
    tell(lone.ref, Shutdown())
    harness.wait("asked", "lone")
    assert lone.ref.proxy().stopping.get(timeout=DEADLINE_S)
    assert lone.ref.ask("finishing", timeout=DEADLINE_S) == "finishing"
    tell(lone.ref, Shutdown())
    tell(lone.ref, Leave(ExitReason(ExitKind.SHUTDOWN)))
    assert lone.notices() == ["up", ExitKind.SHUTDOWN]
    assert harness.events("asked") == [("asked", "lone")]


def test_notices_carry_what_the_link_says() -> None:
    notices: list[object] = []
    ended = threading.Event()

    def notify(notice: ChildStarted | ChildExited) -> None:
        notices.append(notice)
        if isinstance(notice, ChildExited):
            ended.set()

    ref = SupervisedActor.start(link=Link("cam", 3, notify))
    tell(ref, Shutdown())
    assert ended.wait(DEADLINE_S)
    assert notices == [ChildStarted("cam", 3), ChildExited("cam", 3, ExitReason(ExitKind.SHUTDOWN))]


def test_the_deepest_inbox_of_a_class_is_measured(harness: Harness) -> None:
    lone = Lone(harness)
    gate = threading.Event()
    tell(lone.ref, Hold(gate))
    harness.wait("held", "lone")
    for _ in range(3):
        tell(lone.ref, "waiting")
    assert inbox_depths()["Worker"] == 3
    gate.set()
