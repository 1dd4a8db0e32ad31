"""The API role's part for cameras that are pulled, put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import structlog
from prometheus_client import CollectorRegistry

from streamwarden.app.names import RecentNames
from streamwarden.app.source_parts import (
    own_hosts,
    source_planner,
    source_sealer,
    source_targets,
)
from streamwarden.app.source_plans import SourcePlans
from streamwarden.app.sources import SourceKeeper
from streamwarden.auth.pulled import PulledPaths
from streamwarden.auth.targets import resolve
from streamwarden.clients.mediamtx import MediaMtxClient
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.http.api.sources import Sources
from streamwarden.metrics.sources import SourceMetrics
from streamwarden.storage.pool import Database
from streamwarden.storage.sources import SourceRepository

log = structlog.get_logger(__name__)


class Pulling:
    """``parts`` is what the users' app is given, ``pulled`` what the hook looks at."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        clock: Clock,
        registry: CollectorRegistry,
        ready: Callable[[], None],
    ) -> None:
        self.pulled = PulledPaths()
        self._keeper: SourceKeeper | None = None
        table = SourceRepository(database)
        if settings.mediamtx_api_url is not None:
            names = RecentNames(resolve, clock, always=own_hosts(settings))
            sealer = source_sealer(settings)
            self._keeper = SourceKeeper(
                server=MediaMtxClient(settings.mediamtx_api_url),
                table=table,
                plans=SourcePlans(source_targets(settings, names.addresses), sealer),
                sealer=sealer,
                pulled=self.pulled,
                clock=clock,
                metrics=SourceMetrics(registry),
                ready=ready,
            )
        self.parts = Sources(
            table=table,
            planner=source_planner(settings),
            wake=self._keeper.wake if self._keeper else _nobody,
        )

    def start(self, started: ExitStack) -> None:
        """Begin, and have ``started`` stop it."""
        if self._keeper is None:
            log.info("no_camera_is_pulled", missing="MEDIAMTX_API_URL")
            return
        self._keeper.start()
        started.callback(self._keeper.stop)


def _nobody() -> None:
    """Wake nobody: no camera is pulled."""
