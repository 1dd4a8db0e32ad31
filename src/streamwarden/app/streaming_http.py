"""The streaming role as a program: what records, its metrics, its database pool, its port."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from streamwarden.app.export_proof import ExportProver
from streamwarden.app.exports import Exports
from streamwarden.app.housekeeping import free_bytes
from streamwarden.app.live import ShelfSource
from streamwarden.app.pictures import LastSegments, Pictures
from streamwarden.app.segment_files import StoredFragments
from streamwarden.app.streaming import StreamingRole
from streamwarden.auth.targets import RtspTargets
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.evidence.keys import load_signing_key
from streamwarden.http.app import Shared
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.http.streaming.app import StreamingDeps, create_streaming_app
from streamwarden.http.streaming.files import IndexedFiles
from streamwarden.http.streaming.ports import Playback
from streamwarden.media.jobs import JobRunner
from streamwarden.media.program import find_ffmpeg
from streamwarden.metrics.exposition import new_registry, render
from streamwarden.metrics.http import HttpMetrics
from streamwarden.metrics.recording import RecordingMetrics
from streamwarden.storage.gaps import GapRepository
from streamwarden.storage.periods import PeriodRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.seals import SealRepository
from streamwarden.storage.segments import SegmentRepository

_THREADS = 16


class StreamingProgram:
    """Role ``streaming``, with its port."""

    def __init__(
        self, settings: Settings, *, clock: Clock, on_failure: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jobs = JobRunner()
        self._registry = new_registry()
        self._database = Database(settings.secret("database_url"), application_name="streaming")
        self._role = StreamingRole(
            settings,
            metrics=RecordingMetrics(self._registry),
            database=self._database,
            clock=clock,
            on_failure=on_failure,
        )
        self._exports = Exports(
            jobs=self._jobs,
            ffmpeg=partial(find_ffmpeg, settings.ffmpeg),
            segments=SegmentRepository(self._database),
            record_root=self._role.record_root,
            reserve_bytes=settings.free_space_reserve.bytes_of,
            clock=clock,
            prover=export_prover(settings, self._role.record_root, self._database, clock),
        )
        self._server = HttpServer(
            self._app(),
            settings.host,
            settings.streaming_port,
            threads=_THREADS,
            name="streaming",
        )
        self._started = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """Return the listener's port by name."""
        return {"streaming": self._server.port}

    def start(self) -> None:
        """Record, then listen: a request never meets a role that is not up."""
        with ExitStack() as started:
            self._database.open()
            started.callback(self._database.close)
            self._role.start()
            started.callback(lambda: self._role.stop(self._settings.stop_timeout_s))
            self._jobs.start()
            started.callback(self._jobs.close)
            self._exports.start()
            started.callback(self._exports.stop)
            self._server.start()
            self._started = started.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Stop listening, finish every segment, close the pool."""
        self._server.stop(1.0)
        self._exports.stop()
        self._jobs.close()
        self._role.stop(deadline_s - 1.0)
        self._database.close()

    def _app(self) -> WsgiApp:
        shared = Shared(
            role="streaming",
            metrics=HttpMetrics(self._registry),
            render=partial(render, self._registry),
            checks={
                "database": lambda: check_database(self._database),
                "record_root": lambda: _check_writable(self._role),
                "actors": self._role.check_actors,
            },
            internal_token=self._settings.secret("internal_token"),
        )
        files = IndexedFiles(SegmentRepository(self._database), self._role.record_root)
        return create_streaming_app(
            StreamingDeps(
                shared=shared,
                gateway=self._role.gateway,
                files=files,
                playback=Playback(
                    fragments=StoredFragments(files),
                    live=ShelfSource(self._role.shelf),
                    pictures=self._pictures(files),
                    exports=self._exports,
                ),
                insides=self._role.insides,
                rtsp_targets=RtspTargets(
                    self._settings.rtsp_internal_url, self._settings.rtsp_allowed_hosts
                ),
            )
        )

    def _pictures(self, files: IndexedFiles) -> Pictures:
        return Pictures(
            jobs=self._jobs,
            ffmpeg=partial(find_ffmpeg, self._settings.ffmpeg),
            shelf=self._role.shelf,
            latest=LastSegments(SegmentRepository(self._database)),
            files=files,
            folder=self._role.record_root,
            clock=self._clock,
        )


def export_prover(
    settings: Settings, record_root: Path, database: Database, clock: Clock
) -> ExportProver | None:
    """Return what signs exports, if there is a key; one that is no use is the seals' to report."""
    if settings.seal_key_file is None:
        return None
    try:
        key = load_signing_key(settings.seal_key_file)
    except ConfigError:
        return None
    return ExportProver(
        record_root=record_root,
        key=key,
        seals=SealRepository(database),
        gaps=GapRepository(database),
        periods=PeriodRepository(database),
        clock=clock,
    )


def check_database(database: Database) -> None:
    """Raise Unavailable unless Postgres answers."""
    with database.connection():
        pass


def _check_writable(role: StreamingRole) -> None:
    if free_bytes(role.record_root) == 0:
        raise OSError("no space is left under the record root")
