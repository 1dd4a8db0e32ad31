from __future__ import annotations

import threading

import falcon
import pytest
from falcon import testing
from structlog.testing import capture_logs

from streamwarden.errors import Unavailable
from streamwarden.http.operations import Readiness


def _ask(readiness: Readiness) -> testing.Result:
    app = falcon.App()
    app.add_route("/readyz", readiness)
    return testing.TestClient(app).simulate_get("/readyz")


def _fine() -> None:
    pass


def _away() -> None:
    raise Unavailable("Postgres does not answer")


def _bug() -> None:
    raise RuntimeError("secret")


def test_all_well_is_200() -> None:
    result = _ask(Readiness({"postgres": _fine}))
    assert result.status_code == 200
    assert result.json == {"ready": True, "checks": {"postgres": {"ok": True, "detail": None}}}


def test_each_thing_that_is_missing_is_named() -> None:
    result = _ask(Readiness({"postgres": _away, "streaming": _fine}))
    assert result.status_code == 503
    assert result.json["checks"]["postgres"] == {"ok": False, "detail": "Postgres does not answer"}
    assert result.json["checks"]["streaming"]["ok"]


def test_a_check_with_a_bug_is_logged_and_says_nothing_of_it() -> None:
    with capture_logs() as logs:
        result = _ask(Readiness({"x": _bug}))
    assert result.status_code == 503
    assert "secret" not in result.text
    assert [line["event"] for line in logs] == ["readiness_check_failed"]


@pytest.mark.timeout(20)
def test_a_slow_check_holds_up_one_caller_only() -> None:
    entered, go_on = threading.Event(), threading.Event()
    calls = []

    def slow() -> None:
        calls.append(1)
        if len(calls) > 1:
            entered.set()
            go_on.wait(10)

    readiness = Readiness({"slow": slow})
    _ask(readiness)
    first = threading.Thread(target=_ask, args=(readiness,))
    first.start()
    assert entered.wait(5)
    assert _ask(readiness).status_code == 200  # the last result, at once
    go_on.set()
    first.join(5)
    assert len(calls) == 2
