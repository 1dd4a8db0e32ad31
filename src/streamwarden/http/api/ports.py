"""What the API role's apps need from the database.

The rows are what ``storage`` keeps; http reads them through these Protocols and hands them back as
they came, which is why a repository's own row type appears as ``Any`` where it is taken in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from streamwarden.mediamtx.camera_source import NewSource, Stored

T_co = TypeVar("T_co", covariant=True)


class CameraRow(Protocol):
    """A camera."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - as the contract names it
    @property
    def name(self) -> str: ...  # noqa: D102 - likewise
    @property
    def path(self) -> str: ...  # noqa: D102 - likewise
    @property
    def owner(self) -> str: ...  # noqa: D102 - likewise
    @property
    def status(self) -> str: ...  # noqa: D102 - likewise
    @property
    def created_at(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def source_url(self) -> str | None: ...  # noqa: D102 - likewise
    @property
    def source_credentials(self) -> bool: ...  # noqa: D102 - likewise


class WishRow(Protocol):
    """What is wanted of one camera."""

    @property
    def camera_id(self) -> UUID: ...  # noqa: D102 - likewise
    @property
    def wanted(self) -> bool: ...  # noqa: D102 - likewise


class SegmentRow(Protocol):
    """A stored segment."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - likewise
    @property
    def run(self) -> int: ...  # noqa: D102 - likewise
    @property
    def started_at(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def ended_at(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def media_ms(self) -> int: ...  # noqa: D102 - likewise
    @property
    def size_bytes(self) -> int: ...  # noqa: D102 - likewise
    @property
    def salvaged(self) -> bool: ...  # noqa: D102 - likewise
    @property
    def init_bytes(self) -> int: ...  # noqa: D102 - likewise


class GapRow(Protocol):
    """Time that was wanted and not recorded."""

    @property
    def started_at(self) -> datetime: ...  # noqa: D102 - likewise
    @property
    def ended_at(self) -> datetime | None: ...  # noqa: D102 - likewise
    @property
    def cause(self) -> str: ...  # noqa: D102 - likewise


class PageOf(Protocol[T_co]):
    """Some items of a list; ``next_cursor`` asks for those that follow."""

    @property
    def items(self) -> Sequence[T_co]: ...  # noqa: D102 - likewise
    @property
    def next_cursor(self) -> str | None: ...  # noqa: D102 - likewise


class Cameras(Protocol):
    """The table ``camera``."""

    def get(self, camera_id: UUID, /) -> CameraRow | None:
        """Return the camera, None where there is none."""

    def add(
        self,
        *,
        name: str,
        owner: str,
        created_at: datetime,
        path: str | None,
        status: str,
        camera_id: UUID,
        source: NewSource | None,
    ) -> CameraRow:
        """Add a camera; raise Conflict ``path_taken``."""

    def update(
        self,
        camera_id: UUID,
        /,
        *,
        name: str | None,
        path: str | None,
        status: str | None,
        owner: str | None,
        source: NewSource | None,
        drop_source: bool,
    ) -> CameraRow | None:
        """Change what is given; return the camera as it is now."""

    def remove(self, camera_id: UUID, /) -> bool:
        """Remove the camera and its grants."""

    def list_visible(
        self, user_sub: str | None, /, *, limit: int, cursor: str | None
    ) -> PageOf[CameraRow]:
        """Return the cameras that a user may see, all for None."""

    def all_active(self) -> Sequence[CameraRow]:
        """Return every camera whose status is ``active``."""


class SourceTable(Protocol):
    """The table ``camera_source``, to be read."""

    def get(self, camera_id: UUID, /) -> Stored | None:
        """Return the camera's source, None where it pushes."""


class SettingsStore(Protocol):
    """The table ``settings``."""

    def get(self, key: str, /) -> object:
        """Return the value, None where it was never set."""

    def put(self, key: str, value: object, /) -> None:
        """Set the value."""


class Wishes(Protocol):
    """The table ``stream``."""

    def get(self, camera_id: UUID, /) -> WishRow | None:
        """Return the wish, None where nothing was ever wanted."""

    def all(self) -> Sequence[WishRow]:
        """Return every wish, wanted or not."""

    def want(self, camera: Any, /, *, requested_by: str, at: datetime) -> Any:  # noqa: ANN401 - see above
        """Want ``camera``; return the change, which `put_back` takes."""

    def unwant(self, camera_id: UUID, /, *, requested_by: str, at: datetime) -> WishRow | None:
        """Want the camera no longer."""

    def put_back(self, change: Any, /, *, at: datetime) -> bool:  # noqa: ANN401 - see above
        """Undo ``change`` unless the wish has been changed again since."""


class Segments(Protocol):
    """The table ``segment``."""

    def get(self, camera_id: UUID, segment_id: UUID, /) -> SegmentRow | None:
        """Return the segment, None where this camera has no such one."""

    def in_range(
        self, camera_id: UUID, from_: datetime, to: datetime, /, *, limit: int | None
    ) -> Sequence[SegmentRow]:
        """Return the first ``limit`` segments that overlap the range, in time order."""

    def mark_camera_deleting(self, camera_id: UUID, /) -> int:
        """Mark all of the camera's segments for deletion."""


class Recordings(Protocol):
    """Segments and gaps in one list."""

    def list(
        self, camera_id: UUID, from_: datetime, to: datetime, /, *, limit: int, cursor: str | None
    ) -> PageOf[SegmentRow | GapRow]:
        """Return what overlaps the range, in time order."""


class RecordedSum(Protocol):
    """What was recorded over all cameras."""

    @property
    def seconds(self) -> float: ...  # noqa: D102 - likewise
    @property
    def size_bytes(self) -> int: ...  # noqa: D102 - likewise


class MissingSum(Protocol):
    """What was not recorded, for one cause."""

    @property
    def cause(self) -> str: ...  # noqa: D102 - likewise
    @property
    def seconds(self) -> float: ...  # noqa: D102 - likewise


class Coverage(Protocol):
    """Sums over all cameras."""

    def recorded(self, since: datetime, /) -> RecordedSum:
        """Return what was recorded since then."""

    def missing(self, since: datetime, now: datetime, /) -> Sequence[MissingSum]:
        """Return what is missing since then, the gravest cause first."""

    def oldest(self) -> datetime | None:
        """Return when the oldest segment ended."""

    def cameras(self) -> Mapping[str, int]:
        """Return how many cameras there are of each status."""
