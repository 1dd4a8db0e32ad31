"""The resources of a streaming role, opened as the role opens them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from streamwarden.actors.status import StatusRegistry
from streamwarden.app.resources import Resources, open_resources
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.ffmpeg.sandbox import Sandbox
from streamwarden.metrics.http_metrics import new_registry
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.root_identity import write_id
from streamwarden.storage.pool import Database

NOWHERE = "postgresql://127.0.0.1:9/none"


def without_postgres() -> Database:
    """A database that is never opened, and so does not answer."""
    return Database(NOWHERE)


def open_for_a_test(
    record_root: Path,
    closing: ExitStack,
    *,
    clock: Clock,
    database: Database | None = None,
    sandbox: Sandbox | None = None,
    **settings: object,
) -> Resources:
    """Open the resources over a record root; without ``database`` Postgres is away.

    A server has recorded into the root before: while Postgres is away, another one is not recorded into.
    """
    write_id(record_root, uuid4())
    return open_resources(
        Settings(
            record_root=record_root,
            internal_api_url="http://127.0.0.1:9",
            **settings,  # type: ignore[arg-type] # the test names real settings
        ),
        record_root,
        closing,
        metrics=RecordingMetrics(new_registry()),
        database=database or without_postgres(),
        clock=clock,
        registry=StatusRegistry(clock),
        live=LiveIndex(clock),
        sandbox=sandbox,
    )
