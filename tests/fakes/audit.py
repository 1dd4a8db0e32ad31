"""An audit sink that keeps its events."""

from __future__ import annotations

import json
from typing import Any

from streamwarden.auth.audit_sink import AuditSink
from streamwarden.model import AuditEvent


class FakeAudit(AuditSink):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    @property
    def last(self) -> AuditEvent:
        return self.events[-1]

    @property
    def last_detail(self) -> dict[str, Any]:
        """The details of the last event."""
        detail: dict[str, Any] = json.loads(self.last.detail)
        return detail
