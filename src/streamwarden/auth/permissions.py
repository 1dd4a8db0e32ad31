"""Who may do what with a camera: one pure decision, for every route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Protocol

from streamwarden.auth.users import User
from streamwarden.model import TimeRange

ADMIN_ROLE = "admin"


class Action(Enum):
    """What a caller wants to do with a camera."""

    SEE = "see"
    """Know that it exists: its row, its status."""
    CONTROL = "control"
    """Disconnect."""
    CONNECT = "connect"
    """Have it recorded."""
    VIEW = "view"
    """Watch it live."""
    RECORDINGS = "recordings"
    """List and play what was recorded."""
    PUBLISH = "publish"
    """Obtain the URL that a camera pushes to."""
    WITHDRAW_LINKS = "withdraw_links"
    """Make every such URL worthless."""
    SHARE = "share"
    """See, give and take grants."""
    ADMIN = "admin"
    """Add, change or remove cameras and settings."""


class Decision(StrEnum):
    """The answer; HIDDEN is told apart from DENIED so that a stranger learns of no camera."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """May see the camera, and may not do this."""
    INACTIVE = "inactive"
    """Might, but nobody may while the camera is inactive."""
    HIDDEN = "hidden"
    """May not know that the camera exists: 404, or 403 on ``connect`` as the flow has it."""


GRANTS: Mapping[str, frozenset[Action]] = {
    "view": frozenset({Action.VIEW}),
    "recordings": frozenset({Action.RECORDINGS}),
    "control": frozenset({Action.CONTROL, Action.CONNECT}),
    "publish": frozenset({Action.PUBLISH, Action.WITHDRAW_LINKS}),
}
"""What each action that a ``camera_grant`` row may name allows. Anything else in a row grants nothing."""


_NEEDS_ACTIVE = frozenset({Action.CONNECT, Action.VIEW, Action.PUBLISH})


_FIRST = datetime.min.replace(tzinfo=UTC)


_LAST = datetime.max.replace(tzinfo=UTC)


class CameraFacts(Protocol):
    """What of a camera matters."""

    @property
    def owner(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def status(self) -> str: ...  # noqa: D102 - likewise


class Grant(Protocol):
    """What the user was granted on the camera; a window of recorded time, open where None."""

    @property
    def action(self) -> str: ...  # noqa: D102 - likewise
    @property
    def from_(self) -> datetime | None: ...  # noqa: D102 - likewise
    @property
    def until(self) -> datetime | None: ...  # noqa: D102 - likewise


@dataclass(frozen=True, slots=True)
class Window:
    """The recorded time that somebody may see."""

    stretch: TimeRange

    def clip(self, asked: TimeRange) -> TimeRange | None:
        """Return what of ``asked`` is within; None where nothing is."""
        from_ = max(asked.from_, self.stretch.from_)
        to = min(asked.to, self.stretch.to)
        return TimeRange(from_, to) if from_ < to else None

    def holds(self, started_at: datetime, ended_at: datetime) -> bool:
        """Tell whether all of a time is within."""
        return self.stretch.from_ <= started_at and ended_at <= self.stretch.to


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision; ``window`` limits recordings, None where it does not."""

    decision: Decision
    window: Window | None = None


def is_admin(user: User) -> bool:
    """Tell whether ``user`` may do everything."""
    return ADMIN_ROLE in user.roles


def decide(user: User, camera: CameraFacts, *, granted: Iterable[Grant], action: Action) -> Verdict:
    """Decide whether ``user`` may do ``action`` on ``camera``.

    ``granted`` is what was granted to this user on this camera. Denied unless something allows it.
    """
    window = None
    if not is_admin(user):
        if user.sub != camera.owner:
            grants = {grant.action: grant for grant in granted if grant.action in GRANTS}
            decision = _by_grants(grants.keys(), action)
            window = _window(grants.get("recordings"))
        else:
            decision = Decision.DENIED if action is Action.ADMIN else Decision.ALLOWED
        if decision is not Decision.ALLOWED:
            return Verdict(decision)
    if action in _NEEDS_ACTIVE and camera.status != "active":
        return Verdict(Decision.INACTIVE)
    return Verdict(Decision.ALLOWED, window if action is Action.RECORDINGS else None)


def _by_grants(names: Iterable[str], action: Action) -> Decision:
    actions = {allowed for name in names for allowed in GRANTS[name]}
    if not actions:
        return Decision.HIDDEN
    allowed = action is Action.SEE or action in actions
    return Decision.ALLOWED if allowed else Decision.DENIED


def _window(grant: Grant | None) -> Window | None:
    if grant is None or (grant.from_ is None and grant.until is None):
        return None
    return Window(TimeRange(grant.from_ or _FIRST, grant.until or _LAST))


def lost_actions(before: Iterable[Grant], after: Iterable[Grant]) -> list[str]:
    """Return the actions that are gone, or whose window is no longer all that it was."""
    left = {grant.action: grant for grant in after}
    return sorted(grant.action for grant in before if not _covers(left.get(grant.action), grant))


def _covers(after: Grant | None, before: Grant) -> bool:
    if after is None:
        return False
    begins = after.from_ is None or (before.from_ is not None and after.from_ <= before.from_)
    ends = after.until is None or (before.until is not None and after.until >= before.until)
    return begins and ends
