"""Requests that two servers may understand in two ways, and clients that take their time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import falcon
import pytest
from prometheus_client import CollectorRegistry

from streamwarden.http import server as server_module
from streamwarden.http.falcon_app import AppContext, build_app
from streamwarden.http.middleware import SECURITY_HEADERS
from streamwarden.http.models import Empty, Model, respond
from streamwarden.http.operations import Access, Media, Resource, operation
from streamwarden.http.rate_limit import Proxies, neighbourhood
from streamwarden.http.server import HttpServer
from streamwarden.metrics.http_metrics import HttpMetrics, render

BIG = 32 * 1024 * 1024
ASSET = b"x" * (2 * 1024 * 1024)


class Size(Model):
    size: int


class Echo(Resource):
    @operation("Tell the size of the body", access=Access.OPEN, body=Empty, answers={200: Size})
    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        respond(resp, Size(size=req.content_length or 0))


class Asset(Resource):
    @operation(
        "An asset", access=Access.OPEN, answers={200: Media(content_type="text/plain", about="It")}
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data = ASSET


class Held(Resource):
    """Holds its thread until the test has ended."""

    released = threading.Event()

    @operation("Wait", access=Access.OPEN, answers={200: Empty})
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        self.released.wait(60)
        respond(resp, Empty())


class Large(Resource):
    @operation(
        "Much", access=Access.OPEN, answers={200: Media(content_type="video/mp4", about="Much")}
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        piece = b"x" * (BIG // 32)  # in pieces: the thread waits between them for the client
        resp.set_stream((piece for _ in range(32)), BIG)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    registry = CollectorRegistry()
    shared = AppContext(role="test", metrics=HttpMetrics(registry), render=lambda: render(registry))
    app = build_app(
        shared,
        {"/echo": Echo(), "/large": Large(), "/asset": Asset(), "/held": Held()},
        title="test",
    )
    running = HttpServer(app, "127.0.0.1", 0, threads=2, name="test")
    running.start()
    yield running
    running.stop(5)


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def said(peer: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            found += chunk
    return found


def raw(server: HttpServer, request: bytes) -> bytes:
    with connect(server) as peer:
        peer.sendall(request)
        return said(peer)


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 2\r\nContent-Length: 38\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: 2, 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Content-Length:\r\n 2\r\n\r\n{}" + SMUGGLED,
        POST + b"X-A: b\r\n\tContent-Length: 2\r\n\r\n{}" + SMUGGLED,
        POST + b"X-A: b\n Content-Length: 2\r\n\r\n{}" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 2\rTransfer-Encoding: chunked\r\n\r\n{}" + SMUGGLED,
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + SMUGGLED,
        b"GET /healthz HTTP/1.1\nHost: a\n\n" + SMUGGLED,
    ],
    ids=[
        "CL.TE", "TE.CL", "two lengths", "the same length twice", "a list of lengths", "a sign", "hex",
        "a space before the colon", "folded length", "folded field", "bare LF and folded", "TE twice",
        "negative chunk", "hex chunk", "bare CR", "TE in 1.0", "two hosts", "bare LF",
    ],
)  # fmt: skip
def test_a_request_that_two_servers_may_read_in_two_ways_is_refused(
    server: HttpServer, request_bytes: bytes
) -> None:
    found = raw(server, request_bytes)
    assert found.split(b" ")[1] == b"400", found[:200]
    assert found.count(b"HTTP/1.") == 1  # nothing of the second request was answered
    head, _, body = found.partition(b"\r\n\r\n")
    assert json.loads(body)["code"] == "invalid_request"
    for name, text in SECURITY_HEADERS.items():
        assert f"{name}: {text}".encode() in head


@pytest.mark.parametrize("coding", [b"xchunked", b"chunked, gzip", b"\x0bchunked", b"identity"])
def test_a_transfer_coding_that_is_not_ours_is_refused(server: HttpServer, coding: bytes) -> None:
    found = raw(server, POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
    assert found.split(b" ")[1] in {b"400", b"501"}
    assert found.count(b"HTTP/1.") == 1


def test_a_chunked_body_and_a_plain_one_are_read(server: HttpServer) -> None:
    close = b"Connection: close\r\n\r\n"
    chunked = raw(
        server, POST + b"Transfer-Encoding: chunked\r\n" + close + b"2\r\n{}\r\n0\r\n\r\n"
    )
    plain = raw(server, POST + b"Content-Length: 2\r\n" + close + b"{}")
    for found in (chunked, plain):
        assert found.startswith(b"HTTP/1.1 200 ")
        assert found.endswith(b'{"size":2}')


def test_a_request_that_does_not_come_to_its_end_is_408(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 0.5)
    for begun in (b"GET /healthz HTTP/1.1\r\nX-A: ", POST + b"Content-Length: 100\r\n\r\n{"):
        with connect(server) as peer:
            peer.sendall(begun)
            found = said(peer)
        assert found.startswith(b"HTTP/1.1 408 "), begun
        assert b'"code": "request_timeout"' in found
        assert b"X-Frame-Options: DENY" in found


def test_a_client_that_sends_a_byte_now_and_then_is_ended_all_the_same(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 1.0)
    with connect(server) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\n")
        peer.settimeout(0.1)
        found = b""
        for _ in range(300):
            with suppress(TimeoutError):
                found = peer.recv(65536)
                break
            with suppress(BrokenPipeError, ConnectionResetError):
                peer.sendall(b"x")
    assert found.startswith(b"HTTP/1.1 408 ") or found == b""


def test_a_connection_on_which_nothing_is_asked_is_ended(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "REQUEST_S", 0.5)
    with connect(server) as peer:
        assert said(peer) == b""


def test_a_connection_that_is_kept_between_requests_is_not_ended_by_that(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(server) as peer:
        for _ in range(2):
            peer.sendall(SMUGGLED)
            found = b""
            while not found.endswith(b'{"status":"alive"}'):
                found += peer.recv(65536)
            assert found.startswith(b"HTTP/1.1 200 ")
            monkeypatch.setattr(server_module, "REQUEST_S", 0.0)  # nothing is under way now
            with connect(server) as other:  # which the loop ends: it has looked at all by then
                assert said(other) == b""
            monkeypatch.setattr(server_module, "REQUEST_S", 20.0)


def test_clients_that_do_not_take_their_answer_do_not_keep_the_threads(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "TAKING_S", 2.0)
    lazy = [connect(server) for _ in range(2)]  # as many as there are threads
    try:
        for peer in lazy:
            peer.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            assert peer.recv(1)
        with connect(server) as peer:
            peer.sendall(SMUGGLED)
            assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
    finally:
        for peer in lazy:
            peer.close()


def test_a_client_that_takes_its_answer_slowly_but_steadily_gets_all_of_it(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "TAKING_S", 2.0)
    taken, never = 0, threading.Event()
    with connect(server) as peer:
        peer.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        while chunk := peer.recv(256 * 1024):
            taken += len(chunk)
            never.wait(0.03)  # the pace is what is tested
    assert taken > BIG


def status_of(server: HttpServer, path: bytes = b"/healthz") -> bytes:
    found = raw(server, b"GET " + path + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    return found.split(b" ")[1] if found else b""


def test_what_follows_a_request_is_dropped_and_the_connection_closed(server: HttpServer) -> None:
    found = raw(server, SMUGGLED * 100)
    assert found.count(b"HTTP/1.1 200 ") == 1
    assert b"Connection: close\r\n" in found


def test_a_request_that_comes_after_the_answer_is_answered(server: HttpServer) -> None:
    with connect(server) as peer:
        for _ in range(3):
            peer.sendall(SMUGGLED)
            found = b""
            while not found.endswith(b'{"status":"alive"}'):
                found += peer.recv(65536)
            assert found.startswith(b"HTTP/1.1 200 ")


def test_requests_in_one_packet_whose_answers_are_not_read_hold_no_thread(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "TAKING_S", 10_000.0)  # nobody is given up
    one = b"GET /asset HTTP/1.1\r\nHost: h\r\n\r\n"
    lazy = []
    try:
        for _ in range(6):  # three times as many as there are threads
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(30)
            peer.connect(("127.0.0.1", server.port))
            peer.sendall(one * 100)
            assert peer.recv(1)  # its answer has begun
            lazy.append(peer)
        # Not reserved: one of the common threads answers.
        assert status_of(server, b"/openapi.json") == b"200"
    finally:
        for peer in lazy:
            peer.close()


def test_slow_downloads_hold_no_thread_and_each_gets_its_whole_file(server: HttpServer) -> None:
    slow = [connect(server) for _ in range(8)]  # four times as many as there are threads
    try:
        for peer in slow:
            peer.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        for peer in slow:
            assert peer.recv(1)
        for _ in range(3):
            assert status_of(server, b"/openapi.json") == b"200"
        assert len(said(slow[0])) > BIG
    finally:
        for peer in slow:
            peer.close()
    assert status_of(server, b"/openapi.json") == b"200"


def test_more_than_may_wait_are_ended_and_the_port_answers(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WAITING_AT_MOST", 3)
    slow = [connect(server) for _ in range(6)]
    try:
        for peer in slow:
            peer.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(3):
            assert status_of(server, b"/openapi.json") == b"200"
    finally:
        for peer in slow:
            peer.close()


def test_one_client_cannot_take_all_places_of_those_who_read_slowly(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "WAITING_AT_MOST", 3)
    monkeypatch.setattr(server_module, "WAITING_OF_CLIENT", 2)
    monkeypatch.setattr(server_module, "TAKING_S", 10_000.0)
    slow = [connect(server) for _ in range(6)]
    other = connect(server)
    try:
        for peer in slow:
            peer.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\n\r\n")
        for _ in range(3):
            assert status_of(server, b"/openapi.json") == b"200"
        other.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        taken = 0
        while taken < 4 * 1024 * 1024:  # more than a port keeps for a client without a place
            chunk = other.recv(65536)
            assert chunk
            taken += len(chunk)
    finally:
        for peer in (*slow, other):
            peer.close()


def test_a_thousand_connections_that_do_not_read_cost_nobody_else_an_answer(
    server: HttpServer,
) -> None:
    one = b"GET /asset HTTP/1.1\r\nHost: h\r\n\r\n"
    lazy = []
    try:
        for number in range(1_000):
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", server.port))
            peer.sendall((one * 20)[: -1 if number % 2 else None])
            lazy.append(peer)
            if number % 200 == 0:
                assert status_of(server) == b"200"
        assert status_of(server) == b"200"
        assert status_of(server, b"/openapi.json") == b"200"
    finally:
        for peer in lazy:
            peer.close()


def test_reserved_addresses_are_answered_while_every_thread_is_held(server: HttpServer) -> None:
    Held.released.clear()
    held = [connect(server) for _ in range(8)]
    try:
        for peer in held:
            peer.sendall(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(3):
            for path in (b"/healthz", b"/readyz", b"/metrics"):
                assert status_of(server, path) == b"200"
    finally:
        Held.released.set()
        for peer in held:
            peer.close()


def test_a_client_cannot_take_all_threads(server: HttpServer) -> None:
    Held.released.clear()
    held = [connect(server) for _ in range(8)]
    other = (
        b"GET /openapi.json HTTP/1.1\r\nHost: h\r\nAuthorization: b\r\nConnection: close\r\n\r\n"
    )
    try:
        for peer in held:
            peer.sendall(b"GET /held HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\n\r\n")
        for _ in range(5):
            assert raw(server, other).startswith(b"HTTP/1.1 200 ")
    finally:
        Held.released.set()
        for peer in held:
            peer.close()


def test_who_takes_all_connections_of_an_address_loses_its_own_oldest() -> None:
    registry = CollectorRegistry()
    shared = AppContext(role="test", metrics=HttpMetrics(registry), render=lambda: render(registry))
    app = build_app(shared, {}, title="test")
    running = HttpServer(
        app, "127.0.0.1", 0, threads=2, name="test", connection_limit=40, address_limit=30
    )
    running.start()
    begun: list[socket.socket] = []
    try:
        for _ in range(100):
            peer = connect(running)
            peer.sendall(b"GET / HTTP/1.1\r\nHost:")
            begun.append(peer)
        for _ in range(5):
            assert status_of(running) == b"200"
        assert said(begun[0]) == b""  # the oldest was closed, long before its 20 s were over
    finally:
        for peer in begun:
            peer.close()
        running.stop(5)


def test_room_is_made_among_the_connections_of_the_address_with_the_most() -> None:
    class Channel:
        def __init__(self, address: str, progress_s: float) -> None:
            self.addr = (address, 1)
            self.neighbourhood = neighbourhood(address)
            self.progress_s = progress_s
            self.closed = False

        def handle_close(self) -> None:
            self.closed = True

    limited = HttpServer(
        lambda *_: (),
        "127.0.0.1",
        0,
        threads=1,
        name="t",
        connection_limit=12,
        address_limit=6,
        proxies=Proxies(["192.0.2.3"]),
    )
    many = [Channel("192.0.2.1", 100.0 - number) for number in range(9)]
    v6 = [Channel(f"2001:db8::{number}", 1.0) for number in range(2)]
    proxy = [Channel("192.0.2.3", 10.0 - number) for number in range(8)]
    other = Channel("192.0.2.2", 0.0)
    channels = [*many, *v6, *proxy, other]

    limited._server = SimpleNamespace(active_channels=dict(enumerate(channels)))
    limited._make_room()
    assert not other.closed  # though nobody has waited longer
    assert not any(one.closed for one in v6)
    # 9 of an address become 6; the proxy may keep its 8, until all have to become 12.
    assert sum(not one.closed for one in channels) == 12
    assert [one.closed for one in many] == [False] * 4 + [True] * 5
    assert [one.closed for one in proxy] == [False] * 5 + [True] * 3
