from __future__ import annotations

import json
from pathlib import Path

import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.errors import ConfigError
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.models import Model
from streamwarden.http.openapi import DocsFile, document
from streamwarden.http.operations import Access, Alive, Operation
from streamwarden.metrics.http_metrics import HttpMetrics


@pytest.fixture
def client() -> testing.TestClient:
    shared = AppContext(
        role="x", metrics=HttpMetrics(CollectorRegistry()), render=lambda: (b"", "text/plain")
    )
    return testing.TestClient(build_app(shared, {}, title="x", docs=True))


def test_the_page_loads_nothing_from_elsewhere(client: testing.TestClient) -> None:
    page = client.simulate_get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text
    for name in ("swagger.css", "swagger.js", "start.js"):
        assert f'"docs/{name}"' in page.text
        loaded = client.simulate_get(f"/docs/{name}")
        assert loaded.status_code == 200
        assert len(loaded.content) > 50


def test_the_page_has_no_other_file(client: testing.TestClient) -> None:
    for name in ("url.json", "..%2Furl.json", "swagger-ui-bundle.js"):
        assert client.simulate_get(f"/docs/{name}").status_code == 404


@pytest.mark.parametrize("missing", ["swagger-ui.css", "swagger-ui-bundle.js"])
def test_a_file_that_was_not_installed_is_told_of_at_the_start(
    tmp_path: Path, missing: str
) -> None:
    for name in {"swagger-ui.css", "swagger-ui-bundle.js"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=missing):
        DocsFile(tmp_path)
    (tmp_path / missing).touch()
    DocsFile(tmp_path)


def test_the_document_describes_itself(client: testing.TestClient) -> None:
    described = json.loads(client.simulate_get("/openapi.json").text)
    assert {"/openapi.json", "/docs", "/docs/{name}", "/healthz", "/readyz", "/metrics"} == set(
        described["paths"]
    )


def test_two_schemas_of_one_name_are_refused() -> None:
    class Alive(Model):
        other: int

    routes = [
        (path, "GET", Operation(summary="", access=Access.OPEN, answers={200: model}))
        for path, model in (("/a", _ALIVE), ("/b", Alive))
    ]
    with pytest.raises(TypeError, match="Alive"):
        document(routes, title="x")


_ALIVE = Alive
