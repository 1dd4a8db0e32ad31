"""What a rule of the deny list is: over which tokens, why, and until when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from streamwarden.auth.streams import MAX_LIFE_S, StreamUse

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


class Denial(Protocol):
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
