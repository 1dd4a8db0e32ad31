from __future__ import annotations

import os
import signal

import pytest

from streamwarden.commands.program import stop_signals


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
