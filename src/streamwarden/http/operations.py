"""Declarations of responders, and the responders that every port has: liveness, readiness, metrics.

A declaration is the one source of a responder's checks and of its OpenAPI entry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

import falcon
import structlog

from streamwarden.errors import StreamwardenError
from streamwarden.http.models import Empty, Model, respond

log = structlog.get_logger(__name__)
_F = TypeVar("_F", bound=Callable[..., None])
_DECLARED = "__operation__"


class Access(Enum):
    """The credentials that an operation requires."""

    OPEN = "open"
    BEARER = "bearer"
    """A user, by ``Authorization: Bearer``."""
    PLAYER = "player"
    """A user by ``Authorization: Bearer``, or a player by a play token in ``?token=``."""
    INTERNAL = "internal"
    """Another role, by ``X-Internal-Token``."""


RateClass = Literal["connect", "sign", "heavy", "share"]
"""Groups of calls with a rate limit for each user.

``sign`` calls answer with a token, ``heavy`` ones read much, and ``share`` ones change who may do what, of
which much is remembered for a year.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A response body that is not JSON of a model."""

    content_type: str
    about: str


Content = type[Model] | Media | None
"""The body that comes with a status, None for a response without one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One method of one route.

    With ``body`` None a body is not read; with ``query`` None parameters are ignored. ``refusals`` are
    the statuses of problems in addition to those that follow from the inputs. ``any_type``: the body
    is read as JSON for every Content-Type.
    """

    summary: str
    access: Access
    answers: Mapping[int, Content]
    refusals: frozenset[int] = frozenset()
    query: type[Model] | None = Empty
    body: type[Model] | None = None
    about: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: RateClass | None = None
    any_type: bool = False


def operation(
    summary: str,
    *,
    access: Access,
    answers: Mapping[int, Content],
    refusals: tuple[int, ...] = (),
    query: type[Model] | None = Empty,
    body: type[Model] | None = None,
    about: str = "",
    headers: Mapping[str, str] | None = None,
    rate_limit: RateClass | None = None,
    any_type: bool = False,
) -> Callable[[_F], _F]:
    """Declare the responder below; `RequestValidator` checks each request against it."""
    declared = Operation(
        summary=summary,
        access=access,
        answers=answers,
        refusals=frozenset(refusals),
        query=query,
        body=body,
        about=about,
        headers=headers or {},
        rate_limit=rate_limit,
        any_type=any_type,
    )

    def declare(responder: _F) -> _F:
        setattr(responder, _DECLARED, declared)
        return responder

    return declare


def operation_of(resource: object, method: str) -> Operation | None:
    """Return the declaration for an HTTP method, None without one; HEAD is GET without the body."""
    name = "get" if method == "HEAD" else method.lower()
    found: Any = getattr(resource, f"on_{name}", None)
    declared = getattr(found, _DECLARED, None)
    return declared if isinstance(declared, Operation) else None


class Resource:
    """A resource that answers HEAD where it answers GET (RFC 9110, 9.3.2)."""

    def __init_subclass__(cls) -> None:
        """Give the subclass its ``on_head``."""
        responder = getattr(cls, "on_get", None)
        if responder is not None and not hasattr(cls, "on_head"):
            cls.on_head = responder  # type: ignore[attr-defined]  # falcon finds it by name


Check = Callable[[], None]
"""A readiness check: it returns, or raises, within a bounded time."""


Render = Callable[[], tuple[bytes, str]]
"""Returns the metrics as text, and the content type."""


class Alive(Model):
    """Liveness."""

    status: Literal["alive"] = "alive"


class CheckResult(Model):
    """One thing that is needed; ``detail`` says what is wrong with it."""

    ok: bool
    detail: str | None = None


class Ready(Model):
    """The readiness checks by name."""

    ready: bool
    checks: dict[str, CheckResult]


class Liveness(Resource):
    """Depends on nothing else: a database that is away is no reason to kill the process."""

    @operation("Liveness", access=Access.OPEN, query=None, answers={200: Alive})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once."""
        respond(resp, Alive())


class Readiness(Resource):
    """Runs the readiness checks, one request at a time.

    Concurrent requests get the last result, so that a slow check holds one thread and not all.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._running = threading.Lock()
        self._last: Ready | None = None

    @operation(
        "Readiness: each dependency and its state",
        access=Access.OPEN,
        query=None,
        answers={200: Ready, 503: Ready},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 where all is well, else 503."""
        found = self._result()
        respond(resp, found, status=200 if found.ready else 503)

    def _result(self) -> Ready:
        last = self._last
        if not self._running.acquire(blocking=last is None):
            if last is None:
                raise AssertionError("a blocking acquire that fails")
            return last
        try:
            self._last = self._run()
            return self._last
        finally:
            self._running.release()

    def _run(self) -> Ready:
        results = {name: _result(name, check) for name, check in self._checks.items()}
        return Ready(ready=all(r.ok for r in results.values()), checks=results)


class Metrics(Resource):
    """The role's registry as text."""

    def __init__(self, render: Render) -> None:
        self._render = render

    @operation(
        "Metrics for Prometheus",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="text/plain", about="Text format 0.0.4")},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the text."""
        resp.data, resp.content_type = self._render()


def _result(name: str, check: Check) -> CheckResult:
    try:
        check()
    except StreamwardenError as error:
        return CheckResult(ok=False, detail=str(error))
    except Exception:  # an edge: a check with a bug fails
        log.exception("readiness_check_failed", check=name)
        return CheckResult(ok=False, detail="the check itself failed")
    return CheckResult(ok=True)
