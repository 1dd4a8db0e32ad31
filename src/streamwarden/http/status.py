"""A stream's status as JSON: written by the streaming role, checked and passed on by the API."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, ValidationError

from streamwarden.actors.messages import LastError, LastSegment, RecorderState, StreamStatus
from streamwarden.http.models import Id, Model, Moment


class LastErrorModel(Model):
    """Why the last FFmpeg ended, or why none could start."""

    cause: str
    message: str
    at: Moment


class LastSegmentModel(Model):
    """The newest segment on disk."""

    started_at: Moment
    ended_at: Moment
    size_bytes: int = Field(alias="bytes")


class StatusModel(Model):
    """One camera's recording. ``run`` counts its FFmpeg lives from 1, 0 before the first.

    ``respawns`` counts FFmpegs that followed a loss, ``restarts`` recorders that followed a bug.
    """

    camera_id: Id
    status: RecorderState
    since: Moment
    run: int
    respawns: int
    restarts: int
    segment_seconds: int | None
    last_error: LastErrorModel | None
    next_retry_at: Moment | None
    last_segment: LastSegmentModel | None


class StatusList(Model):
    """Every camera that is or was recorded since the streaming role started."""

    items: list[StatusModel]


def status_to_json(status: StreamStatus) -> StatusModel:
    """Return ``status`` as the contract writes it."""
    return StatusModel(
        camera_id=status.camera_id,
        status=status.status,
        since=status.since,
        run=status.run,
        respawns=status.respawns,
        restarts=status.restarts,
        segment_seconds=status.segment_seconds,
        last_error=_error(status.last_error),
        next_retry_at=status.next_retry_at,
        last_segment=_segment(status.last_segment),
    )


def status_from_json(value: Mapping[str, object]) -> StatusModel:
    """Return the status that the streaming role answered; raise ValueError if it is none."""
    try:
        return StatusModel.model_validate(value)
    except ValidationError as error:
        raise ValueError("not a stream's status") from error


def _error(last: LastError | None) -> LastErrorModel | None:
    if last is None:
        return None
    return LastErrorModel(cause=last.cause, message=last.message, at=last.at)


def _segment(last: LastSegment | None) -> LastSegmentModel | None:
    if last is None:
        return None
    return LastSegmentModel(
        started_at=last.started_at, ended_at=last.ended_at, bytes=last.size_bytes
    )
