"""Migrations at the start of the API role, also where Postgres comes up later than we do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from streamwarden.errors import StreamwardenError, Unavailable
from streamwarden.storage.migrate import migrate

log = structlog.get_logger(__name__)

_AGAIN_S: Final = 2.0


class Migrating:
    """Applies what is pending; while Postgres is away, it asks again and again."""

    def __init__(self, url: str, *, on_failure: Callable[[str], None]) -> None:
        self._url = url
        self._on_failure = on_failure
        self._done = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Migrate now if Postgres is there, otherwise as soon as it is.

        Raises:
            StreamwardenError: the database is newer than this program, or was changed by hand.
        """
        if self._attempt():
            return
        self._thread = threading.Thread(target=self._later, name="migrations", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_AGAIN_S)

    def check(self) -> None:
        """Raise Unavailable until the database is up to date."""
        if not self._done.is_set():
            raise Unavailable("the database has not been brought up to date yet")

    def _attempt(self) -> bool:
        try:
            applied = migrate(self._url)
        except Unavailable as error:
            log.warning("migrations_wait_for_postgres", detail=str(error))
            return False
        if applied:
            log.info("migrations_applied", versions=[migration.version for migration in applied])
        self._done.set()
        return True

    def _later(self) -> None:
        while not self._stopping.wait(_AGAIN_S):
            try:
                if self._attempt():
                    return
            except StreamwardenError as error:
                self._on_failure(str(error))
                return
