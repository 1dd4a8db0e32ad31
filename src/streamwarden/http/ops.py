"""What operators are shown, as JSON: written by the streaming role, completed by the API."""

from __future__ import annotations

from pydantic import Field

from streamwarden.http.models import Model


class DiskModel(Model):
    """The disk under the record root; ``keep_days`` is how long recordings are kept."""

    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    keep_days: float


class IndexModel(Model):
    """What waits to be written to the index, and since when."""

    journal_segments: int
    lag_seconds: float


class CauseCount(Model):
    """How often something happened for one cause."""

    cause: str
    count: int


class RoleSummary(Model):
    """The streaming role's part: its cameras by state, and what it stands on.

    ``respawns`` are counted since the role has started.
    """

    by_state: dict[str, int]
    respawns: int
    respawn_causes: list[CauseCount]
    disk: DiskModel
    index: IndexModel


class ChildState(Model):
    """One child of a supervisor."""

    id: str
    type: str
    status: str
    incarnation: int
    restarts: int


class ChildModel(ChildState):
    """A child with the children that it supervises itself."""

    children: list[ChildModel] = Field(default_factory=list)


class Supervision(Model):
    """The supervision tree."""

    root: ChildModel
