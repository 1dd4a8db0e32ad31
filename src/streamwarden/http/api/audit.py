"""The audit trail, to be read. Role admin."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.access_ports import AuditLog, AuditRow
from streamwarden.http.api.spans import before
from streamwarden.http.intake import query_of, user_of
from streamwarden.http.models import Id, Model, Moment, QueryInteger, answer
from streamwarden.http.operations import Access, Resource, operation

_DEFAULT_SPAN = timedelta(days=7)
_JUST_NOW = timedelta(seconds=1)


class AuditQuery(Model):
    """Which events. ``user``: by them, or done to them.

    ``to`` defaults to now, ``from`` to a week before.
    """

    camera: Id | None = None
    user: str | None = Field(default=None, min_length=1, max_length=255)
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None
    limit: QueryInteger = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)


class AuditItem(Model):
    """Something that was done, or refused. ``subject`` is whom it was done to."""

    id: Id
    at: Moment
    who: str
    action: str
    outcome: str
    camera_id: UUID | None
    subject: str | None
    address: str
    request_id: str | None
    detail: dict[str, Any]


class AuditPage(Model):
    """Events, newest first; ``next_cursor`` asks for the older ones."""

    items: list[AuditItem]
    next_cursor: str | None


class Audit(Resource):
    """``GET /api/v1/ops/audit``."""

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    @operation(
        "Who did what",
        access=Access.BEARER,
        query=AuditQuery,
        answers={200: AuditPage},
        refusals=(403, 503),
        about="An event is there about a second after it; watching is noted when it begins.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page; role admin."""
        require_admin(user_of(req))
        query = query_of(req, AuditQuery)
        to = query.to or self._clock.now() + _JUST_NOW
        from_ = query.from_ or before(to, _DEFAULT_SPAN)
        if from_ >= to:
            raise InvalidInput("from: must be before to", field="from")
        page = self._log.page(
            from_=from_,
            to=to,
            camera_id=query.camera,
            user=query.user,
            limit=query.limit,
            cursor=query.cursor,
        )
        items = [_item(row) for row in page.items]
        answer(resp, AuditPage(items=items, next_cursor=page.next_cursor))


def _item(row: AuditRow) -> AuditItem:
    names = AuditItem.model_fields.keys() - {"detail"}
    return AuditItem(**{name: getattr(row, name) for name in names}, detail=json.loads(row.detail))
