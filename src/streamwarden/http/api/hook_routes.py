"""Routes of the internal API: MediaMTX's authentication hook, and the recorder's read token."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import falcon
import structlog
from pydantic import ConfigDict

from streamwarden.auth.revocation import DenialList
from streamwarden.auth.rtsp_urls import internal_url
from streamwarden.auth.stream_tokens import StreamClaims, StreamTokens, StreamUse
from streamwarden.errors import Denied
from streamwarden.http.api.access import CameraInactive
from streamwarden.http.api.desired_cache import CachedCamera
from streamwarden.http.api.stream_routes import RECORD_TTL_S
from streamwarden.http.models import Empty, Id, Model, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.problems import Problem, respond_problem
from streamwarden.http.validation import body_of
from streamwarden.mediamtx.control_secret import ControlSecrets
from streamwarden.mediamtx.hook import HookOutcome, check
from streamwarden.mediamtx.sessions import SessionClaims
from streamwarden.mediamtx.source_paths import PulledPaths
from streamwarden.metrics.api_metrics import AuthMetrics

log = structlog.get_logger(__name__)


_ID_CHARS = 64
_LOGGED_EVERY_S = 60.0


LookUp = Callable[[UUID], CachedCamera | None]


class HookBody(Model):
    """The body that MediaMTX sends; fields of later releases are accepted."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


class ReadTokenBody(Model):
    """Whose recorder asks."""

    camera_id: Id


class ReadTokenModel(Model):
    """The URL that FFmpeg reads from now on."""

    rtsp_url: str
    expires_at: Timestamp


class NotWanted(Denied):
    """The camera is gone, or is not to be recorded any more."""

    code = "not_wanted"


class ForeignCaller(Denied):
    """A web page calls, or a name that is none of this port's."""

    code = "foreign_caller"


class HookCallers:
    """Tells MediaMTX's calls of the hook from those of a web page in a browser that reaches this port.

    A page has an Origin, or its own name in Host, which it made to resolve to this machine (DNS
    rebinding). An address is nobody's name, and a name without a dot is not to be had from outside.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def foreign(self, req: falcon.Request) -> bool:
        """Return whether a page calls."""
        if req.get_header("Origin") is not None or req.get_header("Sec-Fetch-Site") is not None:
            return True
        try:
            host = req.host.lower().rstrip(".")
        except ValueError:
            return True
        return "." in host and not _is_address(host) and host not in self._names


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class CheckStreamPassword(Resource):
    """``POST /api/v1/m2m/check-stream-pwd``. Decided in memory: MediaMTX blocks until the answer."""

    def __init__(
        self,
        tokens: StreamTokens,
        metrics: AuthMetrics,
        *,
        denied: DenialList,
        sessions: SessionClaims,
        pulled: PulledPaths,
        control: ControlSecrets,
        callers: HookCallers,
    ) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self._denied = denied
        self._sessions = sessions
        self._pulled = pulled
        self._control = control
        self._callers = callers
        self._logged_s = -_LOGGED_EVERY_S

    @operation(
        "MediaMTX asks whether a client may publish, read, or use its control API",
        access=Access.OPEN,
        query=None,
        body=HookBody,
        any_type=True,
        answers={200: Empty},
        refusals=(401, 403),
        about="401 never says why; the metric `stream_auth_total` and the log do.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 or 401, and 403 to a web page."""
        if self._callers.foreign(req):
            self._metrics.decided("other", "foreign_caller")
            self._log_foreign(req)
            raise ForeignCaller(
                "only the media server calls here; INTERNAL_HOSTS has further names"
            )
        fields: dict[str, Any] = body_of(req, HookBody).model_extra or {}
        decision = check(
            self._tokens,
            fields,
            denials=self._denied,
            pulled=self._pulled,
            control=self._control,
        )
        if decision.claims is not None and not self._note(fields.get("id"), decision.claims):
            decision = replace(decision, allowed=False, outcome=HookOutcome.TOO_MANY_VIEWS)
        self._metrics.decided(decision.action, decision.outcome.value)
        log.debug("stream_auth", action=decision.action, outcome=decision.outcome.value)
        if decision.allowed:
            respond(resp, Empty())
            return
        respond_problem(req, resp, Problem.of_status(401))
        resp.set_header("WWW-Authenticate", "Basic")

    def _log_foreign(self, req: falcon.Request) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOGGED_EVERY_S:
            self._logged_s = now_s
            log.warning(
                "hook_caller_foreign",
                host=req.get_header("Host"),
                origin=req.get_header("Origin"),
                setting="INTERNAL_HOSTS",
            )

    def _note(self, session_id: object, claims: StreamClaims) -> bool:
        """Note whose session it will be; return False where a viewer has too many."""
        if not isinstance(session_id, str) or not 0 < len(session_id) <= _ID_CHARS:
            return True  # it opens no session
        if claims.use is StreamUse.VIEW:
            return self._sessions.admit_view(session_id, claims)
        self._sessions.note(session_id, claims)
        return True


class IssueReadToken(Resource):
    """``POST /api/v1/m2m/read-token``."""

    def __init__(
        self,
        look_up: LookUp,
        tokens: StreamTokens,
        rtsp_internal_url: str,
        *,
        moment: Callable[[], datetime],
    ) -> None:
        self._look_up = look_up
        self._moment = moment
        self._tokens = tokens
        self._base = rtsp_internal_url

    @operation(
        "A fresh read token for a recorder",
        access=Access.INTERNAL,
        body=ReadTokenBody,
        answers={200: ReadTokenModel},
        refusals=(403, 503),
        about="403 when the camera is no longer active or wanted; from memory without Postgres.",
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Sign a token for a camera that is wanted."""
        camera_id, asked_at = body_of(req, ReadTokenBody).camera_id, self._moment()
        known = self._look_up(camera_id)
        if known is None or not known.wanted:
            raise NotWanted("the camera is not wanted")
        if not known.active:
            raise CameraInactive("the camera is inactive")
        signed = self._tokens.sign_record(
            camera_id, known.path, ttl_s=RECORD_TTL_S, asked_at=asked_at
        )
        url = internal_url(self._base, known.path, signed.token)
        respond(resp, ReadTokenModel(rtsp_url=url, expires_at=signed.expires_at))
