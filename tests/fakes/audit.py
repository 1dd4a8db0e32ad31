"""Where audit events go in tests of what notes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Noted:
    """One event."""

    who: str
    action: str
    outcome: str
    camera_id: UUID | None
    subject: str | None
    address: str
    request_id: str | None
    detail: Mapping[str, object] = field(default_factory=dict)


class FakeAudit:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Noted] = []

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
        self.events.append(
            Noted(who, action, outcome, camera_id, subject, address, request_id, detail)
        )

    @property
    def last(self) -> Noted:
        return self.events[-1]
