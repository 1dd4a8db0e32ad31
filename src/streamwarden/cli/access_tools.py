"""What operators do by hand about access: grants, blocks, the audit trail. Needs no running role.

What is revoked here reaches every running API by NOTIFY, which then ends the sessions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from streamwarden.auth import revocation as rules
from streamwarden.auth.jwts import MAX_SUBJECT_CHARS, is_subject
from streamwarden.auth.permissions import lost_actions
from streamwarden.auth.revocation import Rule
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, NotFound
from streamwarden.model import AuditEvent, BlockedUser, Camera, Grant, Page
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import CameraRepository, GrantRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database

OPERATOR = "operator"
"""Who did it when it was not a user but someone at the command line."""


_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class AccessTools:
    """The operators' functions over one database."""

    database: Database
    clock: Clock

    def grants(self, camera_id: UUID) -> list[Grant]:
        """Return what was granted on a camera; raise NotFound."""
        self._camera(camera_id)
        return GrantRepository(self.database).of_camera(camera_id)

    def add_grants(self, camera_id: UUID, grants: Sequence[Grant]) -> None:
        """Grant, and leave a user what they have besides; a new window replaces the old one.

        Raises:
            NotFound, InvalidInput: no such camera, user or window.
        """
        camera = self._camera(camera_id)
        for grant in grants:
            _check_user(grant.user_sub)
            if grant.user_sub == camera.owner:
                raise InvalidInput("the owner needs no grant", field="user")
            self._give(camera, grant.user_sub, [grant], withdrawing=())
        actions = [grant.action for grant in grants]
        self.note("grant", camera_id=camera_id, subject=grants[0].user_sub, actions=actions)

    def remove_grants(self, camera_id: UUID, user: str, actions: Sequence[str]) -> list[str]:
        """Take grants back, all of the user's where none is named; return which those were."""
        camera = self._camera(camera_id)
        held = [g.action for g in GrantRepository(self.database).of_user(camera_id, user)]
        gone = [action for action in held if not actions or action in actions]
        self._give(camera, user, [], withdrawing=gone)
        self.note("withdraw_grant", camera_id=camera_id, subject=user, withdrawn=gone)
        return gone

    def block(self, user: str, *, note: str) -> bool:
        """Block a user; False where they were blocked before."""
        _check_user(user)
        denials = DenialRepository(self.database)
        at = self.clock.now()
        block = BlockedUser(user_sub=user, blocked_by=OPERATOR, blocked_at=at, note=note)
        new = denials.block(block, rules.user_blocked(user, at))
        denials.put(rules.user_blocked(user, self.clock.now()))
        self.note("block_user", subject=user, note=note)
        return new

    def unblock(self, user: str) -> bool:
        """Lift a block; False where there was none."""
        lifted = DenialRepository(self.database).unblock(user)
        self.note("unblock_user", subject=user)
        return lifted

    def blocked(self) -> list[BlockedUser]:
        """Return everybody who is blocked."""
        return DenialRepository(self.database).blocked()

    def audit(
        self,
        *,
        camera_id: UUID | None,
        user: str | None,
        from_: datetime | None,
        to: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Page[AuditEvent]:
        """Return what was done, newest first; ``to`` defaults to now, ``from_`` to a week before."""
        to = to or self.clock.now() + timedelta(seconds=1)
        from_ = from_ or to - _WEEK
        if from_ >= to:
            raise InvalidInput("--from must be before --to", field="from")
        return AuditRepository(self.database).page(
            from_=from_, to=to, camera_id=camera_id, user=user, limit=limit, cursor=cursor
        )

    def camera_changed(self, before: Camera, after: Camera, **detail: Any) -> None:  # noqa: ANN401 - JSON
        """Close what a camera has left behind: its path, its owner, its being active."""
        at = self.clock.now()
        found: list[Rule] = []
        if before.path != after.path:
            found += rules.path_changed(before.path, at)
        if before.owner != after.owner:
            found += rules.owner_changed(after.id, before.path, before=before.owner, at=at)
        if after.status != "active":
            found += rules.camera_retired(after.id, after.path, at)
        if found:
            DenialRepository(self.database).put(found)
        self.note("change_camera", camera_id=after.id, **detail)

    def camera_removed(self, camera: Camera) -> None:
        """Close a camera that is gone."""
        at = self.clock.now()
        DenialRepository(self.database).put(rules.camera_retired(camera.id, camera.path, at))
        self.note("remove_camera", camera_id=camera.id)

    def note(
        self,
        action: str,
        *,
        camera_id: UUID | None = None,
        subject: str | None = None,
        **detail: object,
    ) -> None:
        """Write into the audit trail what was just done."""
        event = AuditEvent(
            id=uuid4(),
            at=self.clock.now(),
            who=OPERATOR,
            action=action,
            outcome="done",
            camera_id=camera_id,
            subject=subject,
            detail=json.dumps(detail, ensure_ascii=False),
        )
        AuditRepository(self.database).insert_many([event])

    def _give(
        self, camera: Camera, user: str, grants: Sequence[Grant], *, withdrawing: Sequence[str]
    ) -> None:
        table = GrantRepository(self.database)

        def denials(held: Sequence[Grant]) -> list[Rule]:
            left = {one.action: one for one in held if one.action not in withdrawing}
            lost = lost_actions(held, (left | {one.action: one for one in grants}).values())
            at = self.clock.now()
            return rules.grants_withdrawn(camera.id, camera.path, sub=user, actions=lost, at=at)

        first = denials(table.of_user(camera.id, user))
        held = table.replace(camera.id, user, grants, withdrawing=withdrawing, denials=first)
        # Once more behind the change: docs/design/0009-revocation.md, the race.
        DenialRepository(self.database).put(denials(held))

    def _camera(self, camera_id: UUID) -> Camera:
        camera = CameraRepository(self.database).get(camera_id)
        if camera is None:
            raise NotFound(f"there is no camera {camera_id}")
        return camera


def _check_user(user: str) -> None:
    if not is_subject(user):
        raise InvalidInput(
            f"user must be 1 to {MAX_SUBJECT_CHARS} printable characters", field="user"
        )
