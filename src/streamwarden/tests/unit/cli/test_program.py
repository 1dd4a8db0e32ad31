from __future__ import annotations

import os
import signal
import threading

import pytest

from streamwarden.commands.program import Failure, stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_forces(number: signal.Signals) -> None:
    forced: list[int] = []
    with stop_signals(forced.append) as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        assert forced == []
        os.kill(os.getpid(), number)
        assert forced == [1]


def test_the_handlers_of_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_role_that_gives_up_stops_the_program_with_code_1() -> None:
    stop = threading.Event()
    failed = Failure(stop)
    assert failed.exit_code == 0
    failed("the supervisor has given up")
    assert stop.is_set()
    assert failed.exit_code == 1
