"""Both kinds of storage: every test here runs over the real one and over its stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import CameraRepository, GrantRepository, SourceRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import (
    GapRepository,
    RecordingsRepository,
    SegmentRepository,
)
from streamwarden.storage.streams import PeriodRepository, SettingsRepository, StreamRepository
from tests.fakes.storage import FakeStorage


@dataclass(frozen=True)
class RealStorage:
    """The repositories over one database."""

    cameras: CameraRepository
    sources: SourceRepository
    grants: GrantRepository
    denials: DenialRepository
    audit: AuditRepository
    settings: SettingsRepository
    streams: StreamRepository
    periods: PeriodRepository
    segments: SegmentRepository
    gaps: GapRepository
    recordings: RecordingsRepository


Storage = RealStorage | FakeStorage


@pytest.fixture(params=["real", "fake"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    if request.param == "fake":
        yield FakeStorage()
        return
    database = Database(request.getfixturevalue("database_url"), max_size=2)
    database.open()
    yield RealStorage(
        cameras=CameraRepository(database),
        sources=SourceRepository(database),
        grants=GrantRepository(database),
        denials=DenialRepository(database),
        audit=AuditRepository(database),
        settings=SettingsRepository(database),
        streams=StreamRepository(database),
        periods=PeriodRepository(database),
        segments=SegmentRepository(database),
        gaps=GapRepository(database),
        recordings=RecordingsRepository(database),
    )
    database.close()
