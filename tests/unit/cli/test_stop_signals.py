from __future__ import annotations

import os
import signal
import threading

import pytest

from streamwarden.cli.serve_command import Failure, stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_asks_and_a_later_one_forces(number: signal.Signals) -> None:
    forced: list[int] = []
    clock = [100.0]
    with stop_signals(forced.append, lambda: clock[0]) as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        clock[0] = 101.0
        os.kill(os.getpid(), number)
        assert forced == []  # one request, passed on by make and by the group
        clock[0] = 101.1
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
