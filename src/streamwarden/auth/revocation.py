"""Revocation: the deny list in memory, and its copy of the tables ``denial`` and ``blocked_user``.

A denial covers tokens of one use, on one path or all, of one user or all, issued up to a time. Denials
only grow and end by age, so two copies are merged by taking the later times.
``docs/design/0009-revocation.md`` says which change of access denies what.
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
from typing import Any, Final
from uuid import UUID

import structlog

from streamwarden.age_clock import SteadyClock
from streamwarden.auth.play_tokens import PlayClaims
from streamwarden.auth.stream_tokens import MAX_LIFE_S, StreamClaims, StreamUse
from streamwarden.clock import Clock
from streamwarden.errors import Unavailable, in_full
from streamwarden.loops import retry_delay_s
from streamwarden.metrics.api_metrics import AccessMetrics
from streamwarden.model import Denial
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.listening import Notices, listening

log = structlog.get_logger(__name__)

ANY = ""
"""Stands for every path or every user."""
READ_EVERY_S: Final = 60.0
CHECK_EVERY_S: Final = 5.0
_LOOK_S: Final = 1.0
_PAGE_PAUSE_S: Final = 0.02
"""A pause between pages, so that the hook's threads get the interpreter lock."""
_STOP_WITHIN_S: Final = 5.0
_TICK = timedelta(milliseconds=1)
_PLAY_LIFE_S = 86_400


class DeniedUse(StrEnum):
    """The uses of tokens: those of stream tokens, and two of play tokens."""

    RECORD = "record"
    VIEW = "view"
    PUBLISH = "publish"
    LIVE = "live"
    """A play token for live video; ``path`` is the camera's id."""
    RECORDINGS = "recordings"
    """A play token for recordings; ``path`` is the camera's id."""


USER_USES = (DeniedUse.VIEW, DeniedUse.PUBLISH, DeniedUse.LIVE, DeniedUse.RECORDINGS)
"""The uses that belong to a user: all but the recorder's."""
_LIFE_S: Mapping[DeniedUse, int] = {
    DeniedUse.RECORD: MAX_LIFE_S[StreamUse.RECORD],
    DeniedUse.VIEW: MAX_LIFE_S[StreamUse.VIEW],
    DeniedUse.PUBLISH: MAX_LIFE_S[StreamUse.PUBLISH],
    DeniedUse.LIVE: _PLAY_LIFE_S,
    DeniedUse.RECORDINGS: _PLAY_LIFE_S,
}


class Reason(StrEnum):
    """The reason of a denial: a closed set, used as a metric's label."""

    CAMERA_RETIRED = "camera_retired"
    PATH_CHANGED = "path_changed"
    PATH_GIVEN = "path_given"
    OWNER_CHANGED = "owner_changed"
    STOPPED = "stopped"
    GRANT_WITHDRAWN = "grant_withdrawn"
    USER_BLOCKED = "user_blocked"
    LINK_WITHDRAWN = "link_withdrawn"


def denial(
    use: DeniedUse, at: datetime, reason: Reason, *, path: str = ANY, sub: str = ANY, kick: bool
) -> Denial:
    """Return a denial of tokens issued up to ``at``; with ``kick`` their sessions end too."""
    return Denial(
        use=use.value,
        path=path,
        sub=sub,
        issued_before=at,
        kicked_before=at if kick else None,
        reason=reason.value,
        expires_at=at + timedelta(seconds=_LIFE_S[use]),
    )


def camera_retired(camera_id: UUID, path: str, at: datetime) -> list[Denial]:
    """Deny all stream tokens of a camera that was deactivated or removed; end its sessions."""
    why = Reason.CAMERA_RETIRED
    uses = (DeniedUse.RECORD, DeniedUse.VIEW, DeniedUse.PUBLISH)
    on_path = [denial(use, at, why, path=path, kick=True) for use in uses]
    return [*on_path, denial(DeniedUse.LIVE, at, why, path=str(camera_id), kick=True)]


def path_changed(old_path: str, at: datetime) -> list[Denial]:
    """Deny the tokens of a path that the camera has left and another camera may take.

    The recorder's and the publisher's sessions there continue: they still belong to this camera.
    """
    why = Reason.PATH_CHANGED
    return [
        denial(DeniedUse.VIEW, at, why, path=old_path, kick=True),
        denial(DeniedUse.RECORD, at, why, path=old_path, kick=False),
        denial(DeniedUse.PUBLISH, at, why, path=old_path, kick=False),
    ]


def path_given(path: str, at: datetime) -> list[Denial]:
    """Deny all stream tokens of a path that becomes another camera's or owner's; end its sessions."""
    uses = (DeniedUse.RECORD, DeniedUse.VIEW, DeniedUse.PUBLISH)
    return [denial(use, at, Reason.PATH_GIVEN, path=path, kick=True) for use in uses]


def stopped(path: str, at: datetime) -> list[Denial]:
    """Deny the recorder's tokens of a camera that is no longer wanted; end its sessions."""
    return [denial(DeniedUse.RECORD, at, Reason.STOPPED, path=path, kick=True)]


def links_withdrawn(path: str, at: datetime) -> list[Denial]:
    """Deny every publish link of a camera; end its publishers."""
    return [denial(DeniedUse.PUBLISH, at, Reason.LINK_WITHDRAWN, path=path, kick=True)]


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
) -> list[Denial]:
    """Deny a user's tokens of one camera for actions that are no longer granted."""
    uses = {use for action in actions for use in _USES_OF_GRANT.get(action, ())}
    return [
        denial(use, at, reason, path=_path_of(use, camera_id, path), sub=sub, kick=True)
        for use in sorted(uses)
    ]


def owner_changed(camera_id: UUID, path: str, *, at: datetime) -> list[Denial]:
    """Deny every user's tokens of a camera that has another owner; end their sessions.

    Also those of users to whom the former owner had given something, and of who published by a link that
    an administrator had made: the camera is another home's now. It is not recorded meanwhile.
    """
    why = Reason.OWNER_CHANGED
    return [
        denial(use, at, why, path=_path_of(use, camera_id, path), kick=True)
        for use in (DeniedUse.RECORD, *USER_USES)
    ]


def user_blocked(sub: str, at: datetime) -> list[Denial]:
    """Deny all tokens of a user."""
    return [denial(use, at, Reason.USER_BLOCKED, sub=sub, kick=True) for use in USER_USES]


def _path_of(use: DeniedUse, camera_id: UUID, path: str) -> str:
    return str(camera_id) if use in {DeniedUse.LIVE, DeniedUse.RECORDINGS} else path


_Entry = tuple[datetime, datetime | None, str, datetime]
"""Issued before, kicked before, reason, expires at.

A plain tuple: the garbage collector untracks a tuple of atomic values; scanning 100,000 tracked objects
would delay the hook by a tenth of a second.
"""
_Key = tuple[str, str, str]


class DenialList:
    """All denials and blocked users. Readers take no lock; writers are serialized.

    ``known`` is False until the tables were read once: until then the list may be incomplete.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ages = SteadyClock(clock)
        """The clock by which denials expire: one that is set must not make revoked tokens good again."""
        self._entries: dict[_Key, _Entry] = {}
        self._of_all_users: dict[tuple[str, str], _Entry] = {}
        """By use and path, merged over all users: for sessions of unknown users."""
        self._blocked: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._last = clock.now()
        self.known = False

    def __len__(self) -> int:
        """Return the number of denials."""
        return len(self._entries)

    def moment(self) -> datetime:
        """Return the current time for a token or a denial, later than every earlier one.

        It differs from the machine's clock where that was set back: a denial must cover every token
        signed before it, and none signed after it.
        """
        with self._lock:
            self._last = max(self._clock.now(), self._last + _TICK)
            return self._last

    # Read by the hook: a few lookups without a lock

    def denies(self, claims: StreamClaims) -> bool:
        """Return whether a new session with the token must be refused."""
        use, path, sub = claims.use.value, claims.path, claims.sub
        return self._denied(use, path, sub, claims.issued_at)

    def denies_playing(self, claims: PlayClaims, use: DeniedUse) -> bool:
        """Return whether the play token is revoked for ``use``."""
        return self._denied(use.value, str(claims.camera_id), claims.sub, claims.issued_at)

    def is_blocked(self, sub: str) -> bool:
        """Return whether the user is blocked."""
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

    def users_of(self, paths: Collection[str]) -> set[str]:
        """Return the users with a denial of their own on one of these paths."""
        with self._lock:
            return {sub for _, path, sub in self._entries if sub != ANY and path in paths}

    # Read by the session kicker

    def kick(self, claims: StreamClaims) -> tuple[datetime, str] | None:
        """Return since when and why a session with this token must end, None where it may go on."""
        if claims.use is not StreamUse.RECORD and claims.sub in self._blocked:
            return claims.issued_at, Reason.USER_BLOCKED.value
        found = self._of(claims.use.value, claims.path, claims.sub)
        return _kick([entry for entry in found if entry is not None], claims.issued_at)

    def kick_unknown(
        self, use: StreamUse, path: str, since: datetime
    ) -> tuple[datetime, str] | None:
        """Return as ``kick`` does, for an unknown user's session that was opened at ``since``."""
        found = (
            self._of_all_users.get((use.value, path)),
            self._of_all_users.get((use.value, ANY)),
        )
        return _kick([entry for entry in found if entry is not None], since)

    # Written by revocations and by DenialSync

    def add(self, denials: Iterable[Denial]) -> None:
        """Merge denials; one that is older than the known one changes nothing."""
        now = self.ages.now()
        with self._lock:
            for denial in denials:
                if denial.expires_at > now:
                    self._merge(denial)
                    self._last = max(self._last, denial.issued_before)

    def read(self, blocked: Collection[str]) -> None:
        """Replace the blocked users; the denials have been read completely."""
        with self._lock:
            self._blocked = frozenset(blocked)
            self.known = True

    def set_blocked(self, sub: str, *, blocked: bool) -> None:
        """Add or remove a blocked user."""
        with self._lock:
            self._blocked = self._blocked | {sub} if blocked else self._blocked - {sub}

    def forget_expired(self) -> int:
        """Drop denials whose tokens have all expired; return how many."""
        now = self.ages.now()
        with self._lock:
            old = [key for key, entry in self._entries.items() if entry[3] <= now]
            for key in old:
                del self._entries[key]
            gone = [key for key, entry in self._of_all_users.items() if entry[3] <= now]
            for place in gone:
                del self._of_all_users[place]
        return len(old)

    def _merge(self, denial: Denial) -> None:
        entry = (denial.issued_before, denial.kicked_before, denial.reason, denial.expires_at)
        key = (denial.use, denial.path, denial.sub)
        before = self._entries.get(key)
        self._entries[key] = entry if before is None else _merged(before, entry)
        place = (denial.use, denial.path)
        of_all = self._of_all_users.get(place)
        self._of_all_users[place] = entry if of_all is None else _merged(of_all, entry)


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


Listen = Callable[[], AbstractContextManager[Notices]]


@dataclass(frozen=True, slots=True)
class _Block:
    user: str
    blocked: bool


class DenialSync:
    """Keeps a DenialList equal to the tables: by NOTIFY, and by a whole read every minute.

    A thread of its own, which also calls ``changed`` after every change. ``ready`` raises Unavailable
    while the tables do not exist yet.
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
        """Start the thread; return whether the tables were read within ``within_s``."""
        self._thread.start()
        return self._read_once.wait(within_s)

    def stop(self) -> None:
        """Stop the thread."""
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
                log.warning("denials_not_current", why=error.code, detail=in_full(error))
            except Exception:
                log.exception("denials_failed")
            lasted = self._clock.monotonic() - began_s > CHECK_EVERY_S
            failures = 0 if lasted else failures + 1
            self._stopping.wait(retry_delay_s(failures))

    def _keep(self) -> None:
        """Listen first, then read: a row that is written in between is notified."""
        self._ready()
        with self._listen() as notices:
            self._fingerprint = None
            read_s = checked_s = self._read_if_changed()
            while not self._stopping.is_set():
                self._take(notices.wait(_LOOK_S))
                now_s = self._clock.monotonic()
                if now_s - checked_s >= CHECK_EVERY_S:
                    notices.check()
                    checked_s = now_s
                    self._show()
                if now_s - read_s >= READ_EVERY_S:
                    read_s = self._read_if_changed()

    def _take(self, payloads: Sequence[str]) -> None:
        notices = [read_notice(payload) for payload in payloads]
        self._denied.add(one for one in notices if isinstance(one, Denial))
        for one in notices:
            if isinstance(one, _Block):
                self._denied.set_blocked(one.user, blocked=one.blocked)
        if notices:
            self._changed()

    def _read_if_changed(self) -> float:
        """Read the denials if they changed, and the blocked users; return the monotonic time."""
        self._denied.forget_expired()
        if self._denied.ages.settled:
            self._table.drop_expired(self._denied.ages.now())
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
    """Return the function that listens for changes at the database ``url``."""
    return partial(listening, url, application_name="api-denials")


def read_notice(payload: str) -> Denial | _Block:
    """Return the denial or block in a notification; raise ValueError or KeyError if malformed."""
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
