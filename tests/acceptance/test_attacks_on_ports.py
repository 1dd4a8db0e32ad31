"""The started program's ports, attacked below HTTP, by masses, and with what is written into its logs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from streamwarden.http.middleware import SECURITY_HEADERS
from tests.acceptance.attacks import held_open, raw
from tests.acceptance.calls import Caller, internal
from tests.acceptance.demo import DemoProgram
from tests.acceptance.faults import instant
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.pressure import had_s
from tests.acceptance.waiting import wait_for

SLOW_ON_USERS, SLOW_ON_HOOK = 1000, 200
ANSWERS_WITHIN_S = 5.0
"""The product answers in milliseconds; a machine that runs other tests too must not fail this one."""
NEXT = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
POST = (
    b"POST /api/v1/m2m/check-stream-pwd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
)
DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000

RAW_REQUESTS = {
    "CL.TE": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}" + NEXT,
    "folded": POST + b"X: y\r\n Content-Length: 2\r\n\r\n{}" + NEXT,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n\r\n",
    "a NUL in the address": b"GET /\0 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "a NUL in a header": b"GET / HTTP/1.1\r\nHost: h\0\r\nConnection: close\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "a thousand headers": b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 6_000 + b"\r\n",
    "a long address": b"GET /" + b"a/" * 15_000 + b" HTTP/1.1\r\nConnection: close\r\n\r\n",
    "a method of its own": b"HACK / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "CONNECT": b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "version 9": b"GET / HTTP/9.9\r\nHost: h\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("kind", RAW_REQUESTS)
def test_no_bytes_make_any_port_answer_5xx_or_twice(installation: Installation, kind: str) -> None:
    for base in (installation.api_url, installation.streaming_url, installation.internal_url):
        found = raw(base, RAW_REQUESTS[kind])
        assert found.count(b"HTTP/1.") == 1, (base, kind, found)
        assert 400 <= int(found.split()[1]) < 500, (base, kind, found)
        assert Caller(base).get("/healthz").status == 200


BODIES: Mapping[str, bytes] = {
    "deep object": DEEP[:65_536],
    "deep list": b"[" * 65_536,
    "a huge number": b'{"a":' + b"9" * 60_000 + b"}",
    "a huge exponent": b'{"a": 1e999999}',
    "many names": json.dumps({str(n): n for n in range(6_000)}).encode()[:65_000] + b"}",
    "the same name twice": b'{"action":"read","action":"publish"}',
    "a lone surrogate": b'{"path":"\\ud800"}',
    "a NUL": b'{"path":"\\u0000"}',
    "no UTF-8": b'{"path":"\xff"}',
    "too large": b" " * 70_000,
}


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_makes_any_role_answer_5xx(installation: Installation, kind: str) -> None:
    camera = installation.camera()
    headers = {"Content-Type": "application/json"}
    for caller, path in (
        (camera.api, f"{camera.path}/stream/connect"),
        (camera.api, f"{camera.path}/exports"),
        (installation.admin, "/api/v1/camera"),
        (installation.to_streaming, "/streams/start"),
        (Caller(installation.internal_url), "/api/v1/m2m/check-stream-pwd"),
        (installation.to_internal_api, "/api/v1/m2m/read-token"),
    ):
        answer = caller.call("POST", path, body=BODIES[kind], headers=headers)
        assert 400 <= answer.status < 500, (path, kind, answer)


def _ask_hook(installation: Installation, token: str) -> float:
    body = {"action": "read", "protocol": "rtsp", "path": "slow", "token": token}
    began = instant()
    answer = Caller(installation.internal_url).post("/api/v1/m2m/check-stream-pwd", body)
    assert answer.status == 200
    return had_s(began, instant())


@pytest.mark.parametrize(
    ("port", "count"), [("api_url", SLOW_ON_USERS), ("internal_url", SLOW_ON_HOOK)]
)
def test_slow_clients_do_not_stop_the_hook(
    installation: Installation, port: str, count: int
) -> None:
    token = installation.stream_tokens.sign_view(OWNER, "slow", ttl_s=600).token
    with held_open(getattr(installation, port), count, b"GET / HTTP/1.1\r\nX-Slow: "):
        taken_s = [_ask_hook(installation, token) for _ in range(50)]
        assert Caller(getattr(installation, port)).get("/healthz").status == 200
    assert sorted(taken_s)[len(taken_s) // 2] < ANSWERS_WITHIN_S


def _paths(base: str) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = Caller(base).get("/openapi.json").json()["paths"]
    return paths


def test_internal_routes_are_on_their_own_ports_and_on_no_other(demo: DemoProgram) -> None:
    ports = {name: demo.ready[name] for name in ("webui", "api", "streaming", "internal_api")}
    common = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/{name}"}
    own = {name: _paths(base).keys() - common for name, base in ports.items()}
    assert own["internal_api"]
    assert own["streaming"]
    for inner in ("internal_api", "streaming"):
        for path in own[inner]:
            for outer in {*ports} - {inner}:
                assert path not in own[outer]
                caller = internal(ports[outer], str(demo.ready["internal_token"]))
                target = path.format_map(_Filled())
                answers = [caller.call(method, target).status for method in ("GET", "POST")]
                assert set(answers) <= {404, 405}, (outer, path, answers)


class _Filled(dict[str, str]):
    """Every part of a path's template."""

    def __missing__(self, name: str) -> str:
        return "00000000-0000-4000-8000-000000000000"


def test_every_route_of_users_wants_a_token_and_every_internal_one_the_internal_token(
    installation: Installation,
) -> None:
    """Nobody forgot one: what the OpenAPI documents list is asked, without and with a wrong token."""
    open_to_all = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/{name}",
                   "/api/v1/m2m/check-stream-pwd"}  # fmt: skip
    wrong = {"Authorization": "Bearer wrong", "X-Internal-Token": "wrong"}
    asked = 0
    for base in (installation.api_url, installation.streaming_url, installation.internal_url):
        for path, methods in _paths(base).items():
            for method in {*methods} - ({*methods} if path in open_to_all else set()):
                for headers in ({}, wrong):
                    answer = Caller(base, headers).call(method.upper(), path.format_map(_Filled()))
                    assert answer.status == 401, (base, method, path)
                    asked += 1
    assert asked > 60


def test_every_port_says_how_its_answers_may_be_used(demo: DemoProgram) -> None:
    for name in ("webui", "api", "streaming", "internal_api"):
        for path in ("/healthz", "/nowhere", "/%00"):
            headers = Caller(demo.ready[name]).get(path).headers
            for header, text in SECURITY_HEADERS.items():
                assert headers[header.lower()] == text, (name, path, header)
            assert "server" not in headers


def test_what_comes_from_outside_breaks_no_line_of_a_log(installation: Installation) -> None:
    marked = "marked\x1b[31m\u202e\x85\u2028end"
    forged_line = '{"level": "critical", "event": "forged"}'
    camera = installation.camera()
    camera.api.get(f"{camera.path}?x={forged_line}".replace(" ", "%20").replace('"', "%22"))
    installation.admin.post("/api/v1/camera", {"name": f"{marked}\n{forged_line}", "owner": OWNER})
    installation.to_streaming.post("/streams/stop", {"camera_id": f"{marked}\n{forged_line}"})
    hook = {"action": f"{marked}\n{forged_line}", "path": marked, "userAgent": marked}
    Caller(installation.internal_url).post("/api/v1/m2m/check-stream-pwd", hook)
    raw(installation.api_url, f"GET /\r\nX-Request-Id: {marked}\r\n{forged_line}\r\n\r\n".encode())
    asked = "log-injection-is-over"
    wait_for("the log", lambda: _logged(installation, asked))
    for program in (installation.api, installation.streaming):
        assert not program.events("forged")
        for line in program.stderr.splitlines():
            assert isinstance(json.loads(line), dict), line
            assert line.isprintable(), line


def _logged(installation: Installation, request_id: str) -> bool:
    Caller(installation.api_url, {"X-Request-Id": request_id}).get("/api/v1/camera")
    return request_id in installation.api.stderr


def test_the_programs_listen_on_the_addresses_that_are_set_and_no_others(
    installation: Installation,
) -> None:
    for base in (installation.api_url, installation.streaming_url, installation.internal_url):
        assert urlsplit(base).hostname == "127.0.0.1"
