"""A real Postgres as a child of this program, for development and tests."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

from streamwarden.devkit.postgres_command import (
    SUPERUSER,
    PostgresFailed,
    initialise,
    run_as,
    server_command,
)
from streamwarden.devkit.postgres_files import (
    ClusterLock,
    clear_leftovers,
    prepare_data_dir,
    private_socket_dir,
)
from streamwarden.devkit.postgres_process import PostgresProcess

_PORT = 5432
"""Part of the socket's name; nothing listens on TCP."""

_START_TIMEOUT_S = 60.0
"""Usually 0.5 s; recovery after a kill may take longer."""

_KILL_WAIT_S = 10.0
_STOP_LADDER = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, _KILL_WAIT_S))
"""Postgres's fast shutdown, its immediate shutdown, then the kernel's; and seconds to wait."""


class EmbeddedPostgres:
    """A cluster in ``data_dir``, served on a Unix socket that only this user can open.

    It can be started, stopped and killed repeatedly; the URL stays the same. It ends with this program,
    also after ``kill -9``. Root runs it as another user, because Postgres refuses root.
    ``fsync=False`` is for tests: faster, and not safe against power loss.
    """

    def __init__(self, data_dir: Path, *, fsync: bool = True) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "cluster"
        self._fsync = fsync
        self._lock = ClusterLock(self._data_dir)
        self._process: PostgresProcess | None = None
        self._socket_dir: Path | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it is not running."""
        return self._process.pid if self._process else None

    @property
    def url(self) -> str:
        """The connection URL, without a password.

        Raises:
            PostgresFailed: it was never started.
        """
        if self._socket_dir is None:
            raise PostgresFailed("the embedded Postgres was never started")
        host = quote(str(self._socket_dir), safe="")
        return f"postgresql://{SUPERUSER}@/postgres?host={host}&port={_PORT}"

    def start(self) -> str:
        """Start the server, wait until it accepts connections, and return its URL.

        No effect while it runs. The first start creates the cluster.

        Raises:
            PostgresFailed: it cannot run here, or the data directory is in use.
        """
        if self.pid is None:
            try:
                self._start()
            except OSError as error:
                self.stop()
                raise PostgresFailed(f"{self._data_dir} cannot be used: {error}") from error
            except BaseException:
                self.stop()
                raise
        return self.url

    def stop(self) -> None:
        """Stop the server, with escalating signals; then release the directory.

        Raises:
            PostgresFailed: it has not ended after SIGKILL.
        """
        if self._process and not any(self._process.end(sig, wait_s=s) for sig, s in _STOP_LADDER):
            raise PostgresFailed("the embedded Postgres cannot be ended")
        self._process = None
        if self._lock.held and self._socket_dir:
            with suppress(OSError):  # there is a file of another user in it
                self._socket_dir.rmdir()
        self._lock.release()

    def kill(self) -> None:
        """Kill the server with SIGKILL and wait for its end; ``start`` starts it again."""
        if self._process:
            self._process.end(signal.SIGKILL, wait_s=_KILL_WAIT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _start(self) -> None:
        if self._process:
            self._process.wait_ended(_KILL_WAIT_S)
        user = run_as()
        prepare_data_dir(self._data_dir, user)
        self._lock.acquire()
        self._socket_dir = private_socket_dir(self._data_dir, user, port=_PORT)
        if self._cluster.exists():
            clear_leftovers(self._cluster, self._socket_dir)
        else:
            initialise(self._cluster, user, sync=self._fsync)
        command = server_command(
            self._cluster, self._socket_dir, user, port=_PORT, fsync=self._fsync
        )
        self._process = PostgresProcess(command, log_path=self._data_dir / "postgres.log")
        self._process.wait_ready(_START_TIMEOUT_S)
