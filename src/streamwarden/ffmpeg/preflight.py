"""The preflight: FFmpeg run once exactly as a recorder runs it, and repeated until that works.

A unit's system call filter, a limit, a missing library or a wrong account stops every recorder and nothing
else of the program. ``-version`` under the recorders' own limits and confinement shows it at the start.
"""

from __future__ import annotations

import re
import selectors
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

import structlog

from streamwarden.errors import Unavailable
from streamwarden.ffmpeg.command import DIE_WITH_PARENT, FfmpegAccount
from streamwarden.ffmpeg.exit_causes import launch_failure
from streamwarden.ffmpeg.process import Process, read_pipe
from streamwarden.ffmpeg.sandbox import TRIAL, Sandbox
from streamwarden.loops import LoopEvents, ReconcileLoop

log = structlog.get_logger(__name__)

_ANSWERS_WITHIN_S: Final = 10.0
_OUTPUT_LIMIT_BYTES: Final = 64 * 1024
_RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
_AGAIN_S: Final = 600.0
"""After a success: an upgrade of the system may take FFmpeg away while recorders still run the old one."""
_VERSION: Final = re.compile(rb"\Affmpeg version (\S{1,80})")


def try_ffmpeg(
    ffmpeg: str,
    account: FfmpegAccount | None,
    folder: Path,
    *,
    sandbox: Sandbox | None = None,
    answers_within_s: float = _ANSWERS_WITHIN_S,
) -> str:
    """Run ``ffmpeg -version`` as a recorder runs FFmpeg, in ``folder``; return its version.

    Raises:
        Unavailable: it cannot be started or is no FFmpeg; the text says what to do.
    """
    argv = [*DIE_WITH_PARENT, ffmpeg, "-version"]
    if account is not None:
        argv = account.argv(argv)
    if sandbox is not None:
        argv = sandbox.argv(argv, TRIAL, ffmpeg=ffmpeg)
    try:
        process = Process(argv, folder)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None)
        raise Unavailable(
            f"FFmpeg cannot be started: {words}{f': {where}' if where else ''}"
        ) from error
    try:
        output, errors, ended = _answer(process, time.monotonic() + answers_within_s)
        exit_code = process.reap()
    finally:
        process.close()
    if not ended:
        raise Unavailable(
            f"FFmpeg cannot be used: {ffmpeg} -version has not ended within "
            f"{answers_within_s:.0f} s, or prints without end"
        )
    found = _VERSION.match(output)
    if exit_code == 0 and found is not None:
        return found[1].decode("utf-8", "replace")
    raise Unavailable(_in_words(ffmpeg, exit_code, errors.decode("utf-8", "replace")))


def _answer(process: Process, until_s: float) -> tuple[bytes, bytes, bool]:
    """Return both outputs, and whether the process has ended by itself within its limits."""
    kept: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    ended = False
    with selectors.DefaultSelector() as selector:
        selector.register(process.pidfd, selectors.EVENT_READ)
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while not ended and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                if isinstance(key.fileobj, int):
                    ended = True
                elif not _take(key.fileobj, kept):
                    selector.unregister(key.fileobj)
            if any(len(text) > _OUTPUT_LIMIT_BYTES for text in kept.values()):
                break
    while any(_take(pipe, kept) for pipe in kept if len(kept[pipe]) <= _OUTPUT_LIMIT_BYTES):
        pass
    return bytes(kept[process.stdout]), bytes(kept[process.stderr]), ended


def _take(pipe: object, kept: dict[IO[bytes], bytearray]) -> bool:
    """Move what a pipe holds to ``kept``; False if it is empty or has ended."""
    for one, held in kept.items():
        if one is pipe:
            chunk = read_pipe(one)
            held.extend(chunk or b"")
            return bool(chunk)
    return False


_HINT: Final = (
    "; if that file is there, it lies where FFmpeg's sandbox does not reach: name its folder in "
    "STREAMWARDEN_FFMPEG_READS"
)


def _in_words(ffmpeg: str, exit_code: int, stderr: str) -> str:
    if "activate capabilities: Operation not permitted" in stderr:
        return (
            "FFmpeg cannot be started: setpriv may not call capset, which it needs. A system call filter "
            "forbids it; in a systemd unit add SystemCallFilter=capset after the other filters"
        )
    if (said := launch_failure(stderr)) is not None:
        hint = _HINT if "shared libraries" in said or "Permission denied" in said else ""
        return f"FFmpeg cannot be started: {said}{hint}"
    if exit_code == -signal.SIGSYS:
        return f"FFmpeg cannot be used: a system call filter ends {ffmpeg}"
    if exit_code < 0:
        return f"FFmpeg cannot be used: {ffmpeg} -version was ended by signal {-exit_code}"
    if exit_code == 0:
        return f"FFmpeg cannot be used: {ffmpeg} -version does not begin with 'ffmpeg version'"
    return f"FFmpeg cannot be used: {ffmpeg} -version ended with code {exit_code}"


class Preflight:
    """Tries FFmpeg on its own thread until it works, then every ten minutes. Thread-safe.

    It stops no recording: recorders make their own attempts. ``on_result`` is called after each attempt.
    """

    def __init__(self, attempt: Callable[[], str], *, on_result: Callable[[bool], None]) -> None:
        self._attempt = attempt
        self._on_result = on_result
        self._why: str | None = "FFmpeg has not been tried yet"
        self._failures = 0
        self._tried = threading.Event()
        self._loop = ReconcileLoop(
            "ffmpeg-preflight",
            self._once,
            events=LoopEvents(
                failed="ffmpeg_unusable", recovered="ffmpeg_usable", bug="preflight_failed"
            ),
            on_failure=lambda: None,
            stops_within_s=1.0,
        )

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread."""
        self._loop.stop()

    def await_first(self, timeout_s: float) -> bool:
        """Return whether the first attempt has ended within ``timeout_s``."""
        return self._tried.wait(timeout_s)

    def check(self) -> None:
        """Raise Unavailable, with the reason, unless the last attempt has succeeded."""
        if (why := self._why) is not None:
            raise Unavailable(why)

    def _once(self) -> float:
        try:
            version = self._attempt()
        except Unavailable as error:
            return self._refused(str(error))
        if self._why is not None:
            log.info("ffmpeg_usable", version=version, failures=self._failures)
        self._why, self._failures = None, 0
        self._report(usable=True)
        return _AGAIN_S

    def _refused(self, why: str) -> float:
        if self._why != why:
            log.error("ffmpeg_unusable", detail=why)
        self._why = why
        delay_s = _RETRY_S[min(self._failures, len(_RETRY_S) - 1)]
        self._failures += 1
        self._report(usable=False)
        return delay_s

    def _report(self, *, usable: bool) -> None:
        self._on_result(usable)
        self._tried.set()
