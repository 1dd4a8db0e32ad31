"""FFmpeg jobs beside the recorders: pictures, exports, samples and decoding.

One thread spawns and watches all jobs of a `JobRunner` and never blocks. It ends last, because the
kernel's parent-death signal is tied to the thread that spawned a child.
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

from streamwarden.ffmpeg.command import DIE_WITH_PARENT, ENVIRONMENT, HVC1, LIMITS
from streamwarden.ffmpeg.process import Process, WatchLoop, read_pipe
from streamwarden.ffmpeg.sandbox import NOTHING, Reach, Sandbox
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import FragmentScan
from streamwarden.paths import open_nofollow

log = structlog.get_logger(__name__)


_TICK_S: Final = 0.5


_STDERR_KEPT: Final = 2_000


_DRAIN_READS: Final = 1_024


class JobOutcome(StrEnum):
    """How a job ended."""

    ENDED = "ended"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    TOO_MUCH = "too_much"
    """It wrote more than ``output_limit_bytes``."""
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """The result of a job: its output, unless ``on_output`` took it, and the end of its stderr."""

    outcome: JobOutcome
    exit_code: int
    output: bytes
    stderr: str

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.outcome is JobOutcome.ENDED and self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOrder:
    """One job. ``stdin`` is its input; ``on_output``, where given, gets its output as it comes.

    ``reach`` is what it may use besides its standard streams.

    Both callbacks run in the thread of all jobs and must not block.
    """

    argv: Sequence[str]
    folder: Path
    timeout_s: float
    on_end: Callable[[JobEnd], None]
    reach: Reach = NOTHING
    stdin: bytes = b""
    on_output: Callable[[bytes], None] | None = None
    output_limit_bytes: int = 16 * 1024 * 1024
    stderr_limit_bytes: int = _STDERR_KEPT


class Job:
    """A handle on a job, for ``JobRunner.cancel``."""

    def __init__(self, order: JobOrder) -> None:
        self.order = order
        self.stopped: JobOutcome | None = None
        self.process: Process | None = None
        self.ends_by_s = 0.0
        self.output = bytearray()
        self.stderr = b""


class JobRunner:
    """Runs jobs, as many at once as are given to it, in a sandbox where one is given. Thread-safe."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._live: set[Job] = set()
        self._closing = False
        self._loop: WatchLoop | None = None

    def start(self) -> None:
        """Start the thread."""
        self._loop = WatchLoop("media-jobs")
        self._loop.start(self)

    def close(self, deadline_s: float = 2.0) -> None:
        """Kill the running jobs, and end the thread."""
        if self._loop is not None:
            self._loop.enqueue(self._begin_close)
            self._loop.join(deadline_s)

    def run(self, order: JobOrder) -> Job:
        """Start a job; ``order.on_end`` is called exactly once."""
        job = Job(order)
        self.enqueue(partial(self._begin, job))
        return job

    def run_and_wait(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        timeout_s: float,
        stdin: bytes = b"",
        reach: Reach = NOTHING,
    ) -> JobEnd:
        """Run a job and block until its end, at most ``timeout_s`` plus two ticks."""
        done, ends = threading.Event(), list[JobEnd]()

        def on_end(end: JobEnd) -> None:
            ends.append(end)
            done.set()

        self.run(
            JobOrder(
                argv=argv,
                folder=folder,
                timeout_s=timeout_s,
                on_end=on_end,
                reach=reach,
                stdin=stdin,
            )
        )
        done.wait(timeout_s + 2 * _TICK_S)
        return (
            ends[0]
            if ends
            else JobEnd(outcome=JobOutcome.NOT_STARTED, exit_code=-1, output=b"", stderr="")
        )

    def cancel(self, job: Job) -> None:
        """Kill a job; ``on_end`` follows."""
        self.enqueue(partial(self._stop, job, JobOutcome.CANCELLED))

    def enqueue(self, command: Callable[[], None]) -> None:
        """Run ``command`` in the jobs' thread."""
        if self._loop is None:
            raise RuntimeError("the runner has not been started")
        self._loop.enqueue(command)

    # LoopHandler, in the thread of all jobs

    def wait_s(self) -> float | None:
        """Return the interval at which timeouts are checked."""
        return _TICK_S if self._live else None

    def run_once(self) -> None:
        """Kill the jobs that have reached their timeout."""
        now = time.monotonic()
        for job in [job for job in self._live if now >= job.ends_by_s]:
            self._stop(job, JobOutcome.TIMED_OUT)

    def finished(self) -> bool:
        """Return whether the runner is closed and every job has ended."""
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
        if self._sandbox is not None:
            argv = self._sandbox.argv(argv, job.order.reach, ffmpeg=job.order.argv[0])
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
    """A job's input as a file in memory, so that nothing has to write to a pipe."""

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


_DECODE_TIMEOUT_S: Final = 600.0


# After a jump of the camera's clock two frames may be closer together than a frame duration. That is
# no damage, but rounded to the frame rate their times would be equal, which FFmpeg reports.
_TO_NOWHERE: Final = ("-fps_mode", "passthrough", "-enc_time_base", "1/1000000", "-f", "null", "-")


_SHOWN_CHARS: Final = 200


def decode(ffmpeg: str, path: Path, *, sandbox: Sandbox | None = None) -> str:
    """Decode every frame of ``path``; return FFmpeg's error messages, empty for a sound file."""
    argv = [ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-xerror"]
    argv += ["-protocol_whitelist", "file", "-i", f"file:{path}"]
    argv += _TO_NOWHERE
    argv = [*DIE_WITH_PARENT, *argv]
    if sandbox is not None:
        argv = sandbox.argv(argv, Reach(reads=(str(path),)), ffmpeg=ffmpeg)
    try:
        played = subprocess.run(  # noqa: S603 - our own argument list, no shell
            [*LIMITS, *argv],
            env=ENVIRONMENT,
            capture_output=True,
            check=False,
            timeout=_DECODE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"not decoded within {_DECODE_TIMEOUT_S:.0f} s"
    stderr = played.stderr.decode("utf-8", "replace").strip()
    if played.returncode == 0 and not stderr:
        return ""
    return stderr[-_SHOWN_CHARS:] or f"FFmpeg ended with code {played.returncode}"


_SLACK_MS: Final = 100
"""Added to seek times, because FFmpeg seeks to the key frame at or before a time. Where audio starts
first, video times are later by one audio frame, 64 ms at 16 kHz, and the key frame would be missed."""


@dataclass(frozen=True, slots=True)
class ConcatEntry:
    """A file, and the range of its media in milliseconds that is taken.

    ``before_ms`` is the time, by the file's own stamps, of the first picture that must not be taken; None
    where one more does no harm. ``sound``: it holds sound.
    """

    path: Path
    from_ms: int
    to_ms: int
    before_ms: int | None = None
    sound: bool = False

    @property
    def media_ms(self) -> int:
        """The length of the range."""
        return self.to_ms - self.from_ms


def concat_entry(path: Path, *, from_ms: int, to_ms: int) -> ConcatEntry | None:
    """Return the part of ``path`` from ``from_ms`` to ``to_ms``, widened to key frames.

    None if the file is gone or has no media in that range.
    """
    try:
        fd = open_nofollow(path)
    except OSError:
        return None
    try:
        return _widened(path, fd, from_ms, to_ms)
    except NotFragmentedMp4:
        return None
    finally:
        os.close(fd)


def _widened(path: Path, fd: int, from_ms: int, to_ms: int) -> ConcatEntry | None:
    begin_ms = at_ms = 0
    for fragment in FragmentScan().advance(fd, os.fstat(fd).st_size):
        if fragment.key and at_ms <= from_ms:
            begin_ms = at_ms
        if at_ms >= to_ms:
            break
        at_ms += fragment.media_ms
    return ConcatEntry(path, begin_ms, at_ms) if at_ms > max(begin_ms, from_ms) else None


def concat_list(
    entries: Iterable[ConcatEntry], *, header: Path | None = None, silence: Path | None = None
) -> str:
    """Return the script of FFmpeg's concat demuxer for these entries.

    It takes the tracks of the first file: ``header`` is one of which it takes nothing else. ``silence``
    stands for the entries without sound that follow one with sound.
    """
    lines = ["ffconcat version 1.0"]
    if silence is not None:
        # By their numbers, because the silence has but one of them.
        lines += [line for track in _TRACKS for line in ("stream", f"exact_stream_id {track}")]
    if header is not None:
        lines += [_file_line(header), f"outpoint {_BEFORE_ALL_S}", "duration 0"]
    heard = False
    for entry in entries:
        heard = heard or entry.sound
        if silence is not None and heard and not entry.sound:
            length = _listed_ms(entry) / 1000
            lines += [_file_line(silence), f"outpoint {length:.3f}", f"duration {length:.3f}"]
            continue
        lines.append(_file_line(entry.path))
        begin_ms = entry.from_ms + _SLACK_MS if entry.from_ms else 0
        if begin_ms:
            lines.append(f"inpoint {begin_ms / 1000:.3f}")
        end_ms = entry.to_ms + _SLACK_MS if entry.before_ms is None else entry.before_ms - 1
        lines.append(f"outpoint {end_ms / 1000:.3f}")
        lines.append(f"duration {_listed_ms(entry) / 1000:.3f}")
    return "\n".join(lines) + "\n"


_TRACKS: Final = (1, 2)
"""The numbers of the tracks of a recorder's file: the picture, then the sound."""


_BEFORE_ALL_S: Final = -1_000
"""A time before all of a file, which is at its beginning at the earliest."""


def _file_line(path: Path) -> str:
    quoted = str(path).replace("'", "'\\''")
    return f"file 'file:{quoted}'"


def _listed_ms(entry: ConcatEntry) -> int:
    return entry.to_ms - (entry.from_ms + _SLACK_MS if entry.from_ms else 0)


def concat_argv(
    ffmpeg: str, listed: str, target: str, *, sound: str | None = None, hevc: bool = False
) -> Sequence[str]:
    """Return the arguments that join the files of the script ``listed`` into the MP4 ``target``.

    ``sound`` is another script, from which the sound is taken. ``hevc``: their picture is H.265, which
    older recordings hold as ``hev1``.

    FFmpeg writes its progress to standard output.
    """
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "error", "-y"),
        *("-progress", "pipe:1", "-protocol_whitelist", "file"),
        *("-f", "concat", "-safe", "0", "-i", listed),
        *(() if sound is None else ("-f", "concat", "-safe", "0", "-i", sound)),
        *(
            "-map",
            "0:v:0",
            "-map",
            "0:a:0?" if sound is None else "1:a:0",
            "-c",
            "copy",
            *(HVC1 if hevc else ()),
        ),
        *("-movflags", "+faststart", "-f", "mp4", target),
    ]


def decode_argv(ffmpeg: str, path: Path, *, from_ms: int, length_ms: int) -> Sequence[str]:
    """Return the arguments that decode a range of a file, from the key frame before it, to nowhere."""
    return [
        *(ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-threads", "1"),
        *("-protocol_whitelist", "file", "-ss", f"{from_ms / 1000:.3f}", "-i", f"file:{path}"),
        *("-t", f"{length_ms / 1000:.3f}", "-map", "0:v:0", "-map", "0:a:0?"),
        *_TO_NOWHERE,
    ]


def progress_ms(output: bytes) -> int | None:
    """Return the last position that FFmpeg's ``-progress`` output reports, None if there is none."""
    for line in reversed(output.splitlines()):
        name, _, value = line.partition(b"=")
        if name == b"out_time_us" and value.strip().isdigit():
            return int(value) // 1000
    return None
