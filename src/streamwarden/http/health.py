"""Liveness, readiness and metrics: what an orchestrator and Prometheus ask on every port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

import falcon
import structlog

from streamwarden.errors import StreamwardenError
from streamwarden.http.models import Model, answer
from streamwarden.http.operations import Access, Media, Resource, operation

_LOG = structlog.get_logger(__name__)

Check = Callable[[], None]
"""Returns if what it stands for works, raises otherwise. Bounded in time by itself."""
Render = Callable[[], tuple[bytes, str]]
"""Returns the metrics' text and its content type."""


class Alive(Model):
    """The process lives."""

    status: Literal["alive"] = "alive"


class CheckResult(Model):
    """One thing that is needed; ``detail`` says what is wrong with it."""

    ok: bool
    detail: str | None = None


class Ready(Model):
    """What is needed, by name."""

    ready: bool
    checks: dict[str, CheckResult]


class Liveness(Resource):
    """Touches nothing else: a database that is away is no reason to kill the process."""

    @operation("The process lives", access=Access.OPEN, query=None, answers={200: Alive})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer at once."""
        answer(resp, Alive())


class Readiness(Resource):
    """Asks everything that is needed, at most once at a time.

    Whoever asks while another is asking gets the last result, so that a slow check holds up one
    thread and not all of them.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._asking = threading.Lock()
        self._last: Ready | None = None

    @operation(
        "What is needed, each named",
        access=Access.OPEN,
        query=None,
        answers={200: Ready, 503: Ready},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 where all is well, else 503."""
        found = self._ask()
        answer(resp, found, status=200 if found.ready else 503)

    def _ask(self) -> Ready:
        last = self._last
        if not self._asking.acquire(blocking=last is None):
            if last is None:
                raise AssertionError("a blocking acquire that fails")
            return last
        try:
            self._last = self._run()
            return self._last
        finally:
            self._asking.release()

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
        """Answer with the exposition."""
        resp.data, resp.content_type = self._render()


def _result(name: str, check: Check) -> CheckResult:
    try:
        check()
    except StreamwardenError as error:
        return CheckResult(ok=False, detail=str(error))
    except Exception:  # noqa: BLE001 - an edge: a check with a bug is a check that fails
        _LOG.exception("readiness_check_failed", check=name)
        return CheckResult(ok=False, detail="the check itself failed")
    return CheckResult(ok=True)
