"""Revocations: written to Postgres, and effective in this process before the call is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from streamwarden.auth import revocation
from streamwarden.auth.permissions import lost_actions
from streamwarden.auth.revocation import DenialList
from streamwarden.model import BlockedUser, Camera, Denial, Grant
from streamwarden.storage.cameras import GrantRepository
from streamwarden.storage.denials import DenialRepository


class Revocations:
    """Denies tokens after a change of access.

    Each call comes after its change, so that its time covers every token that was signed before the
    change: ``docs/design/0009-revocation.md`` describes this race. ``wake`` makes the session kicker
    run now. All methods but ``moment`` raise Unavailable without Postgres.
    """

    def __init__(
        self, *, table: DenialRepository, denied: DenialList, wake: Callable[[], None]
    ) -> None:
        self._table = table
        self._denied = denied
        self._wake = wake

    def moment(self) -> datetime:
        """Return the time of a request, to be taken before its permission is looked up."""
        return self._denied.moment()

    def camera_retired(self, camera: Camera) -> None:
        """Deny all tokens of a camera that was deactivated or removed."""
        self._deny(revocation.camera_retired(camera.id, camera.path, self._denied.moment()))

    def camera_changed(self, before: Camera, after: Camera) -> None:
        """Deny the tokens of a path or an owner that the camera no longer has."""
        at = self._denied.moment()
        found: list[Denial] = []
        if before.path != after.path:
            found += revocation.path_changed(before.path, at)
        if before.owner != after.owner:
            found += revocation.owner_changed(after.id, before.path, at=at)
        if found:
            self._deny(found)

    def path_given(self, path: str) -> bool:
        """Deny all tokens of a path before it is given to a camera; return False where none has had it."""
        if not self._table.path_known(path):
            return False
        self._deny(revocation.path_given(path, self._denied.moment()))
        return True

    def owner_leaves(self, camera: Camera) -> None:
        """Deny all tokens of a camera before its owner is changed."""
        self._deny(revocation.owner_changed(camera.id, camera.path, at=self._denied.moment()))

    def stopped(self, camera: Camera) -> None:
        """Deny the recorder's tokens of a camera that is no longer wanted."""
        self._deny(revocation.stopped(camera.path, self._denied.moment()))

    def links_withdrawn(self, camera: Camera) -> datetime:
        """Deny every publish link that was issued up to now; return that time."""
        at = self._denied.moment()
        self._deny(revocation.links_withdrawn(camera.path, at))
        return at

    def give(
        self, grants: GrantRepository, camera: Camera, user_sub: str, wanted: Sequence[Grant]
    ) -> list[str]:
        """Make ``wanted`` all grants of a user; return the actions that the user loses."""
        lost = lost_actions(grants.of_user(camera.id, user_sub), wanted)
        before = grants.replace(
            camera.id, user_sub, wanted, denials=self._withdrawn(camera, user_sub, lost)
        )
        lost = sorted({*lost, *lost_actions(before, wanted)})
        if lost:
            self._deny(self._withdrawn(camera, user_sub, lost))
        return lost

    def block(self, user_sub: str, *, by: str, note: str) -> bool:
        """Block a user; return False where the user was blocked before."""
        at = self._denied.moment()
        user = BlockedUser(user_sub=user_sub, blocked_by=by, blocked_at=at, note=note)
        new = self._table.block(user, revocation.user_blocked(user_sub, at))
        self._denied.set_blocked(user_sub, blocked=True)
        self._deny(revocation.user_blocked(user_sub, self._denied.moment()))
        return new

    def unblock(self, user_sub: str) -> bool:
        """Remove a block, but not the denials; return False where there was none."""
        lifted = self._table.unblock(user_sub)
        self._denied.set_blocked(user_sub, blocked=False)
        return lifted

    def _withdrawn(self, camera: Camera, sub: str, actions: Iterable[str]) -> list[Denial]:
        at = self._denied.moment()
        return revocation.grants_withdrawn(camera.id, camera.path, sub=sub, actions=actions, at=at)

    def _deny(self, found: Sequence[Denial]) -> None:
        self._denied.add(found)  # first in memory, so that it holds also where Postgres fails
        self._wake()
        self._table.put(found)
