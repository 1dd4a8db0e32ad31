"""The tables ``stream`` (desired state), ``wanted_period`` (its history) and ``settings``."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from streamwarden.model import Camera, DesiredChange, DesiredStream, WantedPeriod
from streamwarden.storage.pool import Database, fetch_one, load_queries

_SQL = load_queries("stream")
_PERIOD_SQL = load_queries("period")
_SETTINGS_SQL = load_queries("settings")


class StreamRepository:
    """Reads and writes ``stream``. Changes of one camera are serialized by a row lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, camera_id: UUID) -> DesiredStream | None:
        """Return the camera's desired state, None where it was never wanted."""
        return self._database.fetch_one(_SQL["get"], {"camera_id": camera_id}, row=DesiredStream)

    def all(self) -> list[DesiredStream]:
        """Return every desired state, wanted or not."""
        return self._database.fetch_all(_SQL["all"], row=DesiredStream)

    def want(self, camera: Camera, *, requested_by: str, at: datetime) -> DesiredChange:
        """Want ``camera`` from ``at`` on; a repeated call starts a new epoch in the same period."""
        params = {
            "camera_id": camera.id,
            "owner": camera.owner,
            "path": camera.path,
            "requested_by": requested_by,
            "at": at,
        }
        with self._database.connection() as connection:
            before = _locked(connection, camera.id)
            after = fetch_one(connection, _SQL["want"], params, row=DesiredStream)
            connection.execute(_SQL["open_period"], params)
        if after is None:
            raise AssertionError("an upsert that returns no row")
        return DesiredChange(before=before, after=after)

    def unwant(self, camera_id: UUID, *, requested_by: str, at: datetime) -> DesiredStream | None:
        """Set the camera to unwanted; return the new desired state, None where there was none."""
        params = {"camera_id": camera_id, "requested_by": requested_by, "at": at}
        with self._database.connection() as connection:
            before = _locked(connection, camera_id)
            after = fetch_one(connection, _SQL["unwant"], params, row=DesiredStream)
            connection.execute(_SQL["close_period"], params)
        return after or before

    def put_back(self, change: DesiredChange, *, at: datetime) -> bool:
        """Undo ``change``; return False where the row has changed again since.

        The epoch still grows, so that no reader takes the older state for the newer one; a camera
        that was never wanted before keeps an unwanted row. Each caller restores the state that it
        has seen, so callers of ``want`` must serialize their calls for one camera.
        """
        after = change.after
        before = change.before
        params = {
            "camera_id": after.camera_id,
            "epoch": after.epoch,
            "owner": before.owner if before else after.owner,
            "path": before.path if before else after.path,
            "wanted": before.wanted if before else False,
            "requested_by": before.requested_by if before else after.requested_by,
            "changed_at": before.changed_at if before else at,
        }
        with self._database.connection() as connection:
            _locked(connection, after.camera_id)
            put_back = connection.execute(_SQL["put_back"], params).rowcount > 0
            if put_back and not params["wanted"]:
                connection.execute(_SQL["undo_period"], params)
        return put_back

    def claim(self, camera_id: UUID, node: str) -> bool:
        """Record which node records the camera; return False where it is not wanted."""
        return self._database.execute(_SQL["claim"], {"camera_id": camera_id, "node": node}) > 0


def _locked(connection: Connection[TupleRow], camera_id: UUID) -> DesiredStream | None:
    """Lock the camera's row until the transaction ends; return its desired state."""
    params = {"camera_id": camera_id}
    connection.execute(_SQL["lock"], params)
    return fetch_one(connection, _SQL["get"], params, row=DesiredStream)


class PeriodRepository:
    """Reads ``wanted_period``, which ``StreamRepository`` writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[WantedPeriod]:
        """Return the periods that overlap ``from_`` to ``to``, in time order."""
        params = {"camera_id": camera_id, "from": from_, "to": to}
        return self._database.fetch_all(_PERIOD_SQL["in_range"], params, row=WantedPeriod)

    def camera_ids(self) -> list[UUID]:
        """Return every camera that was ever wanted, also removed ones."""
        return [
            UUID(str(found)) for found in self._database.fetch_values(_PERIOD_SQL["camera_ids"])
        ]

    def trim(self, camera_id: UUID, until: datetime) -> None:
        """Delete the camera's periods before ``until``: retention has deleted their recordings."""
        params = {"camera_id": camera_id, "until": until}
        self._database.execute(_PERIOD_SQL["drop_until"], params)
        self._database.execute(_PERIOD_SQL["begin_at"], params)

    def drop_before(self, moment: datetime) -> int:
        """Delete all cameras' periods before ``moment``; return how many rows were deleted."""
        dropped = self._database.execute(_PERIOD_SQL["drop_before"], {"moment": moment})
        self._database.execute(_PERIOD_SQL["begin_all_at"], {"moment": moment})
        return dropped


class SettingsRepository:
    """Reads and writes ``settings``: JSON values by key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> object:
        """Return the value as JSON decodes it, None where it was never set."""
        return next(iter(self._database.fetch_values(_SETTINGS_SQL["get"], {"key": key})), None)

    def put(self, key: str, value: object) -> None:
        """Set ``key`` to ``value``, which must be JSON-serializable."""
        self._database.execute(_SETTINGS_SQL["put"], {"key": key, "value": Jsonb(value)})
