"""The rows behind the repositories in memory, and what a list of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from streamwarden.model import (
    AuditEvent,
    BlockedUser,
    Camera,
    Denial,
    DesiredStream,
    Gap,
    Grant,
    Page,
    Segment,
    Source,
    WantedPeriod,
)
from streamwarden.storage.pool import Position, encode_cursor
from streamwarden.storage.refusals import StorageUnavailable

T = TypeVar("T")


@dataclass
class FakeTables:
    """The rows that the repositories of one ``FakeStorage`` share."""

    down: bool = False
    cameras: dict[UUID, Camera] = field(default_factory=dict)
    sources: dict[UUID, Source] = field(default_factory=dict)
    paths_set: set[str] = field(default_factory=set)
    grants: dict[tuple[UUID, str, str], Grant] = field(default_factory=dict)
    denials: dict[tuple[str, str, str], Denial] = field(default_factory=dict)
    blocked: dict[str, BlockedUser] = field(default_factory=dict)
    audit: dict[UUID, AuditEvent] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    desired_streams: dict[UUID, DesiredStream] = field(default_factory=dict)
    periods: list[WantedPeriod] = field(default_factory=list)
    segments: dict[UUID, Segment] = field(default_factory=dict)
    deleting: set[UUID] = field(default_factory=set)
    given_up: set[UUID] = field(default_factory=set)
    gaps: dict[UUID, Gap] = field(default_factory=dict)


class FakeRepository:
    def __init__(self, tables: FakeTables) -> None:
        self._all_rows = tables

    @property
    def _tables(self) -> FakeTables:
        if self._all_rows.down:
            raise StorageUnavailable("the database does not answer")
        return self._all_rows


def page_of(
    found: Sequence[T], position: Callable[[T], Position], *, after: Position, limit: int
) -> Page[T]:
    rest = sorted((item for item in found if position(item) > after), key=position)
    if len(rest) <= limit:
        return Page(items=tuple(rest))
    return Page(items=tuple(rest[:limit]), next_cursor=encode_cursor(position(rest[limit - 1])))


def overlaps(started: datetime, ended: datetime | None, from_: datetime, to: datetime) -> bool:
    return started < to and (ended is None or ended > from_)
