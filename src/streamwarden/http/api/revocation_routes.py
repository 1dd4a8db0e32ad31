"""Taking access away: written down for everybody, and in force here before the call is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from streamwarden.auth import revocation as rules
from streamwarden.auth.permissions import Grant, lost_actions
from streamwarden.auth.revocation import DenialLike, DenialList, Rule
from streamwarden.http.api.access_ports import DenialStore, Grants
from streamwarden.model import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBlock:
    """A user to be blocked, as the table has it."""

    user_sub: str
    blocked_by: str
    blocked_at: datetime
    note: str


class Revocations:
    """Each call comes after its change, so that its moment covers every token signed before that.

    ``docs/design/0009-revocation.md`` tells of the race that this settles. ``wake`` has sessions looked
    at now. Everything here raises Unavailable without Postgres.
    """

    def __init__(self, *, store: DenialStore, denied: DenialList, wake: Callable[[], None]) -> None:
        self._store = store
        self._denied = denied
        self._wake = wake

    def moment(self) -> datetime:
        """Return when something is asked for: to be taken before its permission is looked up."""
        return self._denied.moment()

    def camera_retired(self, camera: Camera) -> None:
        """Close a camera that was deactivated or removed."""
        self._deny(rules.camera_retired(camera.id, camera.path, self._denied.moment()))

    def camera_changed(self, before: Camera, after: Camera) -> None:
        """Close what a camera has left behind: its path, its owner."""
        at = self._denied.moment()
        found: list[Rule] = []
        if before.path != after.path:
            found += rules.path_changed(before.path, at)
        if before.owner != after.owner:
            found += rules.owner_changed(after.id, before.path, before=before.owner, at=at)
        if found:
            self._deny(found)

    def stopped(self, camera: Camera) -> None:
        """Let nothing read with a recorder's token of a camera that is wanted no more."""
        self._deny(rules.stopped(camera.path, self._denied.moment()))

    def links_withdrawn(self, camera: Camera) -> datetime:
        """Make every publish link worthless that was handed out up to now; return that moment."""
        at = self._denied.moment()
        self._deny(rules.links_withdrawn(camera.path, at))
        return at

    def give(
        self, grants: Grants, camera: Camera, user_sub: str, wanted: Sequence[Grant]
    ) -> list[str]:
        """Give a user exactly ``wanted``; return the actions that they have lost by it."""
        lost = lost_actions(grants.of_user(camera.id, user_sub), wanted)
        before = grants.replace(
            camera.id, user_sub, wanted, denials=self._withdrawn(camera, user_sub, lost)
        )
        lost = sorted({*lost, *lost_actions(before, wanted)})
        if lost:
            self._deny(self._withdrawn(camera, user_sub, lost))
        return lost

    def block(self, user_sub: str, *, by: str, note: str) -> bool:
        """Block a user; False where they were blocked before."""
        at = self._denied.moment()
        block = NewBlock(user_sub=user_sub, blocked_by=by, blocked_at=at, note=note)
        new = self._store.block(block, rules.user_blocked(user_sub, at))
        self._denied.set_blocked(user_sub, blocked=True)
        self._deny(rules.user_blocked(user_sub, self._denied.moment()))
        return new

    def unblock(self, user_sub: str) -> bool:
        """Lift a block; what the user held before stays denied. False where there was none."""
        lifted = self._store.unblock(user_sub)
        self._denied.set_blocked(user_sub, blocked=False)
        return lifted

    def _withdrawn(self, camera: Camera, sub: str, actions: Iterable[str]) -> list[Rule]:
        at = self._denied.moment()
        return rules.grants_withdrawn(camera.id, camera.path, sub=sub, actions=actions, at=at)

    def _deny(self, found: Sequence[DenialLike]) -> None:
        self._denied.add(found)  # here at once, whatever Postgres says
        self._wake()
        self._store.put(found)
