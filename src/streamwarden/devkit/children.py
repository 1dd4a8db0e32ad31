"""The devkit's child processes: cameras, media servers, relays.

One thread starts and reaps them all, and never ends: the kernel sends a child's parent-death signal
(``prctl(2)``, PR_SET_PDEATHSIG) when the *thread* that started it ends. A child without that signal
would outlive a ``kill -9`` of this program.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import structlog

from streamwarden.devkit.child_output import ChildOutput
from streamwarden.errors import StreamwardenError

log = structlog.get_logger(__name__)


_KILLED_WITHIN_S = 5.0


_READ_BYTES = 65536


class ChildNotStarted(StreamwardenError):
    """The program does not exist or is not executable."""


_KEPT = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "TZ", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def plain_environment(environ: Mapping[str, str], *more: str) -> dict[str, str]:
    """Return what any program needs of an environment: none of our settings, none of the user's secrets.

    ``more`` are beginnings of further names.
    """
    return {name: value for name, value in environ.items() if name.startswith((*_KEPT, *more))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """A command to start. ``argv`` may hold a token; it is in no repr and no log.

    ``env`` None: the plain environment.
    """

    name: str
    argv: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: Path | None = None


class ChildProcess:
    """One process group that we started. Thread-safe."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.pid = process.pid
        self.output = ChildOutput(name)
        self._process = process
        self._lock = threading.Lock()
        self._exited = threading.Event()

    @property
    def running(self) -> bool:
        """Whether it has not been reaped yet."""
        return not self._exited.is_set()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit code (negative: the signal), or None when ``timeout_s`` has passed."""
        self._exited.wait(timeout_s)
        return self._process.returncode if self._exited.is_set() else None

    def send(self, number: signal.Signals) -> None:
        """Send ``number`` to the whole group, unless it has already ended."""
        with self._lock:
            if self.running:
                self._signal_group(number)

    def stop(self, *, grace_s: float = 5.0) -> int | None:
        """Send TERM, wait ``grace_s``, then KILL. Return the exit code."""
        stop_all([self], grace_s=grace_s)
        return self.wait(0)

    def reap(self) -> int:
        """Kill the rest of the group and reap the leader; only in the spawner's thread.

        Until the leader is reaped, its process id, which is the group's id, cannot be reused.
        """
        with self._lock:
            self._signal_group(signal.SIGKILL)
            code = self._process.wait()
            self._exited.set()
        return code

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def stop_all(children: list[ChildProcess], *, grace_s: float) -> None:
    """Send TERM to all, wait ``grace_s`` in total, then send KILL to the rest."""
    for child in children:
        child.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for child in children:
        if child.wait(max(0.0, deadline - time.monotonic())) is None:
            log.warning("child_killed", child=child.name, grace_s=grace_s)
            child.send(signal.SIGKILL)
            child.wait(_KILLED_WITHIN_S)


class ChildSpawner:
    """The thread that starts and reaps all children and reads their output; see `child_spawner`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._asked: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._thread = threading.Thread(target=self._run, name="devkit-children", daemon=True)
        self._thread.start()

    def spawn(self, spec: ChildCommand) -> ChildProcess:
        """Start ``spec`` in a process group of its own, which dies with this process.

        Raises:
            ChildNotStarted: The program does not exist or is not executable.
        """
        answer: Future[ChildProcess] = Future()
        self._asked.append(lambda: _answer(answer, lambda: self._spawn(spec)))
        os.eventfd_write(self._wake, 1)
        try:
            return answer.result()
        except OSError as error:
            # Safe to show: the OSError names the program, not its arguments.
            raise ChildNotStarted(f"{spec.name} cannot be started: {error.strerror}") from error

    def _run(self) -> None:
        while True:
            for key, _events in self._selector.select():
                try:
                    key.data()
                except Exception:  # edge of the thread: its end would kill every child
                    log.exception("child_keeper_failed")

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        while self._asked:
            self._asked.popleft()()

    def _spawn(self, spec: ChildCommand) -> ChildProcess:
        process = subprocess.Popen(  # noqa: S603 - the devkit's own programs, no shell
            [*_dying_with_us(), *spec.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=plain_environment(os.environ) if spec.env is None else dict(spec.env),
            cwd=spec.cwd,
            start_new_session=True,
        )
        child = ChildProcess(spec.name, process)
        self._watch(child, process)
        return child

    def _watch(self, child: ChildProcess, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdout
        if pipe is None:
            raise ChildNotStarted(f"{child.name} was started without a pipe")
        os.set_blocking(pipe.fileno(), False)
        exit_notice = os.pidfd_open(process.pid)

        def heard() -> None:
            # One round of the selector may report the exit, which closes the pipe, before the pipe.
            if not pipe.closed and not _read_into(child.output, pipe.fileno()):
                self._selector.unregister(pipe)
                pipe.close()

        def ended() -> None:
            self._selector.unregister(exit_notice)
            os.close(exit_notice)
            heard()
            if not pipe.closed:
                self._selector.unregister(pipe)
                pipe.close()
            code = child.reap()
            log.debug("child_ended", child=child.name, pid=child.pid, code=code)

        self._selector.register(pipe, selectors.EVENT_READ, heard)
        self._selector.register(exit_notice, selectors.EVENT_READ, ended)


@cache
def child_spawner() -> ChildSpawner:
    """Return the spawner of this process: a singleton, because its thread must never end."""
    return ChildSpawner()


def _answer(answer: Future[ChildProcess], spawn: Callable[[], ChildProcess]) -> None:
    try:
        answer.set_result(spawn())
    except Exception as error:  # noqa: BLE001 - the asking thread gets it, and this one must go on
        answer.set_exception(error)


def _read_into(output: ChildOutput, descriptor: int) -> bool:
    """Read the pipe; return False at its end."""
    try:
        data = os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return True
    output.feed(data)
    return bool(data)


@cache
def _dying_with_us() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        log.warning("setpriv_missing", cost="children outlive a kill -9 of this program")
        return ()
    return (setpriv, "--pdeathsig", "KILL", "--")
