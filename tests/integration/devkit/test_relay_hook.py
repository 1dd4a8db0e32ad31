from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from streamwarden.devkit.relay.auth_hook import AuthHook
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.errors import ConfigError
from tests.integration.devkit.relay_client import RtspClient

Body = dict[str, str]


class Hook:
    """A hook that remembers what it was asked and decides as the test says."""

    def __init__(self, decide: Callable[[Body], int]) -> None:
        self.asked: list[Body] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json"
                hook.asked.append(body)
                self.send_response(decide(body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/check?x=y"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def _relay(
    decide: Callable[[Body], int], delay_s: float = 0.0
) -> Iterator[tuple[RelayServer, Hook]]:
    with (
        Hook(decide) as hook,
        RelayServer(auth_url=hook.url, auth_failure_delay_s=delay_s) as relay,
    ):
        yield relay, hook


def _basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


def test_a_reader_is_asked_for_at_describe_and_at_its_first_setup() -> None:
    with (
        _relay(lambda _: 204) as (relay, hook),
        RtspClient(relay.ports.rtsp) as camera,
        RtspClient(relay.ports.rtsp) as reader,
    ):
        camera.publish("cam/a", "?token=p")
        reader.read("cam/a", "?token=r.s")
        session = relay.sessions()[1]
        describe, setup = [body for body in hook.asked if body["action"] == "read"]
        common = {
            "ip": "127.0.0.1",
            "user": "",
            "password": "",
            "token": "r.s",
            "action": "read",
            "path": "cam/a",
            "protocol": "rtsp",
            "query": "token=r.s",
        }
        assert describe == {**common, "id": session["conns"][0], "userAgent": ""}  # type: ignore[index] # a list
        assert setup == {**common, "id": session["id"], "userAgent": "test"}


def test_a_publisher_is_asked_for_once_by_its_session() -> None:
    with _relay(lambda _: 200) as (relay, hook), RtspClient(relay.ports.rtsp) as camera:
        camera.publish("cam/a", "?token=p")
        (body,) = hook.asked
        assert (body["action"], body["token"], body["userAgent"]) == ("publish", "p", "test")
        assert body["id"] == relay.sessions()[0]["id"]


def test_without_credentials_a_denied_client_is_asked_for_them() -> None:
    with (
        _relay(lambda body: 200 if body["password"] == "t.u" else 401) as (relay, hook),
        RtspClient(relay.ports.rtsp) as camera,
    ):
        first = camera.announce("a")
        assert first.status == 401
        assert first.headers["www-authenticate"].startswith("Basic realm=")
        assert relay.sessions() == []
        sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\n"
        again = camera.ask(
            "ANNOUNCE", "a", sdp, Content_Type="application/sdp", Authorization=_basic("u:t.u")
        )
        assert again.status == 200
        assert [(body["user"], body["token"]) for body in hook.asked] == [("", ""), ("u", "t.u")]


@pytest.mark.parametrize("query", ["?token=bad", "?jwt=bad"])
def test_a_refused_token_is_401_without_a_question_and_ends_the_connection(query: str) -> None:
    with _relay(lambda _: 403) as (relay, _), RtspClient(relay.ports.rtsp) as reader:
        answer = reader.ask("DESCRIBE", "a" + query)
        assert (answer.status, "www-authenticate" in answer.headers) == (401, False)
        assert reader.ends()


def test_the_hook_is_asked_before_it_is_told_that_nobody_publishes() -> None:
    with _relay(lambda _: 401) as (relay, _), RtspClient(relay.ports.rtsp) as reader:
        assert reader.ask("DESCRIBE", "a?token=x").status == 401


def test_a_reader_refused_at_setup_reads_nothing() -> None:
    with (
        _relay(lambda body: 401 if body["userAgent"] and body["action"] == "read" else 200) as (
            relay,
            _,
        ),
        RtspClient(relay.ports.rtsp) as camera,
        RtspClient(relay.ports.rtsp) as reader,
    ):
        camera.publish("a")
        assert reader.ask("DESCRIBE", "a?token=x").status == 200
        assert reader.set_up("a?token=x", 0, 0).status == 401
        assert len(relay.sessions()) == 1


def test_a_hook_that_is_away_denies() -> None:
    with Hook(lambda _: 200) as gone:
        url = gone.url
    with RelayServer(auth_url=url) as relay, RtspClient(relay.ports.rtsp) as reader:
        assert reader.ask("DESCRIBE", "a?token=x").status == 401


def test_a_hook_that_hangs_denies_in_the_end_and_holds_up_no_frame() -> None:
    hangs, asked = threading.Event(), threading.Event()

    def decide(body: Body) -> int:
        if body["action"] == "read":
            asked.set()
            hangs.wait(10)
        return 200

    with _relay(decide) as (relay, _), RtspClient(relay.ports.rtsp) as camera:
        camera.publish("a")
        relay._relay.hub.authenticator._timeout_s = 0.3  # type: ignore[union-attr] # its own is 10 s
        with RtspClient(relay.ports.rtsp) as reader:
            reader.send("DESCRIBE", "a?token=x")
            assert asked.wait(5)
            assert len(relay.sessions()) == 1  # answered by the loop that the hook must not block
            assert reader.answer().status == 401
        hangs.set()


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError):
        AuthHook("localhost:8083/hook")
