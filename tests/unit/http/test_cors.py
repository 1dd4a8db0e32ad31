"""Which web pages of other origins may read the API's answers."""

from __future__ import annotations

import falcon
import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.auth.users import UserTokens
from streamwarden.clock import Clock
from streamwarden.config.settings import load
from streamwarden.errors import ConfigError
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.middleware import SECURITY_HEADERS
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.metrics.http_metrics import HttpMetrics

ALLOWED = "https://app.example"


class Thing(Resource):
    @operation("A thing", access=Access.BEARER, answers={200: None})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {}


@pytest.fixture
def client() -> testing.TestClient:
    context = AppContext(
        role="api",
        metrics=HttpMetrics(CollectorRegistry()),
        render=lambda: (b"", "text/plain"),
        origins=(ALLOWED, "http://localhost:3000"),
    )
    users = UserTokens("x" * 40, audience="api", roles_claim="roles", clock=Clock())
    return testing.TestClient(build_app(context, {"/thing": Thing()}, title="t", users=users))


def preflight(client: testing.TestClient, origin: str) -> testing.Result:
    headers = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    return client.simulate_options("/thing", headers=headers)


def test_a_preflight_needs_no_token(client: testing.TestClient) -> None:
    answer = preflight(client, ALLOWED)
    assert (answer.status_code, answer.text) == (204, "")
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://sub.app.example",
        "HTTPS://APP.EXAMPLE",
        "null",
        "*",
        "",
    ],
)
def test_no_other_origin_is_named(client: testing.TestClient, origin: str) -> None:
    for answer in (
        preflight(client, origin),
        client.simulate_get("/thing", headers={"Origin": origin}),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_a_refusal_can_be_read_too(client: testing.TestClient) -> None:
    answer = client.simulate_get("/thing", headers={"Origin": ALLOWED})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, ALLOWED)
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    for name in SECURITY_HEADERS:
        assert name.lower() in answer.headers


def test_the_document_names_the_origins(client: testing.TestClient) -> None:
    assert ALLOWED in client.simulate_get("/openapi.json").json["info"]["description"]


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        (
            "https://app.example, http://localhost:3000",
            ("https://app.example", "http://localhost:3000"),
        ),
        ("http://[::1]:8000", ("http://[::1]:8000",)),
    ],
)
def test_origins_are_read(text: str, origins: tuple[str, ...]) -> None:
    assert load(None, {"STREAMWARDEN_CORS_ORIGINS": text}).cors_origins == origins


@pytest.mark.parametrize(
    "text", ["*", "null", "app.example", "https://app.example/", "https://*.example", "HTTPS://a"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="origins"):
        load(None, {"STREAMWARDEN_CORS_ORIGINS": text})
