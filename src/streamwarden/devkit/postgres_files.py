"""Files of the embedded Postgres: its folders, its lock, and the leftovers of a killed server."""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from streamwarden.devkit.postgres_command import PostgresFailed, RunAs

_SOCKET_PATH_MAX_BYTES = 107
"""``sun_path`` of unix(7) holds 108 bytes with the final zero."""


_LEFTOVER_WAIT_S = 10.0


class ClusterLock:
    """An exclusive lock on a data directory; the kernel releases it when the process ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock; no effect while held.

        Raises:
            PostgresFailed: another process, or another object of this one, has it.
        """
        if self.held:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            raise PostgresFailed(
                f"{self._path.parent} is in use by process {holder or 'unknown'}: "
                "stop it, or choose another data directory"
            ) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; no effect if not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def prepare_data_dir(data_dir: Path, user: RunAs) -> None:
    """Create ``data_dir`` for this user alone, with search permission for ``user``.

    Raises:
        PostgresFailed: it belongs to another user, or cannot be created.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = data_dir.stat().st_uid
    except OSError as error:
        raise PostgresFailed(f"{data_dir} cannot be used: {error.strerror}") from error
    if owner != os.geteuid():
        raise PostgresFailed(
            f"{data_dir} belongs to user {owner}, this is user {os.geteuid()}: "
            "run as its owner, or choose another data directory"
        )
    if user.owner:
        data_dir.chmod(0o711)


def private_socket_dir(data_dir: Path, user: RunAs, *, port: int) -> Path:
    """Return a folder for the socket, accessible to ``user`` only.

    It is below ``data_dir``, or below the temporary folder if that path is too long or has a comma.

    Raises:
        PostgresFailed: the folder belongs to another user, or every path is too long.
    """
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    outside = f"streamwarden-{os.geteuid()}-{digest}"
    places = (data_dir / "socket", Path(tempfile.gettempdir(), outside), Path("/tmp", outside))  # noqa: S108 - checked below
    for place in places:
        # In libpq a comma separates hosts.
        fits = len(os.fsencode(place / f".s.PGSQL.{port}")) <= _SOCKET_PATH_MAX_BYTES
        if fits and "," not in str(place):
            with suppress(FileExistsError):
                place.mkdir(mode=0o700)
                user.give(place)
            _check_private(place, owner=user.owner[0] if user.owner else os.geteuid())
            return place
    raise PostgresFailed(f"no folder for a Unix socket is short enough, for {data_dir}")


def _check_private(place: Path, *, owner: int) -> None:
    found = place.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
    if not private or found.st_uid != owner:
        raise PostgresFailed(f"{place} is not a folder of user {owner} alone: remove it")


def clear_leftovers(cluster: Path, socket_dir: Path) -> None:
    """Remove the leftovers of a server whose program was killed; call with the lock held.

    Its processes may still be ending. Its pid file may hold the id of an unrelated new process, which
    Postgres would take for a running server.

    Raises:
        PostgresFailed: a process has not ended after SIGKILL.
    """
    ladder = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    if not any(_ended(cluster, number) for number in ladder):
        raise PostgresFailed(f"an earlier Postgres still works in {cluster} and cannot be ended")
    for left in socket_dir.glob(".s.PGSQL.*"):
        left.unlink(missing_ok=True)
    _forget_stranger(cluster / "postmaster.pid")


def _ended(cluster: Path, number: signal.Signals) -> bool:
    """Signal the processes of ``cluster``; return whether they ended within the wait."""
    deadline = time.monotonic() + _LEFTOVER_WAIT_S
    for pid in _working_in(cluster):
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(process, number)
                select.select([process], [], [], max(0.0, deadline - time.monotonic()))
            finally:
                os.close(process)
    return not any(_working_in(cluster))


def _working_in(cluster: Path) -> Iterator[int]:
    """Yield the Postgres processes whose working directory is ``cluster``."""
    here = str(cluster.resolve())
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended, or belongs to another user
                comm = (entry / "comm").read_text(encoding="utf-8").strip()
                if comm == "postgres" and str((entry / "cwd").readlink()) == here:
                    yield int(entry.name)


def _forget_stranger(pid_file: Path) -> None:
    """Remove ``pid_file`` if a process with its id exists: that process is not the cluster's.

    Otherwise keep it: Postgres uses it to check that the shared memory is no longer in use.
    """
    try:
        os.kill(int(pid_file.read_text(encoding="utf-8").split(maxsplit=1)[0]), 0)
    except (FileNotFoundError, ValueError, IndexError, ProcessLookupError, PermissionError):
        return
    pid_file.unlink()
