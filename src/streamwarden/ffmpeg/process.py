"""One spawned process: its group, its pidfd and its two pipes, all of them released together.

What processes use, from ``/proc``: CPU seconds and resident bytes.

A thread around one selector that goes on whatever happens to one of its many charges.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

import structlog

from streamwarden.ffmpeg.command import ENVIRONMENT, LIMITS

_READ_BYTES: Final = 65536


class Process:
    """A child in a process group of its own, with non-blocking pipes. Spawned as it is constructed.

    It inherits its three standard streams and nothing else, and is limited in what it may take.

    Only the thread that spawned it uses it, and never ends: the kernel's parent-death signal follows
    that thread. ``stdin`` is a descriptor that it reads from; the caller still closes its own.

    Raises:
        OSError: it cannot be spawned, or not be watched; in the latter case it is not left behind.
        ValueError: an argument holds what no argument can.
    """

    def __init__(
        self, argv: Sequence[str], folder: Path, *, stdin: int = subprocess.DEVNULL
    ) -> None:
        self._popen = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
            [*LIMITS, *argv],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self.pid = self._popen.pid
        try:
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self.reap()
            self._close_pipes()
            raise
        for pipe in (self.stdout, self.stderr):
            os.set_blocking(pipe.fileno(), False)

    @property
    def stdout(self) -> IO[bytes]:
        """What it writes to its standard output: the segment list."""
        return _pipe(self._popen.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        """What it writes to its standard error."""
        return _pipe(self._popen.stderr)

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group; until it is reaped, the zombie keeps the number from being reused."""
        if self._popen.returncode is None:
            os.killpg(self.pid, number)

    def reap(self) -> int:
        """Return the exit code, negative for a signal, of a process that has ended or ends by this.

        A program around FFmpeg may have died and left FFmpeg in its group: nothing is left.
        """
        self.signal(signal.SIGKILL)
        return self._popen.wait()

    def close(self) -> None:
        """Give back the descriptors."""
        self._close_pipes()
        os.close(self.pidfd)

    def _close_pipes(self) -> None:
        self.stdout.close()
        self.stderr.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("a process is spawned with both pipes")
    return pipe


def read_pipe(pipe: IO[bytes]) -> bytes | None:
    """Return what a non-blocking pipe holds: None when that is nothing yet, b"" at its end."""
    if pipe.closed:
        return None
    try:
        return os.read(pipe.fileno(), _READ_BYTES)
    except BlockingIOError:
        return None


_TICKS: Final = os.sysconf("SC_CLK_TCK")


_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


_PROC_READ_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """User and system time of a process, and its resident set."""

    cpu_s: float = 0.0
    resident_bytes: int = 0


def process_usage(pid: int) -> ProcessUsage:
    """Return what a process has used, a zombie included; nothing for one that is gone."""
    # The second field of stat is the program's name in parentheses, which may hold anything.
    stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    # Newer kernels round the resident set in stat, down to nothing where it is small.
    statm = _read(f"/proc/{pid}/statm").split()
    if not stat or not statm:
        return ProcessUsage()
    return ProcessUsage((int(stat[11]) + int(stat[12])) / _TICKS, int(statm[1]) * _PAGE_BYTES)


def _read(path: str) -> bytes:
    # Asked for every recorder at every scrape: a Path would cost as much as the reading.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _PROC_READ_BYTES)
    except ProcessLookupError:
        return b""
    finally:
        os.close(fd)


log = structlog.get_logger(__name__)


Readable = IO[bytes] | int


class LoopHandler(Protocol):
    """What the thread looks after."""

    def wait_s(self) -> float | None:
        """Return how long nothing is due; None when only an event can bring work."""

    def run_once(self) -> None:
        """Do what is due; called after each wait."""

    def finished(self) -> bool:
        """Return whether the thread may end."""


class WatchLoop:
    """Runs reactions, commands and turns in its own thread, one after the other.

    ``enqueue`` and ``join`` are for any thread, the rest for its own alone.
    """

    def __init__(self, name: str) -> None:
        self._commands: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._ended = False
        # Its number may belong to somebody else's file once the eventfd is closed.
        self._wake_lock = threading.Lock()
        self._name = name
        self._thread: threading.Thread | None = None

    def start(self, handler: LoopHandler) -> None:
        """Begin."""
        self._thread = threading.Thread(
            target=self._run, args=(handler,), name=self._name, daemon=True
        )
        self._thread.start()

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the thread; after the thread's end it is dropped."""
        with self._wake_lock:
            if not self._ended:
                self._commands.append(command)
                os.eventfd_write(self._wake, 1)

    def join(self, deadline_s: float) -> None:
        """Wait for the thread's end, at most so long."""
        if self._thread is not None:
            self._thread.join(deadline_s)

    def register(self, source: Readable, react: Callable[[], None]) -> None:
        """Call ``react`` whenever ``source`` can be read."""
        self._selector.register(source, selectors.EVENT_READ, react)

    def unregister(self, source: Readable) -> None:
        """Call nobody any more. Harmless when repeated."""
        closed = not isinstance(source, int) and source.closed
        if not closed and source in self._selector.get_map():
            self._selector.unregister(source)

    def guarded(self, step: Callable[[], None]) -> None:
        """Run ``step``; its failure is logged, and everything else goes on."""
        try:
            step()
        except Exception:
            log.exception("watch_step_failed", thread=self._name)

    def _run(self, handler: LoopHandler) -> None:
        while not handler.finished():
            self.guarded(partial(self._react, handler))
            self.guarded(handler.run_once)
        with self._wake_lock:
            self._ended = True
            self._selector.close()
            os.close(self._wake)

    def _react(self, handler: LoopHandler) -> None:
        for key, _ in self._selector.select(handler.wait_s()):
            self.guarded(key.data)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        while self._commands:
            self.guarded(self._commands.popleft())
