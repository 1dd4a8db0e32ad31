"""Small FFmpeg jobs (a picture, an export) beside the recorders, which have a thread of their own.

One thread that never ends spawns and watches them: the kernel's parent-death signal follows the thread
that spawned a child (``watcher`` tells more). Nobody waits in it.


Plays a file to nowhere, and says what was wrong with it.

Many segments made one MP4, without decoding anything: FFmpeg's concat demuxer and a plain muxer.

What is left out at both ends ends at a fragment that begins with a key frame, so every frame of the
result can be decoded.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from streamwarden.ffmpeg.command import DIE_WITH_PARENT
from streamwarden.ffmpeg.process import Process, WatchLoop, read_pipe
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FragmentScan
from streamwarden.paths import open_nofollow

log = structlog.get_logger(__name__)


_TICK_S: Final = 0.5


_STDERR_KEPT: Final = 2_000


_DRAIN_READS: Final = 1_024


class JobOutcome(StrEnum):
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

    outcome: JobOutcome
    exit_code: int
    output: bytes
    stderr: str

    @property
    def succeeded(self) -> bool:
        """Whether it did all that it was asked for."""
        return self.outcome is JobOutcome.ENDED and self.exit_code == 0


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
    stderr_limit_bytes: int = _STDERR_KEPT


class Job:
    """A job that has been given to the runner. Any thread."""

    def __init__(self, order: JobOrder) -> None:
        self.order = order
        self.stopped: JobOutcome | None = None
        self.process: Process | None = None
        self.ends_by_s = 0.0
        self.output = bytearray()
        self.stderr = b""


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
        return (
            ends[0]
            if ends
            else JobEnd(outcome=JobOutcome.NOT_STARTED, exit_code=-1, output=b"", stderr="")
        )

    def cancel(self, job: Job) -> None:
        """End a job; ``on_end`` follows."""
        self._enqueue(partial(self._stop, job, JobOutcome.CANCELLED))

    def _enqueue(self, command: Callable[[], None]) -> None:
        if self._loop is None:
            raise RuntimeError("the runner has not been started")
        self._loop.enqueue(command)

    # The thread of all jobs

    def wait_s(self) -> float | None:
        """Return how long nothing is due."""
        return _TICK_S if self._live else None

    def run_once(self) -> None:
        """Kill what has had its time."""
        now = time.monotonic()
        for job in [job for job in self._live if now >= job.ends_by_s]:
            self._stop(job, JobOutcome.TIMED_OUT)

    def finished(self) -> bool:
        """Return whether the thread may end."""
        return self._closing and not self._live

    def _begin_close(self) -> None:
        self._closing = True
        for job in list(self._live):
            self._stop(job, JobOutcome.CANCELLED)

    def _begin(self, job: Job) -> None:
        if self._closing or job.stopped is not None:
            self._report(job, job.stopped or JobOutcome.CANCELLED, -1)
            return
        argv = [*DIE_WITH_PARENT, *job.order.argv]
        try:
            with _StdinFile(job.order.stdin) as fd:
                process = Process(argv, job.order.folder, stdin=fd)
        except (OSError, ValueError) as error:
            log.warning("job_not_started", error=type(error).__name__)
            self._report(job, JobOutcome.NOT_STARTED, -1)
            return
        job.process, job.ends_by_s = process, time.monotonic() + job.order.timeout_s
        self._live.add(job)
        loop = self._loop
        if loop is not None:
            loop.register(process.stdout, partial(self._read_output, job, process))
            loop.register(process.stderr, partial(self._read_stderr, job, process))
            loop.register(process.pidfd, partial(self._exited, job, process))

    def _stop(self, job: Job, outcome: JobOutcome) -> None:
        if job.stopped is None:
            job.stopped = outcome
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
            self._stop(job, JobOutcome.TOO_MUCH)

    def _read_stderr(self, job: Job, process: Process) -> None:
        chunk = read_pipe(process.stderr)
        if chunk == b"" and self._loop is not None:
            self._loop.unregister(process.stderr)
        job.stderr = (job.stderr + (chunk or b""))[-job.order.stderr_limit_bytes :]

    def _exited(self, job: Job, process: Process) -> None:
        exit_code = process.reap()
        for _ in range(_DRAIN_READS):
            if not (chunk := read_pipe(process.stdout)):
                break
            self._take(job, chunk)
        self._read_stderr(job, process)
        if self._loop is not None:
            for source in (process.stdout, process.stderr, process.pidfd):
                self._loop.unregister(source)
        process.close()
        self._live.discard(job)
        self._report(job, job.stopped or JobOutcome.ENDED, exit_code)

    def _report(self, job: Job, outcome: JobOutcome, exit_code: int) -> None:
        stderr = job.stderr.decode("utf-8", "replace").strip()
        job.order.on_end(
            JobEnd(outcome=outcome, exit_code=exit_code, output=bytes(job.output), stderr=stderr)
        )


class _StdinFile:
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


_AT_MOST_S: Final = 600.0


_SHOWN_CHARS: Final = 200


def decode(ffmpeg: str, path: Path) -> str:
    """Decode every frame of ``path``; return what FFmpeg complained of, or an empty text."""
    argv = [ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-xerror"]
    argv += ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    # After a jump of the camera's time stamps pictures lie closer together than a frame. That is no
    # damage; but rounded to the frame rate they would meet, and FFmpeg would complain.
    argv += ["-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-f", "null", "-"]
    try:
        played = subprocess.run(  # noqa: S603 - our own argument list, no shell
            argv, capture_output=True, check=False, timeout=_AT_MOST_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"not decoded within {_AT_MOST_S:.0f} s"
    said = played.stderr.decode("utf-8", "replace").strip()
    if played.returncode == 0 and not said:
        return ""
    return said[-_SHOWN_CHARS:] or f"FFmpeg ended with code {played.returncode}"


_SLACK_MS: Final = 100
"""FFmpeg seeks to the key frame at or before a time; sound that begins first sets the picture's times
back by a frame of sound, 64 ms at 16 kHz, and the key frame meant would come just after."""


@dataclass(frozen=True, slots=True)
class ConcatEntry:
    """A file and which milliseconds of its media are taken."""

    path: Path
    from_ms: int
    to_ms: int

    @property
    def media_ms(self) -> int:
        """How long it plays."""
        return self.to_ms - self.from_ms


def concat_entry(path: Path, *, from_ms: int, to_ms: int) -> ConcatEntry | None:
    """Return what of ``path`` plays from ``from_ms`` to ``to_ms``, widened to key frames.

    None where the file is gone or holds nothing of it.
    """
    try:
        fd = open_nofollow(path)
    except OSError:
        return None
    try:
        return _piece(path, fd, from_ms, to_ms)
    except NotFragmentedMp4:
        return None
    finally:
        os.close(fd)


def _piece(path: Path, fd: int, from_ms: int, to_ms: int) -> ConcatEntry | None:
    begin = at = 0
    for fragment in FragmentScan().advance(fd, os.fstat(fd).st_size):
        if fragment.key and at <= from_ms:
            begin = at
        if at >= to_ms:
            break
        at += fragment.media_ms
    return ConcatEntry(path, begin, at) if at > max(begin, from_ms) else None


def concat_list(pieces: Iterable[ConcatEntry]) -> str:
    """Return the list that FFmpeg's concat demuxer reads."""
    lines = ["ffconcat version 1.0"]
    for piece in pieces:
        quoted = str(piece.path).replace("'", "'\\''")
        lines.append(f"file 'file:{quoted}'")
        begin_ms = piece.from_ms + _SLACK_MS if piece.from_ms else 0
        if begin_ms:
            lines.append(f"inpoint {begin_ms / 1000:.3f}")
        lines.append(f"outpoint {(piece.to_ms + _SLACK_MS) / 1000:.3f}")
        lines.append(f"duration {(piece.to_ms - begin_ms) / 1000:.3f}")
    return "\n".join(lines) + "\n"


def concat_argv(ffmpeg: str, listed: str, target: str) -> Sequence[str]:
    """Return the arguments that join what ``listed`` names into ``target``, and tell the progress."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y"),
        *("-progress", "pipe:1", "-protocol_whitelist", "file"),
        *("-f", "concat", "-safe", "0", "-i", listed),
        *("-map", "0:v:0", "-map", "0:a:0?", "-c", "copy"),
        *("-movflags", "+faststart", "-f", "mp4", target),
    ]


def progress_ms(said: bytes) -> int | None:
    """Return how far FFmpeg has come by the last whole line of its progress that says so."""
    for line in reversed(said.splitlines()):
        name, _, value = line.partition(b"=")
        if name == b"out_time_us" and value.strip().isdigit():
            return int(value) // 1000
    return None
