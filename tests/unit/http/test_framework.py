from __future__ import annotations

import json
from typing import Any

import falcon
import pytest
from falcon import testing
from prometheus_client import CollectorRegistry
from pydantic import Field, ValidationError
from structlog.testing import capture_logs

from streamwarden.auth.users import Unauthenticated, User
from streamwarden.errors import (
    ConfigError,
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    StreamwardenError,
    Unavailable,
)
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.models import BodyInteger, Empty, Model, QueryInteger, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.validation import body_of, query_of, user_of
from streamwarden.metrics.http_metrics import HttpMetrics, render

SECRET = "s3cr3t-value-never-shown"
UUID_TEXT = "01234567-89ab-cdef-0123-456789abcdef"


class Users:
    def verify(self, token: str) -> User:
        if token != "good":
            raise Unauthenticated("the bearer token is not one that is trusted here")
        return User("alice")


class Body(Model):
    ttl: BodyInteger = Field(default=300, ge=30, le=86_400)


class Query(Model):
    ttl: QueryInteger = Field(default=300, ge=30, le=86_400)
    at: Timestamp | None = None


class Seen(Model):
    ttl: int
    who: str = ""


class Thing(Resource):
    @operation("Read", access=Access.BEARER, query=Query, answers={200: Seen})
    def on_get(self, req: falcon.Request, resp: falcon.Response, thing_id: object) -> None:  # noqa: ARG002 - the route has it
        respond(resp, Seen(ttl=query_of(req, Query).ttl, who=user_of(req).sub))

    @operation("Write", access=Access.OPEN, body=Body, answers={200: Seen})
    def on_post(self, req: falcon.Request, resp: falcon.Response, thing_id: object) -> None:  # noqa: ARG002 - the route has it
        respond(resp, Seen(ttl=body_of(req, Body).ttl))


class Inner(Resource):
    @operation("Internal", access=Access.INTERNAL, answers={200: Empty})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Empty())


class Failing(Resource):
    def __init__(self) -> None:
        self.error: Exception = RuntimeError(SECRET)

    @operation("Fail", access=Access.OPEN, query=None, answers={200: Empty})
    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise self.error


@pytest.fixture
def failing() -> Failing:
    return Failing()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def client(failing: Failing, registry: CollectorRegistry) -> testing.TestClient:
    shared = AppContext(
        role="test",
        metrics=HttpMetrics(registry),
        render=lambda: render(registry),
        internal_token="internal-token",
    )
    routes = {"/thing/{thing_id}": Thing(), "/inner": Inner(), "/fail": failing}
    return testing.TestClient(build_app(shared, routes, title="test", users=Users()))


@pytest.mark.parametrize("value", [0, 1.5, True, [], {}, "1772366400", "2026-03-01"])
def test_a_time_is_a_text_of_rfc_3339_and_nothing_else(value: object) -> None:
    """A number was taken as seconds since 1970, against the document."""
    with pytest.raises(ValidationError):
        Query.model_validate({"at": value})


def _post(client: testing.TestClient, body: bytes, **more: str) -> testing.Result:
    headers = {"Content-Type": "application/json", **more}
    return client.simulate_post(f"/thing/{UUID_TEXT}", body=body, headers=headers)


def _problem(result: testing.Result, status: int, code: str) -> dict[str, Any]:
    assert result.status_code == status
    assert result.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(result.text)
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == result.headers["x-request-id"]
    return body


def test_an_absent_body_is_an_empty_object(client: testing.TestClient) -> None:
    result = client.simulate_post(f"/thing/{UUID_TEXT}")
    assert (result.status_code, result.json) == (200, {"ttl": 300, "who": ""})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"ttl": 29}', "ttl"),
        (b'{"ttl": 86401}', "ttl"),
        (b'{"ttl": true}', "ttl"),
        (b'{"ttl": 300.0}', "ttl"),
        (b'{"ttl": "300"}', "ttl"),
        (b'{"ttl": null}', "ttl"),
        (b'{"ttl": 1' + b"0" * 5_000 + b"}", "body"),
        (b'{"tttl": 300}', "tttl"),
        (b'{"ttl": 300, "ttl": 301}', "body"),
        (b'{"ttl": NaN}', "body"),
        (b'{"ttl": Infinity}', "body"),
        (b'{"ttl": 1e999}', "body"),
        (b"[" * 40_000, "body"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b'{"ttl": "\\ud800"}', "body"),
        (b'{"ttl": "\\u0000"}', "body"),
    ],
)
def test_a_bad_body_is_400_and_names_the_field(
    client: testing.TestClient, body: bytes, field: str
) -> None:
    assert _problem(_post(client, body), 400, "invalid_request")["field"] == field


def test_a_problem_does_not_repeat_what_was_sent(client: testing.TestClient) -> None:
    assert SECRET not in _post(client, json.dumps({"ttl": SECRET}).encode()).text


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"],
)
def test_another_content_type_is_415(client: testing.TestClient, content_type: str) -> None:
    result = _post(client, b'{"ttl": 300}', **{"Content-Type": content_type})
    _problem(result, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=UTF-8", "Application/JSON"])
def test_json_may_be_spelled_differently(client: testing.TestClient, content_type: str) -> None:
    assert _post(client, b'{"ttl": 31}', **{"Content-Type": content_type}).status_code == 200


def test_a_malformed_uuid_is_400_and_names_the_field(client: testing.TestClient) -> None:
    for text in ("1", UUID_TEXT[:-1], UUID_TEXT.replace("-", ""), "{" + UUID_TEXT + "}", "%00"):
        result = client.simulate_post(f"/thing/{text}")
        assert _problem(result, 400, "invalid_request")["field"] == "thing_id"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("ttl=29", "ttl"),
        ("ttl=3e2", "ttl"),
        ("ttl=1_000", "ttl"),
        ("ttl=%20300", "ttl"),
        ("ttl=", "ttl"),
        ("ttl=300&ttl=301", "ttl"),
        ("tll=300", "tll"),
        ("at=2026-01-01T00:00:00", "at"),
        ("at=1700000000", "at"),
        ("at=2026-13-01T00:00:00Z", "at"),
        ("at=0001-01-01T00:00:00%2B23:00", "at"),
    ],
)
def test_a_bad_query_is_400_and_names_the_field(
    client: testing.TestClient, query: str, field: str
) -> None:
    result = client.simulate_get(
        f"/thing/{UUID_TEXT}", query_string=query, headers={"Authorization": "Bearer good"}
    )
    assert _problem(result, 400, "invalid_request")["field"] == field


@pytest.mark.parametrize("header", [None, "", "good", "Basic good", "Bearer", "Bearer bad"])
def test_without_a_good_bearer_it_is_401_before_anything_else(
    client: testing.TestClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    result = client.simulate_get("/thing/no-uuid", query_string="bad=1", headers=headers)
    _problem(result, 401, "unauthenticated")
    assert result.headers["www-authenticate"] == "Bearer"


def test_the_scheme_of_a_bearer_may_be_in_any_case(client: testing.TestClient) -> None:
    result = client.simulate_get(f"/thing/{UUID_TEXT}", headers={"Authorization": "bearer good"})
    assert result.json == {"ttl": 300, "who": "alice"}


@pytest.mark.parametrize("token", [None, "", "internal-toke", "internal-token2", "\u00e9"])
def test_a_wrong_internal_token_is_401(client: testing.TestClient, token: str | None) -> None:
    headers = {} if token is None else {"X-Internal-Token": token}
    _problem(client.simulate_get("/inner", headers=headers), 401, "unauthenticated")


def test_the_internal_token_opens(client: testing.TestClient) -> None:
    result = client.simulate_get("/inner", headers={"X-Internal-Token": "internal-token"})
    assert result.status_code == 200


def test_no_internal_token_configured_opens_to_nobody(registry: CollectorRegistry) -> None:
    shared = AppContext(role="x", metrics=HttpMetrics(registry), render=lambda: (b"", ""))
    client = testing.TestClient(build_app(shared, {"/inner": Inner()}, title="x"))
    assert client.simulate_get("/inner", headers={"X-Internal-Token": ""}).status_code == 401


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInput("no", field="x"), 400, "invalid_request"),
        (Denied("no"), 403, "permission_denied"),
        (NotFound("no"), 404, "not_found"),
        (Conflict("no"), 409, "conflict"),
        (Unavailable("no", retry_after_s=7), 503, "unavailable"),
        (falcon.HTTPBadRequest(description=SECRET), 400, "invalid_request"),
        (falcon.HTTPRangeNotSatisfiable(10), 416, "range_not_satisfiable"),
        (falcon.HTTPBadGateway(), 500, "internal_error"),
    ],
)
def test_every_error_is_a_problem_with_its_code(
    client: testing.TestClient, failing: Failing, error: Exception, status: int, code: str
) -> None:
    failing.error = error
    result = client.simulate_get("/fail", headers={"Accept": "text/xml"})
    _problem(result, status, code)
    assert SECRET not in result.text


def test_unavailable_says_when_to_try_again(client: testing.TestClient, failing: Failing) -> None:
    failing.error = Unavailable("no", retry_after_s=7)
    assert client.simulate_get("/fail").headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "error", [RuntimeError(SECRET), StreamwardenError(SECRET), ConfigError(SECRET)]
)
def test_a_bug_is_500_logged_once_with_its_trace(
    client: testing.TestClient, failing: Failing, error: Exception
) -> None:
    failing.error = error
    with capture_logs() as logs:
        result = client.simulate_get("/fail", headers={"X-Request-Id": "abc"})
    problem = _problem(result, 500, "internal_error")
    assert problem["request_id"] == "abc"
    assert SECRET not in result.text
    errors = [line for line in logs if line["log_level"] == "error"]
    assert [(line["event"], line["exc_info"]) for line in errors] == [("request_failed", error)]


def test_an_unknown_route_is_404(client: testing.TestClient) -> None:
    _problem(client.simulate_get("/nowhere"), 404, "not_found")


def test_an_unknown_method_is_405_and_says_what_is_allowed(client: testing.TestClient) -> None:
    result = client.simulate_delete(f"/thing/{UUID_TEXT}")
    _problem(result, 405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} <= set(result.headers["allow"].split(", "))


@pytest.mark.parametrize("sent", ["a" * 64, "A-b_c.9"])
def test_the_callers_request_id_is_kept(client: testing.TestClient, sent: str) -> None:
    result = client.simulate_get("/nowhere", headers={"X-Request-Id": sent})
    assert result.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", "a\tb", "\u00e9"])
def test_a_request_id_that_a_log_should_not_hold_is_replaced(
    client: testing.TestClient, sent: str
) -> None:
    given = client.simulate_get("/nowhere", headers={"X-Request-Id": sent}).headers["x-request-id"]
    assert given
    assert given != sent


def test_requests_are_counted_by_template(
    client: testing.TestClient, registry: CollectorRegistry
) -> None:
    client.simulate_post(f"/thing/{UUID_TEXT}")
    client.simulate_get("/nowhere")
    labels = {"role": "test", "method": "POST", "route": "/thing/{thing_id}", "status": "200"}
    other = {"role": "test", "method": "GET", "route": "unmatched", "status": "404"}
    for each in (labels, other):
        assert registry.get_sample_value("streamwarden_http_requests_total", each) == 1


def test_answers_are_not_cached_unless_they_say_so(client: testing.TestClient) -> None:
    assert client.simulate_get("/healthz").headers["cache-control"] == "no-store"


def test_metrics_are_served(client: testing.TestClient) -> None:
    client.simulate_get("/healthz")
    result = client.simulate_get("/metrics")
    assert result.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'route="/healthz"' in result.text


def test_a_large_body_is_413_even_where_none_is_read(client: testing.TestClient) -> None:
    result = client.simulate_get("/healthz", body=b"x" * 65_537)
    _problem(result, 413, "payload_too_large")
