"""Keeps the deny list in memory as Postgres has it: told by NOTIFY, and read whole now and then."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

import structlog

from streamwarden.app.sweeping import again_s
from streamwarden.auth.denials import DenialList
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.metrics.guard import GuardMetrics
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.listening import listening
from streamwarden.storage.rows import Denial

log = structlog.get_logger(__name__)

READ_EVERY_S: Final = 60.0
CHECK_EVERY_S: Final = 5.0
_LOOK_S: Final = 1.0
_PAGE_PAUSE_S: Final = 0.02
"""Between pages, so that the hook's threads get their turns."""
_STOP_WITHIN_S: Final = 5.0


class Notices(Protocol):
    """What others write, as they write it."""

    def wait(self, timeout_s: float) -> Sequence[str]:
        """Return what was sent, maybe nothing; raise Unavailable when the connection is lost."""

    def check(self) -> None:
        """Raise Unavailable when the connection is lost."""


Listen = Callable[[], AbstractContextManager[Notices]]


@dataclass(frozen=True, slots=True)
class _Block:
    user: str
    blocked: bool


class DenialKeeper:
    """A thread of its own. ``changed`` is called after every change, on that thread.

    ``ready`` raises Unavailable while the tables are not there yet.
    """

    def __init__(
        self,
        *,
        listen: Listen,
        table: DenialRepository,
        denied: DenialList,
        clock: Clock,
        metrics: GuardMetrics,
        changed: Callable[[], None],
        ready: Callable[[], None],
    ) -> None:
        self._listen = listen
        self._table = table
        self._denied = denied
        self._clock = clock
        self._metrics = metrics
        self._changed = changed
        self._ready = ready
        self._stopping = threading.Event()
        self._read_once = threading.Event()
        self._fingerprint: str | None = None
        self._thread = threading.Thread(target=self._run, name="denials", daemon=True)

    def start(self, within_s: float = 2.0) -> bool:
        """Begin; return whether the whole list was read within ``within_s``."""
        self._thread.start()
        return self._read_once.wait(within_s)

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began_s = self._clock.monotonic()
            try:
                self._keep()
            except Unavailable as error:
                log.warning("denials_not_current", why=error.code)
            except Exception:
                log.exception("denials_failed")
            lasted = self._clock.monotonic() - began_s > CHECK_EVERY_S
            failures = 0 if lasted else failures + 1
            self._stopping.wait(again_s(failures))

    def _keep(self) -> None:
        """Listen first, then read: what is written in between is heard."""
        self._ready()
        with self._listen() as notices:
            self._fingerprint = None
            read_s = checked_s = self._read_if_changed()
            while not self._stopping.is_set():
                self._hear(notices.wait(_LOOK_S))
                now_s = self._clock.monotonic()
                if now_s - checked_s >= CHECK_EVERY_S:
                    notices.check()
                    checked_s = now_s
                    self._show()
                if now_s - read_s >= READ_EVERY_S:
                    read_s = self._read_if_changed()

    def _hear(self, payloads: Sequence[str]) -> None:
        heard = [read_notice(payload) for payload in payloads]
        self._denied.add(one for one in heard if isinstance(one, Denial))
        for one in heard:
            if isinstance(one, _Block):
                self._denied.set_blocked(one.user, blocked=one.blocked)
        if heard:
            self._changed()

    def _read_if_changed(self) -> float:
        """Read the table whole, unless it is as it was; return when, on the monotonic clock."""
        self._denied.forget_expired()
        self._table.drop_expired(self._clock.now())
        fingerprint = self._table.fingerprint()
        if fingerprint != self._fingerprint:
            for page in self._pages():
                self._denied.add(page)
            self._fingerprint = fingerprint
        self._denied.read([user.user_sub for user in self._table.blocked()])
        self._read_once.set()
        self._show()
        self._changed()
        return self._clock.monotonic()

    def _pages(self) -> Iterator[list[Denial]]:
        for page in self._table.pages():
            yield page
            if self._read_once.is_set():
                self._stopping.wait(_PAGE_PAUSE_S)

    def _show(self) -> None:
        self._metrics.denials(len(self._denied), self._clock.now().timestamp())


def listen_at(url: str) -> Listen:
    """Return how changes are listened to at a database's ``url``."""
    return partial(listening, url, application_name="api-denials")


def read_notice(payload: str) -> Denial | _Block:
    """Return what a notice says; raise ValueError or KeyError if it is none of ours."""
    found: Mapping[str, Any] = json.loads(payload)
    if "user" in found:
        return _Block(str(found["user"]), found["blocked"] is True)
    kicked = found["kicked_before"]
    return Denial(
        use=found["use"],
        path=found["path"],
        sub=found["sub"],
        issued_before=datetime.fromisoformat(found["issued_before"]),
        kicked_before=None if kicked is None else datetime.fromisoformat(kicked),
        reason=found["reason"],
        expires_at=datetime.fromisoformat(found["expires_at"]),
    )
