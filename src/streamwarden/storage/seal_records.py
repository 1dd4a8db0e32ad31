"""The table ``seal``, and which segments and gaps no seal speaks of yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from streamwarden.model import Gap, SealRow, Segment
from streamwarden.storage.pool import Database, load_queries

_SQL = load_queries("seal")


class SealRepository:
    """Follows the files of seals. Seals are added and read, never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, camera_id: UUID) -> SealRow | None:
        """Return the camera's newest seal, None where there is none."""
        return self._database.fetch_one(_SQL["head"], {"camera_id": camera_id}, row=SealRow)

    def cameras(self) -> list[UUID]:
        """Return the cameras that have segments or gaps that no seal speaks of."""
        return [UUID(str(found)) for found in self._database.fetch_values(_SQL["cameras"])]

    def unsealed_segments(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Segment]:
        """Return stored segments that began before ``before`` and are not sealed, in time order."""
        params = {"camera_id": camera_id, "before": before, "limit": limit}
        return self._database.fetch_all(_SQL["unsealed_segments"], params, row=Segment)

    def unsealed_gaps(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Gap]:
        """Return gaps that have ended, began before ``before`` and are not sealed, in time order."""
        params = {"camera_id": camera_id, "before": before, "limit": limit}
        return self._database.fetch_all(_SQL["unsealed_gaps"], params, row=Gap)

    def enter(
        self, row: SealRow, *, segments: Mapping[UUID, bytes | None], gaps: Collection[UUID]
    ) -> None:
        """Enter a seal and mark what it speaks of, in one transaction; harmless when repeated.

        A segment (its digest by its id) is marked only if the index has it with these bytes: else
        what has changed since would count as sealed.
        """
        place = {"camera_id": row.camera_id, "number": row.number}
        digests = {"ids": list(segments), "digests": list(segments.values())}
        with self._database.connection() as connection:
            connection.execute(
                _SQL["insert"], {name: getattr(row, name) for name in SealRow.__slots__}
            )
            connection.execute(_SQL["mark_segments"], {**place, **digests})
            connection.execute(_SQL["mark_gaps"], {**place, "ids": list(gaps)})

    def that_hold(self, camera_id: UUID, segments: Collection[UUID]) -> list[SealRow]:
        """Return the seals that speak of any of these segments."""
        params = {"camera_id": camera_id, "ids": list(segments)}
        numbers = self._database.fetch_values(_SQL["numbers_of"], params)
        some = {"camera_id": camera_id, "numbers": numbers}
        return self._database.fetch_all(_SQL["some"], some, row=SealRow)
