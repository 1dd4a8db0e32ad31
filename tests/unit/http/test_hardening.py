"""What the intake and the answers of every port keep: rates, the internal token, headers."""

from __future__ import annotations

import hmac
from unittest.mock import patch

import falcon
import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.auth.users import Unauthenticated, User
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.middleware import SECURITY_HEADERS
from streamwarden.http.models import Empty, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.rate_limit import Proxies, RateLimits
from streamwarden.metrics.http_metrics import HttpMetrics, render

OLD, NEW = "o" * 32, "n" * 32


class Users:
    """Believes every token that is a name of letters."""

    def verify(self, token: str) -> User:
        if not token.isalpha():
            raise Unauthenticated("no")
        return User(token)


class Rated(Resource):
    @operation("Connect", access=Access.BEARER, answers={200: Empty}, rate_limit="connect")
    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Empty())

    @operation("Sign", access=Access.BEARER, answers={200: Empty}, rate_limit="sign")
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Empty())


class Inside(Resource):
    @operation("Inside", access=Access.INTERNAL, answers={200: Empty})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Empty())


class Failing(Resource):
    @operation("Fail", access=Access.OPEN, answers={200: Empty})
    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise RuntimeError("a bug")


@pytest.fixture
def client() -> testing.TestClient:
    registry = CollectorRegistry()
    shared = AppContext(
        role="test",
        metrics=HttpMetrics(registry),
        render=lambda: render(registry),
        internal_token=f"{OLD},{NEW}",
        rate_limits=RateLimits(connects=3, signings=3, failed_sign_ins=3),
        proxies=Proxies(["127.0.0.1/32"]),
    )
    routes = {"/rated": Rated(), "/inside": Inside(), "/failing": Failing()}
    return testing.TestClient(build_app(shared, routes, title="test", users=Users(), docs=True))


def call(
    client: testing.TestClient, token: str, method: str = "POST", address: str = "198.51.100.1"
) -> testing.Result:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return client.simulate_request(method, "/rated", headers=headers)


def test_a_user_who_calls_too_often_is_told_when_to_come_again(client: testing.TestClient) -> None:
    assert [call(client, "alice").status_code for _ in range(3)] == [200] * 3
    refused = call(client, "alice")
    assert refused.status_code == 429
    assert refused.json["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert call(client, "bob").status_code == 200
    assert call(client, "alice", "GET").status_code == 200  # another limit


def test_sign_ins_that_fail_too_often_are_429_and_good_tokens_pass_all_the_same(
    client: testing.TestClient,
) -> None:
    assert [call(client, "b4d").status_code for _ in range(3)] == [401] * 3
    refused = call(client, "b4d")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert call(client, "alice").status_code == 200
    assert call(client, "b4d", address="198.51.100.2").status_code == 401


def test_a_call_without_a_token_is_no_failed_sign_in(client: testing.TestClient) -> None:
    for _ in range(10):
        assert client.simulate_post("/rated").status_code == 401


def test_the_internal_routes_have_no_limit(client: testing.TestClient) -> None:
    for _ in range(50):
        assert inside(client, "wrong") == 401
    for _ in range(50):
        assert inside(client, NEW) == 200


def inside(client: testing.TestClient, token: str | None) -> int:
    headers = {} if token is None else {"X-Internal-Token": token}
    return int(client.simulate_get("/inside", headers=headers).status_code)


def test_both_internal_tokens_are_taken_while_they_are_changed(client: testing.TestClient) -> None:
    assert [inside(client, token) for token in (OLD, NEW)] == [200, 200]
    for wrong in (None, "", f"{OLD},{NEW}", OLD[:-1], OLD + "x", OLD.upper(), "\xff" * 32, ","):
        assert inside(client, wrong) == 401, wrong


def test_the_internal_token_is_compared_in_constant_time(client: testing.TestClient) -> None:
    """By construction: every comparison is hmac.compare_digest, and all are made whatever matches."""
    with patch(
        "streamwarden.http.validation.hmac.compare_digest", wraps=hmac.compare_digest
    ) as seen:
        for shown in (OLD, NEW, "wrong"):
            seen.reset_mock()
            inside(client, shown)
            assert [each.args for each in seen.call_args_list] == [
                (shown.encode(), OLD.encode()),
                (shown.encode(), NEW.encode()),
            ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/nowhere", 404),
        ("GET", "/failing", 500), ("POST", "/rated", 401), ("OPTIONS", "/rated", 200),
        ("TRACE", "/rated", 405), ("GET", "/inside", 401), ("GET", "/openapi.json", 200),
    ],
)  # fmt: skip
def test_every_answer_carries_the_security_headers(
    client: testing.TestClient, method: str, path: str, status: int
) -> None:
    found = client.simulate_request(method, path)
    assert found.status_code == status
    for name, text in SECURITY_HEADERS.items():
        assert found.headers[name.lower()] == text
    assert found.headers["cache-control"]


def test_the_page_with_the_documents_keeps_its_own_policy(client: testing.TestClient) -> None:
    found = client.simulate_get("/docs")
    assert "script" not in SECURITY_HEADERS["Content-Security-Policy"]
    assert found.headers["content-security-policy"].startswith("default-src 'self'")
    assert found.headers["x-frame-options"] == "DENY"
