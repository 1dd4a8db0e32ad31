from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import falcon
import pytest
import urllib3
from prometheus_client import CollectorRegistry

from streamwarden.errors import ConfigError
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.models import Empty, Model, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.server import HttpServer, PortInUse
from streamwarden.metrics.http_metrics import HttpMetrics, render


class Size(Model):
    size: int


class Echo(Resource):
    @operation("Tell the size of the body", access=Access.OPEN, body=Empty, answers={200: Size})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Size(size=req.content_length or 0))


class Slow(Resource):
    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    @operation("Wait", access=Access.OPEN, answers={200: Empty})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        self.entered.set()
        self.go_on.wait(10)
        respond(resp, Empty())


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def server(slow: Slow) -> Iterator[HttpServer]:
    registry = CollectorRegistry()
    shared = AppContext(role="test", metrics=HttpMetrics(registry), render=lambda: render(registry))
    app = build_app(shared, {"/echo": Echo(), "/slow": slow}, title="test")
    running = HttpServer(app, "127.0.0.1", 0, threads=4, name="test")
    running.start()
    yield running
    slow.go_on.set()
    running.stop(5)


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=5) as manager:
        yield manager


def _url(server: HttpServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def _problem(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.data)
    assert body["status"] == response.status
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert {"title", "detail", "code"} <= set(body)
    return body


def _raw(server: HttpServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        peer.sendall(request)
        with peer.makefile("rb") as answers:
            return answers.read()


def test_a_free_port_is_taken_and_answers(server: HttpServer, http: urllib3.PoolManager) -> None:
    assert http.request("GET", _url(server, "/healthz")).json() == {"status": "alive"}


def test_no_answer_names_the_server_software(server: HttpServer, http: urllib3.PoolManager) -> None:
    assert "Server" not in http.request("GET", _url(server, "/healthz")).headers


def _chunks(total: int) -> Iterable[bytes]:
    yield b'{"a": "'
    yield b"x" * total
    yield b'"}'


@pytest.mark.parametrize("size", [65_537, 1_000_000])
@pytest.mark.parametrize("make", [lambda n: b"x" * n, _chunks], ids=["plain", "chunked"])
def test_a_body_over_64_kib_is_413_however_it_is_sent(
    server: HttpServer, http: urllib3.PoolManager, make: Callable[[int], Any], size: int
) -> None:
    headers = {"Content-Type": "application/json"}
    response = http.request("POST", _url(server, "/echo"), body=make(size), headers=headers)
    assert response.status == 413
    assert _problem(response)["code"] == "payload_too_large"


def test_a_body_of_64_kib_is_read(server: HttpServer, http: urllib3.PoolManager) -> None:
    body = b"{" + b" " * (64 * 1024 - 2) + b"}"
    headers = {"Content-Type": "application/json"}
    response = http.request("POST", _url(server, "/echo"), body=body, headers=headers)
    assert (response.status, response.json()) == (200, {"size": 65_536})


def test_a_body_announced_far_too_large_is_refused_unread(server: HttpServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000\r\nX-Request-Id: mine\r\n\r\n"
    said = _raw(server, head)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in said
    assert b'"code": "payload_too_large"' in said
    assert b"X-Request-Id: mine" in said


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /healthz HTTP/1.1\r\nbroken header\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
    ],
    ids=["malformed", "headers too large", "unknown encoding"],
)
def test_what_the_server_itself_refuses_is_a_problem_too(
    server: HttpServer, request_bytes: bytes, status: int, code: str
) -> None:
    head, _, body = _raw(server, request_bytes).partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert b"application/problem+json" in head
    assert b"X-Request-Id: " in head
    assert json.loads(body)["code"] == code


def test_head_is_get_without_the_body(server: HttpServer, http: urllib3.PoolManager) -> None:
    response = http.request("HEAD", _url(server, "/healthz"))
    assert (response.status, response.data) == (200, b"")


def test_a_busy_port_is_named() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        server = HttpServer(_never, "127.0.0.1", port, threads=1, name="the API")
        with pytest.raises(PortInUse, match=rf"port {port} .*the API") as caught:
            server.start()
    assert (caught.value.port, caught.value.name) == (port, "the API")


def test_a_host_that_is_not_ours_is_a_configuration_error() -> None:
    server = HttpServer(_never, "203.0.113.1", 0, threads=1, name="the API")
    with pytest.raises(ConfigError, match=r"203\.0\.113\.1"):
        server.start()


def test_stop_lets_a_running_request_finish(server: HttpServer, slow: Slow) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        assert slow.entered.wait(5)
        stopper = threading.Thread(target=server.stop, args=(5,))
        stopper.start()
        slow.go_on.set()
        with peer.makefile("rb") as answers:
            said = answers.read()
        stopper.join(5)
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"{}")


def test_stop_ends_idle_connections_and_frees_the_port(
    server: HttpServer, http: urllib3.PoolManager
) -> None:
    http.request("GET", _url(server, "/healthz"))  # stays open in the pool
    server.stop(5)
    with closing(socket.create_server(("127.0.0.1", server.port))):
        pass
    assert not [t for t in threading.enumerate() if t.name == "http-test"]


def test_stop_does_not_wait_longer_than_its_deadline(server: HttpServer, slow: Slow) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        assert slow.entered.wait(5)
        stopper = threading.Thread(target=server.stop, args=(0.5,))
        stopper.start()
        stopper.join(3)
        assert not stopper.is_alive()
        slow.go_on.set()


def test_stop_may_be_called_twice(server: HttpServer) -> None:
    server.stop(5)
    server.stop(5)


def test_more_than_1024_descriptors_do_not_stop_the_loop(server: HttpServer) -> None:
    # select() fails above FD_SETSIZE; the sockets opened here push the server's past it.
    idle = [socket.socket() for _ in range(1_100)]
    try:
        said = _raw(server, b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    finally:
        for each in idle:
            each.close()
    assert said.startswith(b"HTTP/1.1 200 ")


def _never(_environ: dict[str, Any], _start: object) -> Iterable[bytes]:
    raise AssertionError("never called")
