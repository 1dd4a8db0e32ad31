"""Rows to fill a storage with: whole, distinct, and overridden where a test cares."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from streamwarden.model import Camera, Gap, Grant, Segment
from streamwarden.storage.cameras import GrantRepository

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the moment ``seconds`` after noon."""
    return NOON + timedelta(seconds=seconds)


def a_camera(**changes: object) -> Camera:
    """Return an active camera of Alice's."""
    camera_id = uuid4()
    camera = Camera(
        id=camera_id,
        name="Door",
        path=str(camera_id),
        owner="alice",
        status="active",
        created_at=NOON,
    )
    return replace(camera, **changes)  # type: ignore[arg-type] # the test names real fields


def a_segment(
    camera_id: UUID, *, start: float, end: float, run: int = 1, **changes: object
) -> Segment:
    """Return a segment from ``start`` to ``end``, in seconds after noon; ``start`` numbers it."""
    segment = Segment(
        id=uuid4(),
        camera_id=camera_id,
        owner="alice",
        run=run,
        number=int(start),
        started_at=at(start),
        ended_at=at(end),
        media_ms=round((end - start) * 1000),
        size_bytes=1000,
        path=f"alice/{camera_id}/2026-03-01/{int(start)}.mp4",
    )
    return replace(segment, **changes)  # type: ignore[arg-type] # the test names real fields


def a_gap(
    camera_id: UUID, *, start: float, end: float | None, cause: str = "source_offline"
) -> Gap:
    """Return a gap from ``start`` to ``end``, in seconds after noon; open for None."""
    return Gap(
        id=uuid4(),
        camera_id=camera_id,
        started_at=at(start),
        ended_at=None if end is None else at(end),
        cause=cause,
    )


def grant(
    grants: GrantRepository,
    camera_id: UUID,
    user: str,
    action: str,
    *,
    from_: datetime | None = None,
    until: datetime | None = None,
) -> None:
    """Grant one more action, or change its time range."""
    given = Grant(user_sub=user, action=action, from_=from_, until=until)
    grants.replace(camera_id, user, [given], withdrawing=())
