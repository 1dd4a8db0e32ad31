"""What a program that runs until it is stopped needs around it: logs and signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pydantic import SecretStr
from structlog.stdlib import BoundLogger

from streamwarden import logs
from streamwarden.auth.rtsp_urls import redactor
from streamwarden.config.settings import Settings

# A terminal that is closed (SIGHUP) ends a program in order like one that is told to end.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_SAME_WISH_S = 1.0
"""Make, a shell and a process manager that signals the group can each pass on one and the same wish."""


_FAILED = 1


def configure_logs(settings: Settings) -> BoundLogger:
    """Send logs to standard error, with every secret of ``settings`` hidden."""
    secrets = _secrets(settings)
    logs.configure(settings.log_format, settings.log_level, sys.stderr, redact=redactor(secrets))
    return logs.get_logger("streamwarden")


class Failure:
    """Called by a role that has given up: stops the program, which then ends with code 1."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.exit_code = 0

    def __call__(self, reason: str) -> None:
        """Remember that it failed, and stop; any thread may call."""
        logs.get_logger("streamwarden").critical("role_failed", detail=reason)
        self.exit_code = _FAILED
        self._stop.set()


@contextmanager
def stop_signals(
    force: Callable[[int], None] = os._exit, now: Callable[[], float] = time.monotonic
) -> Iterator[threading.Event]:
    """Within it, SIGTERM, SIGHUP and Ctrl-C set the event; another one, a second later, calls ``force``.

    ``force`` ends this process at once; the kernel ends its children with it (their death signal).
    """
    stop = threading.Event()
    first_s = 0.0

    def asked(_number: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        if not stop.is_set():
            first_s = now()
            stop.set()
        elif now() - first_s > _SAME_WISH_S:
            force(_FAILED)

    before = {number: signal.signal(number, asked) for number in _STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _secrets(settings: Settings) -> list[str]:
    values = [getattr(settings, name) for name in type(settings).model_fields]
    return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
