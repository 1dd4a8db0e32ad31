"""FFmpeg processes: one spawned process, its resource usage, and the event loop that watches many."""

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
    """A child process in its own process group, with non-blocking pipes. The constructor spawns it.

    It inherits its three standard streams and nothing else, and runs under resource limits. The child
    changes to ``folder`` after the first exec, for which the constructor waits: a disk that hangs holds up
    the child alone. A folder that is missing ends it with a line of ``env``.

    Use it only in the thread that spawned it, and let that thread never end: the kernel sends the
    parent-death signal when the thread ends. ``stdin`` is a descriptor to read from; the caller closes
    its own copy.

    Raises:
        OSError: it cannot be spawned, or cannot be watched; it does not run then.
        ValueError: an argument holds a NUL byte.
    """

    def __init__(
        self, argv: Sequence[str], folder: Path, *, stdin: int = subprocess.DEVNULL
    ) -> None:
        self._popen = subprocess.Popen(  # noqa: S603 - our own argument list, no shell
            [*LIMITS, "env", f"--chdir={folder}", *argv],
            cwd="/",
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
        """Standard output: the segment list of a recorder."""
        return _pipe(self._popen.stdout)

    @property
    def stderr(self) -> IO[bytes]:
        """Standard error."""
        return _pipe(self._popen.stderr)

    def signal(self, number: signal.Signals) -> None:
        """Signal the whole group. Until ``reap`` the zombie keeps the process id from being reused."""
        if self._popen.returncode is None:
            os.killpg(self.pid, number)

    def waits_for_disk(self) -> bool:
        """Return whether one of its threads is in a wait that no signal ends, as a write that hangs is.

        A read of the network is never such a wait.
        """
        return waits_for_disk(self.pid)

    def reap(self) -> int:
        """Kill what is left of the group; return the exit code, negative for a signal.

        ``prlimit`` or ``setpriv`` may have died before exec, or a child of FFmpeg may live on.
        """
        self.signal(signal.SIGKILL)
        return self._popen.wait()

    def close(self) -> None:
        """Close the descriptors."""
        self._close_pipes()
        os.close(self.pidfd)

    def _close_pipes(self) -> None:
        self.stdout.close()
        self.stderr.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("spawned without this pipe")
    return pipe


def read_pipe(pipe: IO[bytes]) -> bytes | None:
    """Read a non-blocking pipe: None when it is empty, b"" at its end."""
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
    """User and system CPU time of a process, and its resident set size."""

    cpu_s: float = 0.0
    resident_bytes: int = 0


def process_usage(pid: int) -> ProcessUsage:
    """Read a process's usage from ``/proc``, also of a zombie; zeros if there is no such process."""
    # The second field of stat is the program's name in parentheses, which may hold spaces and ")".
    stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    # On newer kernels the resident set in stat is approximate, down to 0 for a small one.
    statm = _read(f"/proc/{pid}/statm").split()
    if not stat or not statm:
        return ProcessUsage()
    return ProcessUsage((int(stat[11]) + int(stat[12])) / _TICKS, int(statm[1]) * _PAGE_BYTES)


def waits_for_disk(pid: int) -> bool:
    """Return whether a thread of a process is in an uninterruptible wait; see proc(5)."""
    try:
        threads = [*Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False
    stats = (_read(f"{thread}/stat") for thread in threads)
    return any(stat.rpartition(b")")[2].split()[:1] == [b"D"] for stat in stats)


def _read(path: str) -> bytes:
    # Called for every recorder at every scrape; pathlib would double the cost.
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
    """The owner of the sources of one `WatchLoop`; all methods run in the loop's thread."""

    def wait_s(self) -> float | None:
        """Return the time in seconds until ``run_once`` is next due, None if only an event needs it."""

    def run_once(self) -> None:
        """Do what is due; called after each wait for events."""

    def finished(self) -> bool:
        """Return whether the loop may end."""


class WatchLoop:
    """An event loop around one selector, in its own thread; an exception in a step is logged.

    ``enqueue`` and ``join`` are for any thread, all other methods for the loop's thread.
    """

    def __init__(self, name: str) -> None:
        self._commands: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        self._ended = False
        # After the eventfd is closed its number may be reused for another file.
        self._wake_lock = threading.Lock()
        self._name = name
        self._thread: threading.Thread | None = None

    def start(self, handler: LoopHandler) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, args=(handler,), name=self._name, daemon=True
        )
        self._thread.start()

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the loop's thread; dropped if the thread has ended."""
        with self._wake_lock:
            if not self._ended:
                self._commands.append(command)
                os.eventfd_write(self._wake, 1)

    def join(self, deadline_s: float) -> None:
        """Wait for the thread's end, at most ``deadline_s``."""
        if self._thread is not None:
            self._thread.join(deadline_s)

    def register(self, source: Readable, react: Callable[[], None]) -> None:
        """Call ``react`` whenever ``source`` is readable."""
        self._selector.register(source, selectors.EVENT_READ, react)

    def unregister(self, source: Readable) -> None:
        """Stop calling ``react``. No effect when repeated."""
        closed = not isinstance(source, int) and source.closed
        if not closed and source in self._selector.get_map():
            self._selector.unregister(source)

    def guarded(self, step: Callable[[], None]) -> None:
        """Run ``step``; an exception is logged, and the loop goes on."""
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
