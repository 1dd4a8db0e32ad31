"""The audit trail, to be read. Role admin.

What of the users' calls goes into the audit trail, and under which name.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.access_ports import AuditLog, AuditRow, AuditSink
from streamwarden.http.api.recording_routes import before
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Id, Model, QueryInteger, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, client_address
from streamwarden.http.validation import claims_of, query_of, user_of

_DEFAULT_SPAN = timedelta(days=7)


_JUST_NOW = timedelta(seconds=1)


class AuditQuery(Model):
    """Which events. ``user``: by them, or done to them.

    ``to`` defaults to now, ``from`` to a week before.
    """

    camera: Id | None = None
    user: str | None = Field(default=None, min_length=1, max_length=255)
    from_: Timestamp | None = Field(default=None, alias="from")
    to: Timestamp | None = None
    limit: QueryInteger = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)


class AuditItem(Model):
    """Something that was done, or refused. ``subject`` is whom it was done to."""

    id: Id
    at: Timestamp
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
        respond(resp, AuditPage(items=items, next_cursor=page.next_cursor))


def _item(row: AuditRow) -> AuditItem:
    names = AuditItem.model_fields.keys() - {"detail"}
    return AuditItem(**{name: getattr(row, name) for name in names}, detail=json.loads(row.detail))


CAMERA: Final = "/api/v1/camera/{camera_id}"


REPEATED_S: Final = 60.0
"""Who fetches by bearer again and again is noted once in this time, for each camera and action."""


_MOST_REMEMBERED: Final = 10_000


_DONE, _REFUSED = "done", "refused"


_TOLD: Final = ("child", "key")
"""Parts of an address that tell what was acted on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How a call is noted. ``done`` False: only if it is refused; ``often``: once in a while."""

    action: str
    done: bool = True
    often: bool = False


ENTRIES: Final[Mapping[tuple[str, str], Entry]] = {
    ("GET", "/api/v1/camera"): Entry("list_cameras", done=False),
    ("POST", "/api/v1/camera"): Entry("add_camera"),
    ("GET", CAMERA): Entry("see_camera", done=False),
    ("PATCH", CAMERA): Entry("change_camera"),
    ("DELETE", CAMERA): Entry("remove_camera"),
    ("POST", f"{CAMERA}/stream/connect"): Entry("start"),
    ("POST", f"{CAMERA}/stream/disconnect"): Entry("stop"),
    ("GET", f"{CAMERA}/stream/status"): Entry("see_status", done=False),
    ("GET", f"{CAMERA}/publish_rtsp_url"): Entry("issue_link"),
    ("POST", f"{CAMERA}/publish_rtsp_url/revoke"): Entry("withdraw_links"),
    ("GET", f"{CAMERA}/preview"): Entry("watch_live"),
    ("GET", f"{CAMERA}/live.m3u8"): Entry("watch_live", often=True),
    ("GET", f"{CAMERA}/live/{{name}}"): Entry("watch_live", often=True),
    ("GET", f"{CAMERA}/snapshot.jpg"): Entry("watch_live", often=True),
    ("GET", f"{CAMERA}/recordings"): Entry("list_recordings", often=True),
    ("POST", f"{CAMERA}/recordings/play_token"): Entry("watch_recordings"),
    ("GET", f"{CAMERA}/recordings/playlist.m3u8"): Entry("watch_recordings", often=True),
    ("GET", f"{CAMERA}/recordings/{{segment_id}}"): Entry("watch_recordings", often=True),
    ("GET", f"{CAMERA}/recordings/{{segment_id}}.mp4"): Entry("watch_recordings", often=True),
    ("GET", f"{CAMERA}/exports"): Entry("list_exports", done=False),
    ("POST", f"{CAMERA}/exports"): Entry("export"),
    ("GET", f"{CAMERA}/exports/{{export_id}}"): Entry("see_export", done=False),
    ("DELETE", f"{CAMERA}/exports/{{export_id}}"): Entry("cancel_export"),
    ("GET", f"{CAMERA}/exports/{{export_id}}/file"): Entry("fetch_export", often=True),
    ("GET", f"{CAMERA}/exports/{{export_id}}/proof"): Entry("fetch_export_proof", often=True),
    ("GET", f"{CAMERA}/grants"): Entry("list_grants", done=False),
    ("PUT", f"{CAMERA}/grants/{{user}}"): Entry("grant"),
    ("DELETE", f"{CAMERA}/grants/{{user}}"): Entry("withdraw_grant"),
    ("GET", "/api/v1/settings/{key}"): Entry("see_setting", done=False),
    ("PUT", "/api/v1/settings/{key}"): Entry("change_setting"),
    ("GET", "/api/v1/user/blocked"): Entry("list_blocked", done=False),
    ("PUT", "/api/v1/user/blocked/{user}"): Entry("block_user"),
    ("DELETE", "/api/v1/user/blocked/{user}"): Entry("unblock_user"),
    ("GET", "/api/v1/ops/summary"): Entry("see_operations", done=False),
    ("GET", "/api/v1/ops/supervision"): Entry("see_operations", done=False),
    ("POST", "/api/v1/ops/supervision/{child}/restart"): Entry("restart_child"),
    ("GET", "/api/v1/ops/audit"): Entry("read_audit", often=True),
}
"""Every operation that a user can call; a test holds it against the routes."""


def describe(req: falcon.Request, *, subject: str | None = None, **detail: object) -> None:
    """Say to whom a call is done, and what only its responder knows. Never a secret."""
    req.context.audit = (subject, detail)


class AuditTrail:
    """Middleware: notes what users did, and what they were refused."""

    def __init__(self, sink: AuditSink, clock: Clock, proxies: Proxies = NO_PROXIES) -> None:
        self._sink = sink
        self._proxies = proxies
        self._seldom = _Seldom(clock)

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        _resource: object,
        params: Mapping[str, object],
    ) -> None:
        """Keep what the address names, for when the call has been answered."""
        req.context.named = dict(params)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Note the call, if it is one that counts."""
        method = "GET" if req.method == "HEAD" else req.method
        entry = ENTRIES.get((method, req.uri_template or ""))
        outcome = _outcome(resp.status_code)
        if entry is None or outcome is None or (outcome != _REFUSED and not entry.done):
            return
        claims = claims_of(req)
        user = getattr(req.context, "user", None) or claims
        if user is None:
            return  # nobody: the request metrics count those
        if outcome == _DONE and claims is not None and entry.action.startswith("watch"):
            return  # noted when the token was signed
        named = getattr(req.context, "named", {})
        camera_id = named.get("camera_id")
        key = (user.sub, entry.action, str(camera_id), outcome)
        if (entry.often or outcome == _REFUSED) and not self._seldom.admits(key):
            return
        subject, detail = getattr(req.context, "audit", (None, {}))
        self._sink.note(
            who=user.sub,
            action=entry.action,
            outcome=outcome,
            camera_id=camera_id,
            subject=subject or named.get("user"),
            address=client_address(req, self._proxies),
            request_id=name_request(req),
            detail={name: named[name] for name in _TOLD if name in named} | detail,
        )


def _outcome(status: int) -> str | None:
    """Return what came of a call; None where it did not come to a decision."""
    if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        return _DONE
    if status == HTTPStatus.FORBIDDEN:
        return _REFUSED
    return "failed" if status == HTTPStatus.SERVICE_UNAVAILABLE else None


class _Seldom:
    """Admits a key once in `REPEATED_S`. Any thread; bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def admits(self, key: tuple[str, ...]) -> bool:
        """Tell whether it was not admitted lately; that counts as being so."""
        now_s = self._clock.monotonic()
        with self._lock:
            last_s = self._last.get(key)
            if last_s is not None and now_s - last_s < REPEATED_S:
                return False
            self._last[key] = now_s
            self._last.move_to_end(key)
            if len(self._last) > _MOST_REMEMBERED:
                self._last.popitem(last=False)
        return True
