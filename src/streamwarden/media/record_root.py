"""The record root has one owner at a time, and no FFmpeg of a former one."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streamwarden.errors import ConfigError
from streamwarden.media.beneath import require_plain
from streamwarden.media.disk import make_folder
from streamwarden.media.names import LIVE, STATE

_ALIVE: Final = "alive"
_SEGMENTS: Final = re.compile(rb"\0r[0-9]+-%06d\.mp4\0")
"""The last argument of ``command.recording_argv``, as ``/proc`` shows it."""


class RecordRootInUse(ConfigError):
    """Another server records into this folder."""

    code = "record_root_in_use"


class RecordRoot:
    """Holds the lock of a record root; ends what a killed server has left running in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / STATE
        self.fresh = False
        self._lock_fd: int | None = None

    def take(self) -> None:
        """Make the folder and lock it; ``fresh`` says that no server had ever recorded there.

        Raises:
            RecordRootInUse: another server holds it.
            ConfigError: it cannot be made or written.
        """
        self.fresh = not self.state.exists()
        try:
            require_plain(self.path, self.state)
            make_folder(self.state)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self.state / "lock", flags, 0o600)
        except OSError as error:
            text = f"RECORD_ROOT {self.path} cannot be written: {error.strerror}"
            raise ConfigError(text) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            text = f"another streamwarden records into {self.path}; stop it, or set RECORD_ROOT"
            raise RecordRootInUse(text) from error
        self._lock_fd = fd

    def release(self) -> None:
        """Let another server have the record root."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def end_orphans(self) -> list[int]:
        """Kill processes that still record into this root; return their ids. Hold the lock."""
        orphans = list(self._orphans())
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return orphans

    def _orphans(self) -> Iterator[int]:
        root = self.path.resolve()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                folder = (process / "cwd").readlink()
            except OSError:
                # It has ended meanwhile, or belongs to a user whose processes we may not look at.
                continue
            # An operator's shell that stands in the folder is nobody's orphan.
            if folder.is_relative_to(root) and folder.name == LIVE and _records(process):
                yield int(process.name)

    def heartbeat(self) -> None:
        """Note that the server is alive."""
        path = self.state / _ALIVE
        path.touch(mode=0o600)

    def alive_until(self) -> datetime | None:
        """Return when the last server noted that it was alive; None where there was none."""
        try:
            return datetime.fromtimestamp((self.state / _ALIVE).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None


def _records(process: Path) -> bool:
    """Whether a process was given the names of a run's segments to write."""
    try:
        arguments = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return _SEGMENTS.search(arguments) is not None
