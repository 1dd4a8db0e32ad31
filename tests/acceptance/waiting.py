"""Waiting for something that can be seen, with a deadline; never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tests.acceptance.pressure import share

T = TypeVar("T")
PATIENCE_S = 180.0
"""What a wait may take where the time is no claim: what comes at all comes, on the busiest machine."""
_LOOK_EVERY_S = 0.05
_PAUSE = threading.Event()  # never set: only its wait is used


class NotSeen(AssertionError):
    """What was waited for did not come; the message says what was seen last."""


def wait_for(what: str, look: Callable[[], T | None], *, within_s: float | None = None) -> T:
    """Return the first true thing that ``look`` returns; raise NotSeen if it does not come.

    ``within_s`` is a claim about the program, so it counts what the machine gave it: a second in which
    a program got half a processor is half a second. Without it the wait is patience.
    """
    began = before = time.monotonic()
    had_s = 0.0
    while not (seen := look()):
        late = before - began > PATIENCE_S if within_s is None else had_s > within_s
        if late:
            raise NotSeen(_missed(what, within_s, before - began, seen))
        _PAUSE.wait(_LOOK_EVERY_S)
        now = time.monotonic()
        had_s += (now - before) * share()
        before = now
    return seen


def glimpse(look: Callable[[], T | None], *, for_s: float) -> T | None:
    """Return the first true thing that ``look`` returns, or after ``for_s`` what it returned last."""
    deadline = time.monotonic() + for_s
    while not (seen := look()) and time.monotonic() < deadline:
        _PAUSE.wait(_LOOK_EVERY_S)
    return seen


def _missed(what: str, within_s: float | None, waited_s: float, seen: object) -> str:
    bound = "" if within_s is None else f" (in a processor's time, {within_s:g} s)"
    return f"not within {waited_s:.0f} s{bound}: {what}; last seen: {seen!r}"
