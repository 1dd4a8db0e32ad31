"""Waiting for something that can be seen, with a deadline; never for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY_S = 0.05
_PAUSE = threading.Event()  # never set: only its wait is used


class NotSeen(AssertionError):
    """What was waited for did not come; the message says what was seen last."""


def wait_for(what: str, look: Callable[[], T | None], *, within_s: float) -> T:
    """Return the first true thing that ``look`` returns; raise NotSeen after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise NotSeen(f"not within {within_s:g} s: {what}; last seen: {seen!r}")
        _PAUSE.wait(_LOOK_EVERY_S)
    return seen
