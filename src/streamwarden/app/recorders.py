"""How recorders are made, parked and released, and what the database says is wanted."""

from __future__ import annotations

import random
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from streamwarden.actors.desired import Desired, DesiredStream
from streamwarden.actors.messages import RecorderState
from streamwarden.actors.parked import Caretaker, close_ledger
from streamwarden.actors.recorder import RecorderActor
from streamwarden.actors.recorder_deps import RecorderDeps, RecorderSpec
from streamwarden.actors.spawning import Backoff, Spawning
from streamwarden.actors.status import Shown
from streamwarden.app.resources import Ground
from streamwarden.auth.rtsp_urls import token_expiry
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CameraFiles
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.streams import SettingsRepository, StreamRepository
from streamwarden.supervision import ActorRef, Link
from streamwarden.workers import SerialExecutor

log = structlog.get_logger(__name__)

SEGMENT_SECONDS: Final = 30
"""How long segments are where no setting says so."""


class Recorders:
    """One camera's things, put together. Called in the stream manager's thread."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._orders: dict[UUID, SerialExecutor] = {}

    def start(self, link: Link, spec: RecorderSpec, owner: str) -> ActorRef:
        """Start an incarnation of a camera's recorder."""
        ground, camera_id = self._ground, spec.camera_id
        files = ground.archive.camera(camera_id, owner)
        shown = self._shown(camera_id, spec.request_id)
        # Who has asked for it is answered before the recorder's own thread has begun.
        shown.state(RecorderState.STARTING, segment_seconds=spec.segment_seconds)
        deps = RecorderDeps(
            archive=files,
            adopt=ground.watcher.adopt,
            spawning=Spawning(
                camera_id=camera_id,
                archive=files,
                tokens=ground.tokens,
                token_expiry=token_expiry,
                clock=ground.clock,
                backoff=Backoff(cap_s=ground.settings.respawn_cap_s),
                chance=random.random,
            ),
            shown=shown,
            disk=self._in_order(camera_id),
            callers=ground.pools.callers,
            timers=ground.timers,
            clock=ground.clock,
            instruments=ground.metrics,
            meter=ground.meter,
        )
        return RecorderActor.start(link=link, spec=spec, deps=deps)

    def park(self, camera_id: UUID, owner: str) -> None:
        """Stop the runs of a camera whose recorder is parked, and keep what they have recorded."""
        ground = self._ground
        shown = self._shown(camera_id)
        shown.error(Cause.ACTOR_PARKED, "its actor failed too often; the log says why")
        shown.state(RecorderState.PARKED, next_retry_at=None)
        files = self._files(camera_id, owner)
        if files is None:
            return
        caretaker = Caretaker(
            camera_id=camera_id,
            archive=files,
            disk=self._in_order(camera_id),
            meter=ground.meter,
            clock=ground.clock,
        )
        ground.watcher.adopt(camera_id, caretaker)
        ground.watcher.stop_camera(camera_id)

    def release(self, camera_id: UUID, owner: str, at: datetime) -> None:
        """Close the books of a camera that is no longer wanted, whoever kept them last."""
        ground = self._ground
        if (files := self._files(camera_id, owner)) is not None:
            self._in_order(camera_id).run(
                lambda: close_ledger(camera_id=camera_id, archive=files, meter=ground.meter, at=at),
                partial(_log_release, camera_id),
            )
        if ground.board.get(camera_id).status is not RecorderState.STOPPED:
            self._shown(camera_id).state(RecorderState.STOPPED, next_retry_at=None)

    def forget(self, camera_id: UUID) -> None:
        """Drop all that is kept in memory of a camera that no longer exists."""
        self._orders.pop(camera_id, None)
        self._ground.board.remove(camera_id)
        self._ground.archive.forget(camera_id)
        self._ground.watcher.drop(camera_id)
        self._ground.metrics.forget(str(camera_id))

    def read_wishes(self) -> Desired:
        """Return what the database says is wanted. Blocking.

        Raises:
            Unavailable: Postgres is away.
        """
        database = self._ground.database
        seconds = SettingsRepository(database).get("video_segment_seconds")
        streams = StreamRepository(database)
        rows = streams.all()
        node = self._ground.settings.node
        for row in rows:
            if row.wanted and row.node != node:
                # Whoever looks at the wish sees which machine has taken it up.
                streams.claim(row.camera_id, node)
        stopped = {
            status.camera_id
            for status in self._ground.board.all()
            if status.status is RecorderState.STOPPED
        }
        return Desired(
            streams=tuple(
                DesiredStream(
                    camera_id=row.camera_id,
                    owner=row.owner,
                    wanted=row.wanted,
                    changed_at=row.changed_at,
                )
                for row in rows
            ),
            segment_seconds=seconds if isinstance(seconds, int) else SEGMENT_SECONDS,
            gone=frozenset(stopped - CameraRepository(database).existing(stopped)),
        )

    def _files(self, camera_id: UUID, owner: str) -> CameraFiles | None:
        """Return a camera's files; None, and a word in the log, where its owner names no folder.

        What parks and releases must go on: the manager that calls it looks after all the others.
        """
        try:
            return self._ground.archive.camera(camera_id, owner)
        except ValueError as error:
            log.error("owner_names_no_folder", camera=str(camera_id), error=str(error))  # noqa: TRY400 - the text says it all
            return None

    def _shown(self, camera_id: UUID, request_id: str | None = None) -> Shown:
        ground = self._ground
        return Shown(
            camera_id=camera_id,
            board=ground.board.take_over(camera_id),
            instruments=ground.metrics,
            clock=ground.clock,
            request_id=request_id,
        )

    def _in_order(self, camera_id: UUID) -> SerialExecutor:
        return self._orders.setdefault(camera_id, SerialExecutor(self._ground.pools.disk))


def _log_release(camera_id: UUID, result: object) -> None:
    if isinstance(result, Exception):
        log.error("books_not_closed", camera=str(camera_id), error=str(result))
