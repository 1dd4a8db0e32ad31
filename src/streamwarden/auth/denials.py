"""What was revoked: rules over tokens, held in memory so that the hook asks nobody.

A rule covers tokens for one use, on one path or any, of one user or anyone, issued up to a moment.
Rules only ever grow and end by their age, so two copies are merged by taking the later moment.
``docs/design/0009-revocation.md`` says what is denied when.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from streamwarden.auth.denial_rules import ANY, USERS_OWN, Denial, DeniedUse, Reason, Rule, rule
from streamwarden.auth.play import PlayClaims
from streamwarden.auth.streams import StreamClaims, StreamUse
from streamwarden.clock import Clock

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

    def add(self, denials: Iterable[Denial]) -> None:
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

    def _merge(self, denial: Denial) -> None:
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
