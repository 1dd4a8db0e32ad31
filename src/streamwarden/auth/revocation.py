"""What was revoked: rules over tokens, held in memory so that the hook asks nobody.

A rule covers tokens for one use, on one path or any, of one user or anyone, issued up to a moment.
Rules only ever grow and end by their age, so two copies are merged by taking the later moment.
``docs/design/0009-revocation.md`` says what is denied when.


What a rule of the deny list is: over which tokens, why, and until when it is needed.

Keeps the deny list in memory as Postgres has it: told by NOTIFY, and read whole now and then.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from streamwarden.auth.play_tokens import PlayClaims
from streamwarden.auth.stream_tokens import MAX_LIFE_S, StreamClaims, StreamUse
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable
from streamwarden.loops import retry_delay_s
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import Denial
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.listening import listening

ANY = ""
"""Stands for every path, or every user."""


class DeniedUse(StrEnum):
    """What a token is shown for: the stream tokens' uses, and what a play token plays."""

    RECORD = "record"
    VIEW = "view"
    PUBLISH = "publish"
    LIVE = "live"
    """A play token for live pictures; its path is the camera's id."""
    RECORDINGS = "recordings"
    """A play token for recordings; likewise."""


USERS_OWN = (DeniedUse.VIEW, DeniedUse.PUBLISH, DeniedUse.LIVE, DeniedUse.RECORDINGS)
"""What is somebody's: all but the recorder's."""


_PLAY_LIFE_S = 86_400


_LIFE_S: Mapping[DeniedUse, int] = {
    DeniedUse.RECORD: MAX_LIFE_S[StreamUse.RECORD],
    DeniedUse.VIEW: MAX_LIFE_S[StreamUse.VIEW],
    DeniedUse.PUBLISH: MAX_LIFE_S[StreamUse.PUBLISH],
    DeniedUse.LIVE: _PLAY_LIFE_S,
    DeniedUse.RECORDINGS: _PLAY_LIFE_S,
}


class Reason(StrEnum):
    """Why something was revoked: a closed set, used as a metric's label."""

    CAMERA_RETIRED = "camera_retired"
    PATH_CHANGED = "path_changed"
    OWNER_CHANGED = "owner_changed"
    STOPPED = "stopped"
    GRANT_WITHDRAWN = "grant_withdrawn"
    USER_BLOCKED = "user_blocked"
    LINK_WITHDRAWN = "link_withdrawn"


class DenialLike(Protocol):
    """One rule. ``kicked_before`` None: sessions that are open go on."""

    @property
    def use(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def path(self) -> str: ...  # noqa: D102 - likewise
    @property
    def sub(self) -> str: ...  # noqa: D102 - likewise
    @property
    def issued_before(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def kicked_before(self) -> datetime | None: ...  # noqa: D102 - likewise
    @property
    def reason(self) -> str: ...  # noqa: D102 - likewise
    @property
    def expires_at(self) -> datetime: ...  # noqa: D102 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A denial of ours, as it goes into the table."""

    use: str
    path: str = ANY
    sub: str = ANY
    issued_before: datetime
    kicked_before: datetime | None
    reason: str
    expires_at: datetime


def rule(
    use: DeniedUse, at: datetime, reason: Reason, *, path: str = ANY, sub: str = ANY, kick: bool
) -> Rule:
    """Return the rule over tokens that were issued up to ``at``; ``kick``: sessions end too."""
    return Rule(
        use=use.value,
        path=path,
        sub=sub,
        issued_before=at,
        kicked_before=at if kick else None,
        reason=reason.value,
        expires_at=at + timedelta(seconds=_LIFE_S[use]),
    )


_TICK = timedelta(milliseconds=1)


def camera_retired(camera_id: UUID, path: str, at: datetime) -> list[Rule]:
    """Deny all that opens the stream of a camera that is deactivated or gone, and end it."""
    why = Reason.CAMERA_RETIRED
    uses = (DeniedUse.RECORD, DeniedUse.VIEW, DeniedUse.PUBLISH)
    on_path = [rule(use, at, why, path=path, kick=True) for use in uses]
    return [*on_path, rule(DeniedUse.LIVE, at, why, path=str(camera_id), kick=True)]


def path_changed(old_path: str, at: datetime) -> list[Rule]:
    """Deny what opens a path that is the camera's no more: another camera may get it.

    What records and publishes there goes on until it ends: it is still this camera's.
    """
    why = Reason.PATH_CHANGED
    return [
        rule(DeniedUse.VIEW, at, why, path=old_path, kick=True),
        rule(DeniedUse.RECORD, at, why, path=old_path, kick=False),
        rule(DeniedUse.PUBLISH, at, why, path=old_path, kick=False),
    ]


def stopped(path: str, at: datetime) -> list[Rule]:
    """Deny the recorder's tokens of a camera that is no longer wanted."""
    return [rule(DeniedUse.RECORD, at, Reason.STOPPED, path=path, kick=True)]


def links_withdrawn(path: str, at: datetime) -> list[Rule]:
    """Deny every publish link of a camera, and end what publishes."""
    return [rule(DeniedUse.PUBLISH, at, Reason.LINK_WITHDRAWN, path=path, kick=True)]


_USES_OF_GRANT: Mapping[str, tuple[DeniedUse, ...]] = {
    "view": (DeniedUse.VIEW, DeniedUse.LIVE),
    "recordings": (DeniedUse.RECORDINGS,),
    "publish": (DeniedUse.PUBLISH,),
    "control": (),
}


def grants_withdrawn(
    camera_id: UUID,
    path: str,
    *,
    sub: str,
    actions: Iterable[str],
    at: datetime,
    reason: Reason = Reason.GRANT_WITHDRAWN,
) -> list[Rule]:
    """Deny what ``sub`` holds of a camera by grants that they have no more."""
    uses = {use for action in actions for use in _USES_OF_GRANT.get(action, ())}
    return [
        rule(use, at, reason, path=_path_of(use, camera_id, path), sub=sub, kick=True)
        for use in sorted(uses)
    ]


def owner_changed(camera_id: UUID, path: str, *, before: str, at: datetime) -> list[Rule]:
    """Deny what the former owner holds of a camera."""
    return grants_withdrawn(
        camera_id,
        path,
        sub=before,
        actions=_USES_OF_GRANT,
        at=at,
        reason=Reason.OWNER_CHANGED,
    )


def user_blocked(sub: str, at: datetime) -> list[Rule]:
    """Deny all that ``sub`` holds."""
    return [rule(use, at, Reason.USER_BLOCKED, sub=sub, kick=True) for use in USERS_OWN]


def _path_of(use: DeniedUse, camera_id: UUID, path: str) -> str:
    return str(camera_id) if use in {DeniedUse.LIVE, DeniedUse.RECORDINGS} else path


_Entry = tuple[datetime, datetime | None, str, datetime]
"""Issued before, kicked before, reason, expires at.

A plain tuple: the garbage collector stops looking at one that holds none of its own objects, and
looking at 100,000 others would hold the hook up for a tenth of a second.
"""


_Key = tuple[str, str, str]


class DenialList:
    """Every rule and every blocked user. Any thread may read without waiting; writers take turns.

    ``known`` is False until the table was read once: then nobody can say what is denied.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._anyones: dict[tuple[str, str], _Entry] = {}
        """By use and path, over all users: for a session of nobody knows whom."""
        self._blocked: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._last = clock.now()
        self.known = False

    def __len__(self) -> int:
        """Count the rules."""
        return len(self._entries)

    def moment(self) -> datetime:
        """Return a moment for a token to be signed or a rule to be made, later than any before.

        The machine's clock, unless it has been set back: then a rule must still cover every token that
        was signed before it, and no token that is signed after it.
        """
        with self._lock:
            self._last = max(self._clock.now(), self._last + _TICK)
            return self._last

    # Read by the hook: a handful of look-ups, no lock

    def denies(self, claims: StreamClaims) -> bool:
        """Tell whether the token's new use must be refused."""
        use, path, sub = claims.use.value, claims.path, claims.sub
        return self._denied(use, path, sub, claims.issued_at)

    def denies_playing(self, claims: PlayClaims, use: DeniedUse) -> bool:
        """Tell whether the play token is good for ``use`` no more."""
        return self._denied(use.value, str(claims.camera_id), claims.sub, claims.issued_at)

    def is_blocked(self, sub: str) -> bool:
        """Tell whether the user is blocked."""
        return sub in self._blocked

    def _denied(self, use: str, path: str, sub: str, issued_at: datetime) -> bool:
        if use != DeniedUse.RECORD and sub in self._blocked:
            return True
        return any(
            entry is not None and issued_at <= entry[0] for entry in self._of(use, path, sub)
        )

    def _of(self, use: str, path: str, sub: str) -> tuple[_Entry | None, ...]:
        get = self._entries.get
        return get((use, path, sub)), get((use, path, ANY)), get((use, ANY, sub))

    # Read by the sweep over sessions

    def kick(self, claims: StreamClaims) -> tuple[datetime, str] | None:
        """Return since when and why a session with this token must end; None: it may go on."""
        if claims.use is not StreamUse.RECORD and claims.sub in self._blocked:
            return claims.issued_at, Reason.USER_BLOCKED.value
        found = self._of(claims.use.value, claims.path, claims.sub)
        return _kick([entry for entry in found if entry is not None], claims.issued_at)

    def kick_unknown(
        self, use: StreamUse, path: str, since: datetime
    ) -> tuple[datetime, str] | None:
        """As ``kick`` for a session of an unknown user that is open since ``since``."""
        found = (self._anyones.get((use.value, path)), self._anyones.get((use.value, ANY)))
        return _kick([entry for entry in found if entry is not None], since)

    # Written by revocations and by what reads the table

    def add(self, denials: Iterable[DenialLike]) -> None:
        """Take rules in; one that is older than what is known changes nothing."""
        now = self._clock.now()
        with self._lock:
            for denial in denials:
                if denial.expires_at > now:
                    self._merge(denial)
                    self._last = max(self._last, denial.issued_before)

    def read(self, blocked: Collection[str]) -> None:
        """Note that the whole table was read, and who is blocked."""
        with self._lock:
            self._blocked = frozenset(blocked)
            self.known = True

    def set_blocked(self, sub: str, *, blocked: bool) -> None:
        """Note that a user was blocked or unblocked."""
        with self._lock:
            self._blocked = self._blocked | {sub} if blocked else self._blocked - {sub}

    def forget_expired(self) -> int:
        """Drop rules that cover no token that can still live; return how many."""
        now = self._clock.now()
        with self._lock:
            old = [key for key, entry in self._entries.items() if entry[3] <= now]
            for key in old:
                del self._entries[key]
            gone = [key for key, entry in self._anyones.items() if entry[3] <= now]
            for place in gone:
                del self._anyones[place]
        return len(old)

    def _merge(self, denial: DenialLike) -> None:
        entry = (denial.issued_before, denial.kicked_before, denial.reason, denial.expires_at)
        key = (denial.use, denial.path, denial.sub)
        before = self._entries.get(key)
        self._entries[key] = entry if before is None else _merged(before, entry)
        place = (denial.use, denial.path)
        anyones = self._anyones.get(place)
        self._anyones[place] = entry if anyones is None else _merged(anyones, entry)


def _merged(one: _Entry, other: _Entry) -> _Entry:
    newer = max(one, other, key=lambda entry: entry[0])
    return newer[0], _later(one[1], other[1]), newer[2], max(one[3], other[3])


def _kick(entries: list[_Entry], issued_at: datetime) -> tuple[datetime, str] | None:
    kicks = [
        (kicked_before, reason)
        for _, kicked_before, reason, _ in entries
        if kicked_before is not None and issued_at <= kicked_before
    ]
    return max(kicks) if kicks else None


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return max(one, other)


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


class DenialSync:
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
        metrics: AccessMetrics,
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
            self._stopping.wait(retry_delay_s(failures))

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
