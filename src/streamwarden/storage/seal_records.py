"""The table ``seal``, and the segments and gaps that no seal covers yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from streamwarden.model import Gap, SealRow, Segment
from streamwarden.storage.pool import Database, load_queries

_SQL = load_queries("seal")


class SealRepository:
    """Reads and writes ``seal``, a copy of the seal files. Rows are never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self, camera_id: UUID) -> SealRow | None:
        """Return the camera's newest seal, None where there is none."""
        return self._database.fetch_one(_SQL["head"], {"camera_id": camera_id}, row=SealRow)

    def cameras(self) -> list[UUID]:
        """Return the cameras with segments or gaps that no seal covers."""
        return [UUID(str(found)) for found in self._database.fetch_values(_SQL["cameras"])]

    def unsealed_segments(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Segment]:
        """Return stored, unsealed segments that began before ``before``, in time order."""
        params = {"camera_id": camera_id, "before": before, "limit": limit}
        return self._database.fetch_all(_SQL["unsealed_segments"], params, row=Segment)

    def unsealed_gaps(self, camera_id: UUID, before: datetime, *, limit: int) -> list[Gap]:
        """Return closed, unsealed gaps that began before ``before``, in time order."""
        params = {"camera_id": camera_id, "before": before, "limit": limit}
        return self._database.fetch_all(_SQL["unsealed_gaps"], params, row=Gap)

    def enter(
        self, row: SealRow, *, segments: Mapping[UUID, bytes | None], gaps: Collection[UUID]
    ) -> None:
        """Insert a seal and mark the rows that it covers, in one transaction. Idempotent.

        ``segments`` maps ids to digests. A segment is marked only if the index has the same digest;
        otherwise a file that has changed since would count as sealed.
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
        """Return the seals that cover any of these segments."""
        params = {"camera_id": camera_id, "ids": list(segments)}
        numbers = self._database.fetch_values(_SQL["numbers_of"], params)
        some = {"camera_id": camera_id, "numbers": numbers}
        return self._database.fetch_all(_SQL["some"], some, row=SealRow)
