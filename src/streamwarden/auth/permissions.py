"""Permissions on a camera: one pure decision for every route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum

from streamwarden.auth.users import User
from streamwarden.model import Camera, Grant, TimeRange

ADMIN_ROLE = "admin"


class CameraAction(Enum):
    """An action on a camera."""

    SEE = "see"
    """See that it exists, its row and its status."""
    CONTROL = "control"
    """End its recording: ``disconnect``."""
    CONNECT = "connect"
    """Have it recorded: ``connect``."""
    VIEW = "view"
    """Watch it live."""
    RECORDINGS = "recordings"
    """List and play what was recorded."""
    PUBLISH = "publish"
    """Obtain the URL that the camera publishes to."""
    WITHDRAW_LINKS = "withdraw_links"
    """Revoke all such URLs."""
    SHARE = "share"
    """See and change grants."""
    ADMIN = "admin"
    """Change or remove the camera, or change settings."""


class Decision(StrEnum):
    """The decision. HIDDEN differs from DENIED so that a stranger does not learn of a camera."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """May see the camera, but not do this."""
    INACTIVE = "inactive"
    """Permitted, but not while the camera is inactive."""
    HIDDEN = "hidden"
    """May not learn that the camera exists: 404, or 403 on ``connect`` (docs, "Flow")."""


GRANTS: Mapping[str, frozenset[CameraAction]] = {
    "view": frozenset({CameraAction.VIEW}),
    "recordings": frozenset({CameraAction.RECORDINGS}),
    "control": frozenset({CameraAction.CONTROL, CameraAction.CONNECT}),
    "publish": frozenset({CameraAction.PUBLISH}),
}
"""The actions that each action name of ``camera_grant`` allows; other names allow nothing.

None allows WITHDRAW_LINKS: that ends everybody's links, so the camera is off until somebody goes to it.
"""


_NEEDS_ACTIVE = frozenset({CameraAction.CONNECT, CameraAction.VIEW, CameraAction.PUBLISH})


_FIRST = datetime.min.replace(tzinfo=UTC)


_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision; ``window`` limits recordings to a time, None: no limit."""

    decision: Decision
    window: TimeRange | None = None


def is_admin(user: User) -> bool:
    """Return whether ``user`` may do everything."""
    return ADMIN_ROLE in user.roles


def decide(
    user: User, camera: Camera, *, granted: Iterable[Grant], action: CameraAction
) -> Verdict:
    """Decide whether ``user`` may do ``action`` on ``camera``.

    ``granted`` are the user's grants on this camera. The default is to deny. What was recorded for a
    former owner is for administrators alone.
    """
    window = None
    if not is_admin(user):
        since = camera.owned_since
        window = None if since is None else TimeRange(since, _LAST)
        if user.sub != camera.owner:
            grants = {grant.action: grant for grant in granted if grant.action in GRANTS}
            decision = _by_grants(grants.keys(), action)
            window = _window(grants.get("recordings"), since)
        else:
            decision = Decision.DENIED if action is CameraAction.ADMIN else Decision.ALLOWED
        if decision is not Decision.ALLOWED:
            return Verdict(decision)
    if action in _NEEDS_ACTIVE and camera.status != "active":
        return Verdict(Decision.INACTIVE)
    return Verdict(Decision.ALLOWED, window if action is CameraAction.RECORDINGS else None)


def _by_grants(names: Iterable[str], action: CameraAction) -> Decision:
    actions = {allowed for name in names for allowed in GRANTS[name]}
    if not actions:
        return Decision.HIDDEN
    allowed = action is CameraAction.SEE or action in actions
    return Decision.ALLOWED if allowed else Decision.DENIED


def _window(grant: Grant | None, since: datetime | None) -> TimeRange | None:
    """Return the time of a grant; nobody can grant what was recorded for a former owner."""
    if grant is None or (grant.from_ is None and grant.until is None and since is None):
        return None
    from_ = max(grant.from_ or _FIRST, since or _FIRST)
    return TimeRange(from_, max(grant.until or _LAST, from_))


def lost_actions(before: Iterable[Grant], after: Iterable[Grant]) -> list[str]:
    """Return the actions that are gone, or whose time range no longer covers the earlier one."""
    left = {grant.action: grant for grant in after}
    return sorted(grant.action for grant in before if not _covers(left.get(grant.action), grant))


def _covers(after: Grant | None, before: Grant) -> bool:
    if after is None:
        return False
    begins = after.from_ is None or (before.from_ is not None and after.from_ <= before.from_)
    ends = after.until is None or (before.until is not None and after.until >= before.until)
    return begins and ends
