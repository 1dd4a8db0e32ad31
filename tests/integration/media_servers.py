"""Either media server as a child of a test, and the hook that lets in who has a good token."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

import pytest

from streamwarden.devkit.demo_ports import demo_ports
from streamwarden.devkit.media_server import MediaServerPlan, MediaServerProcess, relay_plan
from streamwarden.devkit.mediamtx_program import MediaMtxMissing, find_mediamtx, mediamtx_plan
from streamwarden.mediamtx.control_secret import control_secret

KINDS = ("mediamtx", "relay")
INTERNAL_TOKEN = "internal-token-of-at-least-32-bytes"
CONTROL_SECRET = control_secret(INTERNAL_TOKEN)


class Hook(ThreadingHTTPServer):
    """Stands for the internal API: lets in whose token is ``good``; its control secret is real."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        self.asked: list[str] = []


class HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(body)
        shown = json.loads(body)
        wanted = CONTROL_SECRET if shown["action"] in {"api", "metrics", "pprof"} else "good"
        self.send_response(200 if wanted in {shown["token"], shown["password"]} else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None: ...


@contextmanager
def serving_hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:  # also where a test is skipped: else the thread turns round for ever
            server.shutdown()
            thread.join()


@contextmanager
def serving(kind: str, hook: Hook) -> Iterator[MediaServerProcess]:
    server = MediaServerProcess(plan_of(kind, hook))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def plan_of(kind: str, hook: Hook) -> MediaServerPlan:
    ports = demo_ports(0).media
    if kind == "relay":
        return relay_plan(ports, hook_url=hook.url, internal_token=INTERNAL_TOKEN)
    try:
        program = find_mediamtx(os.environ, open_url=_no_download)
    except MediaMtxMissing:
        pytest.skip("no MediaMTX here: put it on PATH or set STREAMWARDEN_MEDIAMTX")
    return mediamtx_plan(
        program, ports, hook_url=hook.url, internal_token=INTERNAL_TOKEN, environ=os.environ
    )


def _no_download(_url: str, _timeout_s: float) -> BinaryIO:
    raise OSError("tests download nothing")
