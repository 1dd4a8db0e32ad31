"""One process of the embedded Postgres, with the thread that starts it, writes its log and reaps it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from streamwarden.devkit.bounded_log import BoundedLog
from streamwarden.devkit.postgres_command import ENVIRONMENT, PostgresFailed

_READY = b"database system is ready to accept "
"""A standby accepts read-only connections."""


_LINE_MAX_BYTES = 8192


class PostgresProcess:
    """One run of the server.

    The thread lives as long as the server, because the kernel signals the server when the thread that
    started it ends (``prctl(2)``, PR_SET_PDEATHSIG). That must happen only when the program ends.
    """

    def __init__(self, command: Sequence[str], *, log_path: Path) -> None:
        self._command = command
        self._log = BoundedLog(log_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._ready = False
        self._spawned = threading.Event()
        self._settled = threading.Event()
        self._ended = threading.Event()
        # A daemon thread, so that a program that does not stop its Postgres can end.
        threading.Thread(target=self._live, name="postgres", daemon=True).start()
        self._spawned.wait()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None once it has ended."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the server accepts connections.

        Raises:
            PostgresFailed: it ended, or took too long; the message has its last lines.
        """
        settled = self._settled.wait(timeout_s)
        if not self._ready:
            why = self._log.tail or str(self._error or "no output")
            what = "ended at its start" if settled else f"was not ready within {timeout_s:g} s"
            raise PostgresFailed(f"the embedded Postgres {what}: {why}") from self._error

    def end(self, number: signal.Signals, *, wait_s: float) -> bool:
        """Send ``number``; return whether the server and all its processes ended in time."""
        if self._process:
            self._process.send_signal(number)
        return self.wait_ended(wait_s)

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait for the end of the server and of all its processes."""
        return self._ended.wait(timeout_s)

    def _live(self) -> None:
        with self._log:
            try:
                self._spawn_and_listen()
            except OSError as error:
                self._error = error
            finally:
                self._spawned.set()
                self._ended.set()
                self._settled.set()

    def _spawn_and_listen(self) -> None:
        with subprocess.Popen(  # noqa: S603 - the wheel's own program, no shell
            self._command,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C of the terminal must not reach it: it is stopped after its clients.
            start_new_session=True,
        ) as process:
            self._process = process
            self._spawned.set()
            self._listen(process.stdout)

    def _listen(self, output: IO[bytes] | None) -> None:
        # The pipe is closed when the last process of the server ends, not the first.
        while output and (line := output.readline(_LINE_MAX_BYTES)):
            self._heard(line)

    def _heard(self, line: bytes) -> None:
        # A full disk must not end this thread, and Postgres with it.
        with suppress(OSError):
            self._log.write(line)
        if _READY in line:
            self._ready = True
            self._settled.set()
