"""``streamwarden serve``: runs roles until a signal comes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command
from streamwarden.cli.environment import configure_logs, settings_of

if TYPE_CHECKING:
    import argparse
    from types import FrameType

    from streamwarden.cli.arguments import Commands

# A terminal that is closed (SIGHUP) stops the program in order, like SIGTERM.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME_REQUEST_S = 1.0
"""Make, a shell and a process manager that signals the group may each pass on the same signal."""
_FAILED = 1

_NOTES = """\
examples:
  streamwarden serve                        all roles in one process
  streamwarden serve --role streaming       only the recorders, on this machine

SIGTERM and Ctrl-C stop it in order: the last segments are finished and indexed. A second signal ends
it at once.
"""


def add_serve_command(commands: Commands) -> None:
    """Add ``serve``."""
    parser = add_command(commands, "serve", serve, "run the product", _NOTES)
    parser.add_argument(
        "--role",
        choices=("all", "api", "streaming", "webui"),
        default="all",
        help="the role to run (default: all, in one process)",
    )


def serve(arguments: argparse.Namespace) -> int:
    """Run the given roles; return when they have stopped in order."""
    from streamwarden.app.roles import ROLES, run_roles
    from streamwarden.config.settings import warnings

    settings = settings_of(arguments)
    settings.require_for(arguments.role)
    log = configure_logs(settings)
    for warning in warnings(settings, arguments.role):
        log.warning("setting_doubtful", detail=warning)
    roles = frozenset(ROLES) if arguments.role == "all" else frozenset({arguments.role})
    with stop_signals() as stop:
        failed = Failure(stop)
        running = run_roles(settings, roles, on_failure=failed)
        try:
            log.info("serving", roles=sorted(roles), ports=running.ports)
            stop.wait()
            log.info("stopping", within_s=settings.stop_timeout_s)
        finally:
            running.stop(settings.stop_timeout_s)
    log.info("stopped")
    return failed.exit_code


class Failure:
    """Called by a role that has given up: stops the program, which then ends with code 1."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.exit_code = 0

    def __call__(self, reason: str) -> None:
        """Set the exit code and stop the program; any thread may call."""
        from streamwarden import logs

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

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        if not stop.is_set():
            first_s = now()
            stop.set()
        elif now() - first_s > _SAME_REQUEST_S:
            force(_FAILED)

    before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
