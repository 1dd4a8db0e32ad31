"""A guard over fakes: nothing denied, every event kept."""

from __future__ import annotations

from collections.abc import Callable

from streamwarden.auth.revocation import DenialList
from streamwarden.clock import Clock
from streamwarden.http.api.api_app import Guard
from tests.fakes.audit import FakeAudit
from tests.fakes.storage import FakeStorage


def a_guard(
    storage: FakeStorage,
    clock: Clock,
    *,
    audit: FakeAudit | None = None,
    wake: Callable[[], None] = lambda: None,
) -> Guard:
    denied = DenialList(clock)
    denied.read([])
    return Guard(
        denied=denied,
        denials=storage.denials,
        wake=wake,
        audit=audit or FakeAudit(),
        audit_log=storage.audit,
    )
