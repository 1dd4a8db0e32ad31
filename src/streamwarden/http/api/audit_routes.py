"""The audit trail: the middleware that records users' calls, and the route that reads them."""

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

from streamwarden.auth.audit_sink import AuditSink
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.recording_routes import before
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Id, Model, QueryInteger, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, client_address
from streamwarden.http.validation import claims_of, query_of, user_of
from streamwarden.model import AuditEvent
from streamwarden.storage.audit import AuditRepository

_DEFAULT_SPAN = timedelta(days=7)
_JUST_NOW = timedelta(seconds=1)
_MAX_ADDRESS_CHARS = 500


class AuditQuery(Model):
    """A filter of events. ``user`` is the actor or the subject.

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

    def __init__(self, table: AuditRepository, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    @operation(
        "The audit trail",
        access=Access.BEARER,
        query=AuditQuery,
        answers={200: AuditPage},
        refusals=(403, 503),
        about="Events appear after about one second; watching is recorded when it begins.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page; role admin."""
        require_admin(user_of(req))
        query = query_of(req, AuditQuery)
        to = query.to or self._clock.now() + _JUST_NOW
        from_ = query.from_ or before(to, _DEFAULT_SPAN)
        if from_ >= to:
            raise InvalidInput("from: must be before to", field="from")
        page = self._table.page(
            from_=from_,
            to=to,
            camera_id=query.camera,
            user=query.user,
            limit=query.limit,
            cursor=query.cursor,
        )
        items = [_item(row) for row in page.items]
        respond(resp, AuditPage(items=items, next_cursor=page.next_cursor))


def _item(row: AuditEvent) -> AuditItem:
    names = AuditItem.model_fields.keys() - {"detail"}
    return AuditItem(**{name: getattr(row, name) for name in names}, detail=json.loads(row.detail))


CAMERA: Final = "/api/v1/camera/{camera_id}"
REPEATED_S: Final = 60.0
"""Repeated requests of one user are recorded once in this time, for each camera and action."""
_MAX_REMEMBERED: Final = 10_000
TRIES: Final = 10
"""Cameras and exports that a user may not know and tries in `REPEATED_S`, each of which is recorded."""
_HIDDEN: Final = frozenset({"camera_not_found", "export_not_found"})
"""Answers that do not say whether there is none, or one of somebody else's."""
_DONE, _REFUSED = "done", "refused"
_TARGETS: Final = ("child", "key")
"""Path parameters that name the target of an action."""


@dataclass(frozen=True, slots=True)
class AuditRule:
    """The recording of one call. ``done`` False: only if refused; ``often``: once in `REPEATED_S`."""

    action: str
    done: bool = True
    often: bool = False


AUDIT_RULES: Final[Mapping[tuple[str, str], AuditRule]] = {
    ("GET", "/api/v1/camera"): AuditRule("list_cameras", done=False),
    ("POST", "/api/v1/camera"): AuditRule("add_camera"),
    ("GET", CAMERA): AuditRule("see_camera", done=False),
    ("PATCH", CAMERA): AuditRule("change_camera"),
    ("DELETE", CAMERA): AuditRule("remove_camera"),
    ("POST", f"{CAMERA}/stream/connect"): AuditRule("start"),
    ("POST", f"{CAMERA}/stream/disconnect"): AuditRule("stop"),
    ("GET", f"{CAMERA}/stream/status"): AuditRule("see_status", done=False),
    ("GET", f"{CAMERA}/publish_rtsp_url"): AuditRule("issue_link"),
    ("POST", f"{CAMERA}/publish_rtsp_url/revoke"): AuditRule("withdraw_links"),
    ("GET", f"{CAMERA}/preview"): AuditRule("watch_live"),
    ("GET", f"{CAMERA}/live.m3u8"): AuditRule("watch_live", often=True),
    ("GET", f"{CAMERA}/live/{{name}}"): AuditRule("watch_live", often=True),
    ("GET", f"{CAMERA}/snapshot.jpg"): AuditRule("watch_live", often=True),
    ("GET", f"{CAMERA}/recordings"): AuditRule("list_recordings", often=True),
    ("POST", f"{CAMERA}/recordings/play_token"): AuditRule("watch_recordings"),
    ("GET", f"{CAMERA}/recordings/playlist.m3u8"): AuditRule("watch_recordings", often=True),
    ("GET", f"{CAMERA}/recordings/{{segment_id}}"): AuditRule("watch_recordings", often=True),
    ("GET", f"{CAMERA}/recordings/{{segment_id}}.mp4"): AuditRule("watch_recordings", often=True),
    ("GET", f"{CAMERA}/exports"): AuditRule("list_exports", done=False),
    ("POST", f"{CAMERA}/exports"): AuditRule("export"),
    ("GET", f"{CAMERA}/exports/{{export_id}}"): AuditRule("see_export", done=False),
    ("DELETE", f"{CAMERA}/exports/{{export_id}}"): AuditRule("cancel_export"),
    ("GET", f"{CAMERA}/exports/{{export_id}}/file"): AuditRule("fetch_export", often=True),
    ("GET", f"{CAMERA}/exports/{{export_id}}/proof"): AuditRule("fetch_export_proof", often=True),
    ("GET", f"{CAMERA}/grants"): AuditRule("list_grants", done=False),
    ("PUT", f"{CAMERA}/grants/{{user}}"): AuditRule("grant"),
    ("DELETE", f"{CAMERA}/grants/{{user}}"): AuditRule("withdraw_grant"),
    ("GET", "/api/v1/settings/{key}"): AuditRule("see_setting", done=False),
    ("PUT", "/api/v1/settings/{key}"): AuditRule("change_setting"),
    ("GET", "/api/v1/user/blocked"): AuditRule("list_blocked", done=False),
    ("PUT", "/api/v1/user/blocked/{user}"): AuditRule("block_user"),
    ("DELETE", "/api/v1/user/blocked/{user}"): AuditRule("unblock_user"),
    ("GET", "/api/v1/ops/summary"): AuditRule("see_operations", done=False),
    ("GET", "/api/v1/ops/supervision"): AuditRule("see_operations", done=False),
    ("POST", "/api/v1/ops/supervision/{child}/restart"): AuditRule("restart_child"),
    ("GET", "/api/v1/ops/audit"): AuditRule("read_audit", often=True),
}
"""Every operation of the users' API; a test compares it with the routes."""


def describe(req: falcon.Request, *, subject: str | None = None, **detail: object) -> None:
    """Add to a call's audit event its subject and details. Never a secret."""
    req.context.audit = (subject, detail)


class AuditTrail:
    """Middleware that records what users did, and what they were refused."""

    def __init__(self, sink: AuditSink, clock: Clock, proxies: Proxies = NO_PROXIES) -> None:
        self._sink = sink
        self._proxies = proxies
        self._clock = clock
        self._repeats = _Repeats(clock)
        self._tries = _Tries(clock)

    def process_resource(
        self,
        req: falcon.Request,
        _resp: falcon.Response,
        _resource: object,
        params: Mapping[str, object],
    ) -> None:
        """Keep the path parameters until the call is answered."""
        req.context.named = dict(params)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, *_succeeded: bool
    ) -> None:
        """Record the call, if `AUDIT_RULES` has it."""
        method = "GET" if req.method == "HEAD" else req.method
        rule = AUDIT_RULES.get((method, req.uri_template or ""))
        code = getattr(req.context, "problem_code", None)
        outcome = _outcome(resp.status_code, code)
        if rule is None or outcome is None or (outcome != _REFUSED and not rule.done):
            return
        claims = claims_of(req)
        user = getattr(req.context, "user", None) or claims
        if user is None:
            return  # unauthenticated: counted by the request metrics
        if outcome == _DONE and claims is not None and rule.action.startswith("watch"):
            return  # recorded when the token was signed
        named = getattr(req.context, "named", {})
        camera_id = named.get("camera_id")
        key = (user.sub, rule.action, str(camera_id), outcome)
        if (rule.often or outcome == _REFUSED) and not self._repeats.admits(key):
            return
        subject, detail = getattr(req.context, "audit", (None, {}))
        if code in _HIDDEN:
            left = self._tries.left(user.sub)
            if left == 0:
                return
            detail = {"answer": code, **({} if left > 1 else {"more_not_noted_for_s": REPEATED_S})}
        detail = {name: named[name] for name in _TARGETS if name in named} | detail
        self._sink.note(
            AuditEvent(
                at=self._clock.now(),
                who=user.sub,
                action=rule.action,
                outcome=outcome,
                camera_id=camera_id,
                subject=subject or named.get("user"),
                address=client_address(req, self._proxies)[:_MAX_ADDRESS_CHARS],
                request_id=name_request(req),
                detail=json.dumps(detail, ensure_ascii=False),
            )
        )


def _outcome(status: int, code: str | None) -> str | None:
    """Return the outcome of a call, None where it came to no decision."""
    if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        return _DONE
    if status == HTTPStatus.FORBIDDEN or code in _HIDDEN:
        return _REFUSED
    return "failed" if status == HTTPStatus.SERVICE_UNAVAILABLE else None


class _Repeats:
    """Admits a key once in `REPEATED_S`. Thread-safe; bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def admits(self, key: tuple[str, ...]) -> bool:
        """Return whether the key was not admitted lately; then it counts as admitted now."""
        now_s = self._clock.monotonic()
        with self._lock:
            last_s = self._last.get(key)
            if last_s is not None and now_s - last_s < REPEATED_S:
                return False
            self._last[key] = now_s
            self._last.move_to_end(key)
            if len(self._last) > _MAX_REMEMBERED:
                self._last.popitem(last=False)
        return True


class _Tries:
    """Counts what each user may not know and tried, in windows of `REPEATED_S`. Thread-safe; bounded.

    Made-up ids are each tried once: without this bound they would fill the trail.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._users: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def left(self, user: str) -> int:
        """Return how many tries, with this one, may still be recorded; then one fewer may."""
        now_s = self._clock.monotonic()
        with self._lock:
            since_s, count = self._users.get(user, (now_s, 0))
            if now_s - since_s >= REPEATED_S:
                since_s, count = now_s, 0
            self._users[user] = (since_s, min(count + 1, TRIES))
            self._users.move_to_end(user)
            if len(self._users) > _MAX_REMEMBERED:
                self._users.popitem(last=False)
        return TRIES - count
