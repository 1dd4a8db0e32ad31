"""Who may do what with a camera: one pure decision."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum

from streamwarden.auth.users import User

ADMIN_ROLE = "admin"


class Action(Enum):
    """What a caller wants to do with a camera."""

    SEE = "see"
    """Know that it exists: its row, its status."""
    CONTROL = "control"
    """Connect and disconnect."""
    VIEW = "view"
    """Watch it live."""
    RECORDINGS = "recordings"
    """List and play what was recorded."""
    PUBLISH = "publish"
    """Obtain the URL that a camera pushes to."""
    ADMIN = "admin"
    """Add, change or remove cameras and settings."""


class Decision(StrEnum):
    """The answer; HIDDEN is told apart from DENIED so that a stranger learns of no camera."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """May see the camera, and may not do this."""
    HIDDEN = "hidden"
    """May not know that the camera exists: 404, or 403 on ``connect`` as the flow has it."""


GRANTS: Mapping[str, Action] = {
    "view": Action.VIEW,
    "recordings": Action.RECORDINGS,
    "control": Action.CONTROL,
    "publish": Action.PUBLISH,
}
"""The actions that a ``camera_grant`` row may name. Anything else in a row grants nothing."""


def is_admin(user: User) -> bool:
    """Tell whether ``user`` may do everything."""
    return ADMIN_ROLE in user.roles


def decide(user: User, owner: str, *, granted: frozenset[str], action: Action) -> Decision:
    """Decide whether ``user`` may do ``action`` on a camera of ``owner``.

    ``granted`` are the actions granted to this user on this camera. Denied unless something
    allows it.
    """
    if is_admin(user):
        return Decision.ALLOWED
    if user.sub == owner:
        return Decision.DENIED if action is Action.ADMIN else Decision.ALLOWED
    actions = {GRANTS[name] for name in granted if name in GRANTS}
    if not actions:
        return Decision.HIDDEN
    allowed = action is Action.SEE or action in actions
    return Decision.ALLOWED if allowed else Decision.DENIED
