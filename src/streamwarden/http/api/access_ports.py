"""What the API's apps need for access: grants, denials, the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from streamwarden.auth.permissions import Grant
from streamwarden.auth.revocation import DenialLike
from streamwarden.model import Page


class GrantRow(Grant, Protocol):
    """What somebody may do with a camera."""

    @property
    def user_sub(self) -> str: ...  # noqa: D102 - as in ports


class Grants(Protocol):
    """The table ``camera_grant``."""

    def of_user(self, camera_id: UUID, user_sub: str, /) -> Sequence[GrantRow]:
        """Return what the user has been granted on this camera."""

    def of_camera(self, camera_id: UUID, /) -> Sequence[GrantRow]:
        """Return what was granted on this camera, by user."""

    def replace(
        self,
        camera_id: UUID,
        user_sub: str,
        grants: Sequence[Grant],
        /,
        *,
        denials: Sequence[DenialLike],
    ) -> Sequence[GrantRow]:
        """Give a user exactly these grants, and deny what they held; return what was before."""


class BlockedRow(Protocol):
    """A user of whose tokens none counts."""

    @property
    def user_sub(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def blocked_by(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def blocked_at(self) -> datetime: ...  # noqa: D102 - as in ports
    @property
    def note(self) -> str: ...  # noqa: D102 - as in ports


class DenialStore(Protocol):
    """The tables ``denial`` and ``blocked_user``."""

    def put(self, denials: Sequence[DenialLike], /) -> None:
        """Deny."""

    def block(self, user: Any, denials: Sequence[DenialLike], /) -> bool:  # noqa: ANN401 - as in ports
        """Block a user and deny what they hold; False where they were blocked before."""

    def unblock(self, user_sub: str, /) -> bool:
        """Lift a block; False where there was none."""

    def blocked(self) -> Sequence[BlockedRow]:
        """Return everybody who is blocked."""


class AuditRow(Protocol):
    """Something that was done, or refused."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - as in ports
    @property
    def at(self) -> datetime: ...  # noqa: D102 - as in ports
    @property
    def who(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def action(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def outcome(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def camera_id(self) -> UUID | None: ...  # noqa: D102 - as in ports
    @property
    def subject(self) -> str | None: ...  # noqa: D102 - as in ports
    @property
    def address(self) -> str: ...  # noqa: D102 - as in ports
    @property
    def request_id(self) -> str | None: ...  # noqa: D102 - as in ports
    @property
    def detail(self) -> str: ...  # noqa: D102 - as in ports


class AuditLog(Protocol):
    """The table ``audit``, to be read."""

    def page(
        self,
        *,
        from_: datetime,
        to: datetime,
        camera_id: UUID | None,
        user: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page[AuditRow]:
        """Return what was done within a time, newest first."""


class AuditSink(Protocol):
    """Where events go; never waits and never raises."""

    def note(
        self,
        *,
        who: str,
        action: str,
        outcome: str,
        camera_id: UUID | None,
        subject: str | None,
        address: str,
        request_id: str | None,
        detail: Mapping[str, object],
    ) -> None:
        """Take an event in."""
