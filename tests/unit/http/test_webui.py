from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.errors import ConfigError, Unavailable
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.role_client import StreamedResponse
from streamwarden.http.webui.proxy import ApiProxy
from streamwarden.http.webui.webui_app import Assets, PageConfig, create_webui_app, load_assets
from streamwarden.metrics.http_metrics import HttpMetrics, render

CAMERA = "/bff/v1/camera/01234567-89ab-cdef-0123-456789abcdef"


class ApiAway(Unavailable):
    code = "api_unreachable"


class ApiSlow(Unavailable):
    code = "api_timeout"


class FakeAnswer(StreamedResponse):
    def __init__(
        self,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: tuple[bytes, ...] = (b"{", b"}"),
    ) -> None:
        self.status = status
        self.headers = headers or {"Content-Type": "application/json"}
        self.body = body
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.body

    def close(self) -> None:
        self.closed = True


class FakeApi(ApiProxy):
    """Remembers what it was asked and answers ``answer``, or raises ``failure``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []
        self.answer = FakeAnswer()
        self.failure: Exception | None = None

    def forward(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> FakeAnswer:
        self.asked.append((method, target, dict(headers), body))
        if self.failure is not None:
            raise self.failure
        return self.answer


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def assets(tmp_path: Path) -> Assets:
    (tmp_path / "js").mkdir()
    (tmp_path / "index.html").write_text('<script src="assets/-/js/main.js"></script>')
    (tmp_path / "js" / "main.js").write_text("let it = 'be';\n" * 50)
    return load_assets(tmp_path)


@pytest.fixture
def client(api: FakeApi, assets: Assets) -> testing.TestClient:
    registry = CollectorRegistry()
    shared = AppContext(
        role="webui", metrics=HttpMetrics(registry), render=lambda: render(registry)
    )
    config = PageConfig(whep_url="https://media.example:8889/base", roles_claim="roles")
    return testing.TestClient(create_webui_app(shared, api=api, assets=assets, config=config))


def test_a_request_goes_to_the_same_path_of_the_api(
    client: testing.TestClient, api: FakeApi
) -> None:
    client.simulate_post(
        f"{CAMERA}/stream/connect",
        body='{"ttl": 300}',
        headers={
            "Authorization": "Bearer jwt",
            "Content-Type": "application/json",
            "X-Request-Id": "from-the-browser",
        },
    )
    assert api.asked == [
        (
            "POST",
            f"{CAMERA.replace('/bff', '/api')}/stream/connect",
            {
                "Authorization": "Bearer jwt",
                "Content-Type": "application/json",
                "X-Request-Id": "from-the-browser",
                "X-Forwarded-For": "127.0.0.1",
            },
            b'{"ttl": 300}',
        )
    ]


def test_a_query_is_handed_on_as_it_was_written(client: testing.TestClient, api: FakeApi) -> None:
    client.simulate_get(f"{CAMERA}/recordings", query_string="from=2026-01-01T00%3A00%3A00Z&a=%2F")
    assert api.asked[0][1].endswith("/recordings?from=2026-01-01T00%3A00%3A00Z&a=%2F")


def test_only_listed_headers_reach_the_api(client: testing.TestClient, api: FakeApi) -> None:
    sent = {"X-Internal-Token": "stolen", "Cookie": "a=b", "Host": "evil", "Range": "bytes=0-1"}
    client.simulate_get(f"{CAMERA}/recordings/abc", headers=sent)
    assert set(api.asked[0][2]) == {"Range", "X-Forwarded-For", "X-Request-Id"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/bff/v1/m2m/read-token"),
        ("POST", "/bff/v1/m2m/check-stream-pwd"),
        ("GET", "/bff/v1/ops/other"),
        ("GET", "/bff/metrics"),
        ("GET", "/bff/v1/camera/../ops/summary/stream/status"),
        ("GET", "/bff/v1/camera/%2e%2e/stream/status"),
        ("GET", "/bff/v1/camera/a%2Fb/stream/status"),
        ("GET", "/bff/v1/camera/a%3Fb/stream/status"),
        ("GET", "/bff/v1/settings/.hidden"),
    ],
)
def test_what_is_not_listed_never_reaches_the_api(
    client: testing.TestClient, api: FakeApi, method: str, path: str
) -> None:
    answer = client.simulate_request(method, path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert api.asked == []


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        ("bob", "bob"),
        ("auth0%7C12%40x.example", "auth0%7C12%40x.example"),
        ("%E5%A4%A7%20b%3Fc%23d%25e", "%E5%A4%A7%20b%3Fc%23d%25e"),
        ("..%00", None),
        ("..", None),
        ("a%5Cb", None),
        ("a%2Fb", None),
    ],
)
def test_a_users_id_is_one_part_of_the_address_whatever_is_in_it(
    client: testing.TestClient, api: FakeApi, user: str, sent: str | None
) -> None:
    result = client.simulate_delete(f"{CAMERA}/grants/{user}")
    targets = [target for _, target, *_ in api.asked]
    if sent is None:
        assert (result.status_code, targets) == (404, [])
    else:
        assert targets == [f"/api{CAMERA.removeprefix('/bff')}/grants/{sent}"]


def test_a_method_that_is_not_listed_is_refused(client: testing.TestClient, api: FakeApi) -> None:
    answer = client.simulate_delete(f"{CAMERA}/stream/status")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert api.asked == []


def test_status_body_and_headers_come_back_unchanged(
    client: testing.TestClient, api: FakeApi
) -> None:
    problem = b'{"status":403,"code":"camera_inactive"}'
    api.answer = FakeAnswer(
        status=403,
        headers={
            "content-type": "application/problem+json",
            "Retry-After": "7",
            "Set-Cookie": "no=no",
            "Server": "x",
        },
        body=(problem,),
    )
    answer = client.simulate_get(CAMERA)
    assert (answer.status_code, answer.content) == (403, problem)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "7"
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers
    assert api.answer.closed


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(ApiAway("away"), 502, "api_unreachable"), (ApiSlow("slow"), 504, "api_timeout")],
)
def test_an_api_that_is_away_or_slow_is_told_with_when_to_try_again(
    client: testing.TestClient, api: FakeApi, failure: Exception, status: int, code: str
) -> None:
    api.failure = failure
    answer = client.simulate_get(CAMERA)
    assert (answer.status_code, answer.json["status"], answer.json["code"]) == (
        status,
        status,
        code,
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0


def test_head_is_answered_without_a_body(client: testing.TestClient, api: FakeApi) -> None:
    answer = client.simulate_head(f"{CAMERA}/recordings/abc")
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.asked[0][0] == "HEAD"
    assert api.answer.closed


def test_a_body_over_64_kib_is_refused_here(client: testing.TestClient, api: FakeApi) -> None:
    answer = client.simulate_post(f"{CAMERA}/exports", body="x" * 70_000)
    assert answer.status_code == 413
    assert api.asked == []


def test_the_page_loads_its_files_under_their_version(
    client: testing.TestClient, assets: Assets
) -> None:
    page = client.simulate_get("/")
    assert page.text == f'<script src="assets/{assets.version}/js/main.js"></script>'
    file = client.simulate_get(f"/assets/{assets.version}/js/main.js")
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["content-type"] == "text/javascript; charset=utf-8"
    assert file.headers["x-content-type-options"] == "nosniff"


def test_a_file_of_another_version_is_not_kept(client: testing.TestClient) -> None:
    assert client.simulate_get("/assets/old/js/main.js").headers["cache-control"] == "no-cache"


def test_the_pages_policy_lets_nothing_run_that_is_not_from_here(
    client: testing.TestClient,
) -> None:
    headers = client.simulate_get("/").headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
    assert "connect-src 'self' https://media.example:8889" in policy
    assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= set(policy)
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_an_unchanged_file_is_not_sent_again(client: testing.TestClient) -> None:
    first = client.simulate_get("/")
    again = client.simulate_get(
        "/", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [("gzip, br", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("", False)],
)
def test_a_file_is_packed_for_who_takes_it(
    client: testing.TestClient, accepts: str, packed: bool
) -> None:
    answer = client.simulate_get("/assets/x/js/main.js", headers={"Accept-Encoding": accepts})
    body = gzip.decompress(answer.content) if packed else answer.content
    assert body.startswith(b"let it = 'be';")
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)


@pytest.mark.parametrize("name", ["../setup.py", "..%2Fsetup.py", "js", "js/none.js", "index.html"])
def test_nothing_but_the_pages_files_is_served(client: testing.TestClient, name: str) -> None:
    assert client.simulate_get(f"/assets/x/{name}").status_code == 404


def test_the_apis_page_is_not_among_the_pages_files(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    for name in ("index.html", "vendor/swagger-ui-bundle.js", "vendor/player.js"):
        (tmp_path / name).touch()
    assert set(load_assets(tmp_path).files) == {"vendor/player.js"}


def test_the_page_is_told_where_webrtc_is_and_no_more(client: testing.TestClient) -> None:
    shown: dict[str, Any] = client.simulate_get("/config.json").json
    assert shown == {"whep_origin": "https://media.example:8889", "roles_claim": "roles"}


def test_a_folder_without_the_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="page is missing"):
        load_assets(tmp_path)
