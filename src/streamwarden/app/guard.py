"""The API role's guard, put together: the deny list, the evictor, the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import structlog
from prometheus_client import CollectorRegistry

from streamwarden.app.audit_writer import AuditWriter
from streamwarden.app.denying import DenialKeeper, listen_at
from streamwarden.app.eviction import Evictor
from streamwarden.auth.denials import DenialList
from streamwarden.auth.sessions import SessionBook, SessionJudge
from streamwarden.auth.streams import StreamTokens
from streamwarden.clients.mediamtx import MediaMtxClient
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.http.api.app import Guard
from streamwarden.metrics.guard import GuardMetrics
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database

log = structlog.get_logger(__name__)


class Guarding:
    """What of the API role runs beside its listeners.

    ``parts`` is what its users' app is given, ``sessions`` where its hook notes whose session is whose.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        url: str,
        database: Database,
        tokens: StreamTokens,
        clock: Clock,
        registry: CollectorRegistry,
        ready: Callable[[], None],
    ) -> None:
        metrics = GuardMetrics(registry)
        denied, sessions = DenialList(clock), SessionBook(clock)
        self._evictor = None
        if settings.mediamtx_api_url is not None:
            self._evictor = Evictor(
                server=MediaMtxClient(settings.mediamtx_api_url),
                judge=SessionJudge(book=sessions, tokens=tokens, denials=denied, clock=clock),
                book=sessions,
                clock=clock,
                metrics=metrics,
            )
        wake: Callable[[], None] = self._evictor.wake if self._evictor else _nobody
        self._keeper = DenialKeeper(
            listen=listen_at(url),
            table=DenialRepository(database),
            denied=denied,
            clock=clock,
            metrics=metrics,
            changed=wake,
            ready=ready,
        )
        audit_table = AuditRepository(database)
        self._audit = AuditWriter(
            audit_table,
            clock=clock,
            metrics=metrics,
            keep_days=settings.audit_days,
            ready=ready,
        )
        self.sessions = sessions
        self.parts = Guard(
            denied=denied,
            denials=DenialRepository(database),
            wake=wake,
            audit=self._audit,
            audit_log=audit_table,
        )

    def start(self, started: ExitStack) -> None:
        """Begin, and have ``started`` stop it; the deny list is read first if Postgres is there."""
        self._audit.start()
        started.callback(self._audit.stop)
        if not self._keeper.start():
            log.warning("denials_unknown", cost="nobody watches live until they are read")
        started.callback(self._keeper.stop)
        if self._evictor is None:
            log.warning("sessions_are_not_kicked", missing="MEDIAMTX_API_URL")
            return
        self._evictor.start()
        started.callback(self._evictor.stop)


def _nobody() -> None:
    """Wake nobody: sessions are not kicked."""
