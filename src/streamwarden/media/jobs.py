"""Small FFmpeg jobs (a picture, an export) beside the recorders, which have a thread of their own.

One thread that never ends spawns and watches them: the kernel's parent-death signal follows the thread
that spawned a child (``watcher`` tells more). Nobody waits in it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamwarden.media.confinement import WITH_US
from streamwarden.media.loop import WatchLoop
from streamwarden.media.process import Process, read_pipe

log = structlog.get_logger(__name__)

_TICK_S: Final = 0.5
_STDERR_KEPT: Final = 2_000
_DRAIN_READS: Final = 1_024


class Why(StrEnum):
    """How a job came to its end."""

    ENDED = "ended"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    TOO_MUCH = "too_much"
    """It wrote more than it may."""
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What is left of a job: its output as far as nobody took it, and the end of what it said."""

    why: Why
    exit_code: int
    output: bytes
    said: str

    @property
    def good(self) -> bool:
        """Whether it did all that it was asked for."""
        return self.why is Why.ENDED and self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """One job. ``stdin`` is what it reads; ``on_output`` takes what it writes instead of the end.

    Both callbacks run in the thread of all jobs and must not wait.
    """

    argv: Sequence[str]
    folder: Path
    timeout_s: float
    on_end: Callable[[JobEnd], None]
    stdin: bytes = b""
    on_output: Callable[[bytes], None] | None = None
    output_limit_bytes: int = 16 * 1024 * 1024
    said_limit_bytes: int = _STDERR_KEPT


class Job:
    """A job that has been given to the runner. Any thread."""

    def __init__(self, order: JobOrder) -> None:
        self.order = order
        self.stopped: Why | None = None
        self.process: Process | None = None
        self.ends_by_s = 0.0
        self.output = bytearray()
        self.said = b""


class JobRunner:
    """Runs jobs; how many at once is for those who order them. Any thread."""

    def __init__(self) -> None:
        self._live: set[Job] = set()
        self._closing = False
        self._loop: WatchLoop | None = None

    def start(self) -> None:
        """Start the thread."""
        self._loop = WatchLoop("media-jobs")
        self._loop.start(self)

    def close(self, deadline_s: float = 2.0) -> None:
        """Kill what still runs, and end the thread."""
        if self._loop is not None:
            self._loop.enqueue(self._begin_close)
            self._loop.join(deadline_s)

    def run(self, order: JobOrder) -> Job:
        """Begin a job; ``order.on_end`` is called once."""
        job = Job(order)
        self._enqueue(partial(self._begin, job))
        return job

    def run_and_wait(
        self, argv: Sequence[str], folder: Path, *, stdin: bytes, timeout_s: float
    ) -> JobEnd:
        """Run a job to its end, at most ``timeout_s`` and a little; its caller waits."""
        done, ends = threading.Event(), list[JobEnd]()

        def on_end(end: JobEnd) -> None:
            ends.append(end)
            done.set()

        self.run(
            JobOrder(argv=argv, folder=folder, timeout_s=timeout_s, on_end=on_end, stdin=stdin)
        )
        done.wait(timeout_s + 2 * _TICK_S)
        return ends[0] if ends else JobEnd(why=Why.NOT_STARTED, exit_code=-1, output=b"", said="")

    def cancel(self, job: Job) -> None:
        """End a job; ``on_end`` follows."""
        self._enqueue(partial(self._stop, job, Why.CANCELLED))

    def _enqueue(self, command: Callable[[], None]) -> None:
        if self._loop is None:
            raise RuntimeError("the runner has not been started")
        self._loop.enqueue(command)

    # The thread of all jobs

    def wait_s(self) -> float | None:
        """Return how long nothing is due."""
        return _TICK_S if self._live else None

    def turn(self) -> None:
        """Kill what has had its time."""
        now = time.monotonic()
        for job in [job for job in self._live if now >= job.ends_by_s]:
            self._stop(job, Why.TIMED_OUT)

    def over(self) -> bool:
        """Return whether the thread may end."""
        return self._closing and not self._live

    def _begin_close(self) -> None:
        self._closing = True
        for job in list(self._live):
            self._stop(job, Why.CANCELLED)

    def _begin(self, job: Job) -> None:
        if self._closing or job.stopped is not None:
            self._tell(job, job.stopped or Why.CANCELLED, -1)
            return
        argv = [*WITH_US, *job.order.argv]
        try:
            with _Given(job.order.stdin) as fd:
                process = Process(argv, job.order.folder, stdin=fd)
        except (OSError, ValueError) as error:
            log.warning("job_not_started", error=type(error).__name__)
            self._tell(job, Why.NOT_STARTED, -1)
            return
        job.process, job.ends_by_s = process, time.monotonic() + job.order.timeout_s
        self._live.add(job)
        loop = self._loop
        if loop is not None:
            loop.register(process.stdout, partial(self._read_output, job, process))
            loop.register(process.stderr, partial(self._read_said, job, process))
            loop.register(process.pidfd, partial(self._exited, job, process))

    def _stop(self, job: Job, why: Why) -> None:
        if job.stopped is None:
            job.stopped = why
        if job.process is not None and job in self._live:
            job.process.signal(signal.SIGKILL)

    def _read_output(self, job: Job, process: Process) -> None:
        chunk = read_pipe(process.stdout)
        if chunk == b"" and self._loop is not None:
            self._loop.unregister(process.stdout)
        self._take(job, chunk or b"")

    def _take(self, job: Job, chunk: bytes) -> None:
        if job.order.on_output is not None:
            job.order.on_output(chunk)
            return
        job.output += chunk
        if len(job.output) > job.order.output_limit_bytes:
            job.output.clear()
            self._stop(job, Why.TOO_MUCH)

    def _read_said(self, job: Job, process: Process) -> None:
        chunk = read_pipe(process.stderr)
        if chunk == b"" and self._loop is not None:
            self._loop.unregister(process.stderr)
        job.said = (job.said + (chunk or b""))[-job.order.said_limit_bytes :]

    def _exited(self, job: Job, process: Process) -> None:
        exit_code = process.reap()
        for _ in range(_DRAIN_READS):
            if not (chunk := read_pipe(process.stdout)):
                break
            self._take(job, chunk)
        self._read_said(job, process)
        if self._loop is not None:
            for source in (process.stdout, process.stderr, process.pidfd):
                self._loop.unregister(source)
        process.close()
        self._live.discard(job)
        self._tell(job, job.stopped or Why.ENDED, exit_code)

    def _tell(self, job: Job, why: Why, exit_code: int) -> None:
        said = job.said.decode("utf-8", "replace").strip()
        job.order.on_end(JobEnd(why=why, exit_code=exit_code, output=bytes(job.output), said=said))


class _Given:
    """What a job reads, as a file in memory: nobody has to feed it."""

    def __init__(self, content: bytes) -> None:
        self._fd = os.memfd_create("job")
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._fd, view) :]
            os.lseek(self._fd, 0, os.SEEK_SET)
        except OSError:
            os.close(self._fd)
            raise

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
