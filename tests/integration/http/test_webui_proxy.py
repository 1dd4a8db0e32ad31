"""The BFF over real servers: an API that answers, one that is slow, one that is away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import falcon
import pytest
import urllib3

from streamwarden.http.falcon_app import AppContext
from streamwarden.http.webui.proxy import ApiProxy
from streamwarden.http.webui.webui_app import PageConfig, create_webui_app, load_assets
from tests.integration.http.conftest import Serve

CAMERA = "/camera/01234567-89ab-cdef-0123-456789abcdef"
PIECE = b"x" * 65536


class File:
    """A file that comes in two pieces, the second only once it is let."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.breaks_off = False

    def on_get(self, _req: falcon.Request, resp: falcon.Response, **_parts: str) -> None:
        resp.content_type = "video/mp4"
        resp.set_header("Content-Length", str(2 * len(PIECE)))
        resp.set_header("ETag", '"one"')
        resp.stream = self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        yield PIECE
        assert self.go_on.wait(10)
        if not self.breaks_off:
            yield PIECE


class Slow:
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def on_get(self, _req: falcon.Request, _resp: falcon.Response, **_parts: str) -> None:
        self.go_on.wait(10)


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("page")
    return tmp_path


def _bff(shared: AppContext, folder: Path, proxy: ApiProxy) -> falcon.App:  # type: ignore[type-arg]
    return create_webui_app(
        shared,
        api=proxy,
        assets=load_assets(folder),
        config=PageConfig(whep_url=None, roles_claim="roles"),
    )


def test_a_file_streams_before_it_is_whole(
    serve: Serve, shared: AppContext, page_folder: Path, http: urllib3.PoolManager
) -> None:
    file, upstream = File(), falcon.App()
    upstream.add_route(f"/api/v1{CAMERA}/recordings/{{segment}}", file)
    proxy = ApiProxy(serve(upstream), connections=4)
    base = serve(_bff(shared, page_folder, proxy))
    answer = http.request("GET", f"{base}/bff/v1{CAMERA}/recordings/a", preload_content=False)
    assert answer.headers["ETag"] == '"one"'
    assert answer.read(len(PIECE)) == PIECE  # the second piece does not exist yet
    file.go_on.set()
    assert answer.read() == PIECE
    answer.release_conn()
    proxy.close()


def test_a_file_that_breaks_off_is_not_taken_for_whole(
    serve: Serve, shared: AppContext, page_folder: Path, http: urllib3.PoolManager
) -> None:
    file, upstream = File(), falcon.App()
    file.breaks_off = True
    file.go_on.set()
    upstream.add_route(f"/api/v1{CAMERA}/recordings/{{segment}}", file)
    proxy = ApiProxy(serve(upstream), connections=4)
    base = serve(_bff(shared, page_folder, proxy))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("GET", f"{base}/bff/v1{CAMERA}/recordings/a")
    proxy.close()


def test_a_slow_api_is_a_504(
    serve: Serve, shared: AppContext, page_folder: Path, http: urllib3.PoolManager
) -> None:
    slow, upstream = Slow(), falcon.App()
    upstream.add_route(f"/api/v1{CAMERA}/stream/status", slow)
    proxy = ApiProxy(serve(upstream), connections=4, read_timeout_s=0.2)
    base = serve(_bff(shared, page_folder, proxy))
    answer = http.request("GET", f"{base}/bff/v1{CAMERA}/stream/status")
    slow.go_on.set()
    assert (answer.status, answer.json()["code"]) == (504, "api_timeout")
    assert int(answer.headers["Retry-After"]) > 0
    proxy.close()


def test_an_api_that_is_away_is_a_502_and_the_page_stands(
    serve: Serve, shared: AppContext, page_folder: Path, http: urllib3.PoolManager
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy = ApiProxy(f"http://127.0.0.1:{port}", connections=4)
    base = serve(_bff(shared, page_folder, proxy))
    answer = http.request("GET", f"{base}/bff/v1{CAMERA}/stream/status")
    assert (answer.status, answer.json()["code"]) == (502, "api_unreachable")
    assert http.request("GET", f"{base}/").status == 200
    proxy.close()


def test_readiness_names_what_is_no_api(serve: Serve) -> None:
    upstream = serve(falcon.App())
    proxy = ApiProxy(upstream, connections=1)
    with pytest.raises(Exception, match="health check with 404"):
        proxy.check()
    proxy.close()
