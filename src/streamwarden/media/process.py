"""One spawned process: its group, its pidfd and its two pipes, all of them released together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from streamwarden.media.command import ENVIRONMENT
from streamwarden.media.confinement import LIMITS

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
