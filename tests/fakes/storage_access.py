"""Grants, denials and the audit trail in memory, with the meaning of the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from streamwarden.errors import InvalidInput, NotFound
from streamwarden.model import AuditEvent, BlockedUser, Denial, Grant, Page
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import GrantRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.pool import Position, decode_cursor, encode_cursor
from tests.fakes.storage_tables import FakeRepository

_ACTIONS = frozenset({"view", "recordings", "control", "publish"})


class FakeGrantRepository(FakeRepository, GrantRepository):
    """Grants in memory."""

    def of_user(self, camera_id: UUID, user_sub: str) -> list[Grant]:
        return [grant for grant in self.of_camera(camera_id) if grant.user_sub == user_sub]

    def of_camera(self, camera_id: UUID) -> list[Grant]:
        found = [grant for key, grant in self._tables.grants.items() if key[0] == camera_id]
        return sorted(found, key=lambda grant: (grant.user_sub, grant.action))

    def replace(
        self,
        camera_id: UUID,
        user_sub: str,
        grants: Sequence[Grant],
        *,
        withdrawing: Sequence[str] | None = None,
        denials: Sequence[Denial] = (),
    ) -> list[Grant]:
        before = self.of_user(camera_id, user_sub)
        for grant in grants:
            self._check(camera_id, grant)
        gone = [grant.action for grant in before] if withdrawing is None else withdrawing
        for action in gone:
            self._tables.grants.pop((camera_id, user_sub, action), None)
        for grant in grants:
            row = Grant(
                user_sub=user_sub, action=grant.action, from_=grant.from_, until=grant.until
            )
            self._tables.grants[(camera_id, user_sub, grant.action)] = row
        put(self._tables.denials, denials)
        return before

    def _check(self, camera_id: UUID, grant: Grant) -> None:
        if grant.action not in _ACTIONS:
            raise InvalidInput("no such action", field="action")
        if grant.action != "recordings" and (grant.from_ or grant.until):
            raise InvalidInput("only recordings can have a window", field="action")
        if grant.from_ and grant.until and grant.from_ >= grant.until:
            raise InvalidInput("the window must begin before it ends", field="action")
        if camera_id not in self._tables.cameras:
            raise NotFound("no such camera")


class FakeDenialRepository(FakeRepository, DenialRepository):
    """Denials in memory; the fingerprint is the whole table."""

    def put(self, denials: Sequence[Denial]) -> None:
        put(self._tables.denials, denials)

    def pages(self) -> Iterator[list[Denial]]:
        yield list(self._tables.denials.values())

    def path_known(self, path: str) -> bool:
        return any(key[:2] == ("publish", path) for key in self._tables.denials)

    def fingerprint(self) -> str:
        return repr(self._tables.denials)

    def drop_expired(self, now: datetime) -> int:
        rows = self._tables.denials
        old = [key for key, row in rows.items() if row.expires_at < now]
        for key in old:
            del rows[key]
        return len(old)

    def block(self, user: BlockedUser, denials: Sequence[Denial]) -> bool:
        new = user.user_sub not in self._tables.blocked
        self._tables.blocked.setdefault(user.user_sub, user)
        put(self._tables.denials, denials)
        return new

    def unblock(self, user_sub: str) -> bool:
        return self._tables.blocked.pop(user_sub, None) is not None

    def blocked(self) -> list[BlockedUser]:
        return sorted(self._tables.blocked.values(), key=lambda row: row.user_sub)


class FakeAuditRepository(FakeRepository, AuditRepository):
    """The audit trail in memory."""

    now = datetime.fromisoformat("2100-01-01T00:00:00Z")
    """Postgres's own clock, by which a row younger than a day is never pruned."""

    def insert_many(self, events: Sequence[AuditEvent]) -> int:
        new = [event for event in events if event.id not in self._tables.audit]
        self._tables.audit.update({event.id: event for event in new})
        return len(new)

    def page(
        self,
        *,
        from_: datetime,
        to: datetime,
        camera_id: UUID | None,
        user: str | None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        before = None if cursor is None else decode_cursor(cursor)
        found = [
            event
            for event in self._tables.audit.values()
            if from_ <= event.at < to
            and camera_id in {None, event.camera_id}
            and user in {None, event.who, event.subject}
            and (before is None or (event.at, event.id) < before)
        ]
        found.sort(key=lambda event: (event.at, event.id), reverse=True)
        if len(found) <= limit:
            return Page(items=tuple(found))
        last = found[limit - 1]
        cursor = encode_cursor(Position(last.at, last.id))
        return Page(items=tuple(found[:limit]), next_cursor=cursor)

    def prune(self, before: datetime) -> int:
        before = min(before, self.now - timedelta(days=1))
        old = [event.id for event in self._tables.audit.values() if event.at < before]
        for event_id in old:
            del self._tables.audit[event_id]
        return len(old)


def put(rows: dict[tuple[str, str, str], Denial], denials: Sequence[Denial]) -> None:
    for denial in denials:
        key = (denial.use, denial.path, denial.sub)
        rows[key] = _merged(rows[key], denial) if key in rows else denial


def _merged(before: Denial, new: Denial) -> Denial:
    kicks = [moment for moment in (before.kicked_before, new.kicked_before) if moment]
    return replace(
        new if new.issued_before >= before.issued_before else before,
        kicked_before=max(kicks, default=None),
        expires_at=max(before.expires_at, new.expires_at),
    )
