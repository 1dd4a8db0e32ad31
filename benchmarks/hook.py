"""How long MediaMTX waits for the hook, against an empty Falcon endpoint.

    python benchmarks/hook.py [--rate 200] [--seconds 5] [--rounds 4]

The internal API and a bare Falcon app each run on a server of their own in this process, with the
same settings, the hook with 100,000 rules in its deny list; a client in a process of its own asks
them in turns, at a fixed rate. A request's time counts from the moment when it was due, so that one
slow answer shows in those behind it. Prints the median and 99th percentile of each, their ratio and
their difference, in milliseconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import falcon
import urllib3
from prometheus_client import CollectorRegistry

from streamwarden.auth.keys import SigningKey
from streamwarden.auth.revocation import DenialList, links_withdrawn, user_blocked
from streamwarden.auth.rtsp_urls import redact
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import Clock
from streamwarden.http.api.api_app import create_internal_app
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.logs import configure
from streamwarden.mediamtx.sessions import SessionClaims
from streamwarden.mediamtx.source_paths import PulledPaths
from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, render
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.streams import StreamRepository

PATH = "front/door"
THREADS = 8
SENDERS = 16
MOST_ABOVE_MS = 10
DENIED = 100_000


class Empty:
    """What Falcon alone costs."""

    def on_post(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with nothing in particular."""
        resp.media = {}


class NoDatabase(Database):
    """A database without a pool: every call of it fails, as the hook must not make one."""

    def __init__(self) -> None:
        pass


@dataclass(frozen=True)
class Times:
    """Sorted times in milliseconds."""

    sorted_ms: Sequence[float]

    def percentile(self, percent: float) -> float:
        """The time that ``percent`` of the requests did not exceed."""
        return self.sorted_ms[
            min(len(self.sorted_ms) - 1, int(len(self.sorted_ms) * percent / 100))
        ]


def hook_app(tokens: StreamTokens) -> WsgiApp:
    """The app of port 8083, with its metrics and without a database."""
    registry = CollectorRegistry()
    database = NoDatabase()
    cameras, streams = CameraRepository(database), StreamRepository(database)
    shared = AppContext(
        role="api",
        metrics=HttpMetrics(registry),
        render=lambda: render(registry),
    )
    return create_internal_app(
        shared,
        tokens=tokens,
        auth_metrics=AuthMetrics(registry),
        denied=full_deny_list(),
        sessions=SessionClaims(Clock()),
        pulled=PulledPaths(),
        desired=DesiredCache(cameras, streams, Clock()),
        rtsp_internal_url="rtsp://mediamtx:8554",
    )


def full_deny_list() -> DenialList:
    """A list of as many rules as issue 5 asks for, none of which meets the tokens here."""
    clock = Clock()
    denied = DenialList(clock)
    at = clock.now()
    for number in range(DENIED // 2):
        denied.add(user_blocked(f"user-{number}", at)[:1])
        denied.add(links_withdrawn(f"path-{number}", at))
    denied.read([])
    return denied


def empty_app() -> WsgiApp:
    """A bare Falcon app."""
    app = falcon.App()
    app.add_route("/", Empty())
    return app


@contextmanager
def serving(app: WsgiApp, name: str) -> Iterator[str]:
    """Serve ``app`` on a free port; gives the base URL."""
    server = HttpServer(app, "127.0.0.1", 0, threads=THREADS, name=name)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def asked(token: str) -> dict[str, object]:
    """What MediaMTX sends at an RTSP reader's SETUP."""
    return {
        "ip": "127.0.0.1",
        "user": "",
        "password": "",
        "token": token,
        "action": "read",
        "path": PATH,
        "protocol": "rtsp",
        "id": str(UUID(int=1)),
        "query": f"token={token}",
        "userAgent": "Lavf62.0.100",
    }


def ask_at_a_rate(url: str, body: bytes, *, rate: float, seconds: float) -> list[float]:
    """Send ``rate`` requests a second; return how long each took from when it was due, in ms."""
    total = int(rate * seconds)
    turn = itertools.count()
    taken_ms: list[float] = []
    began = time.monotonic() + 0.1

    def send() -> None:
        while (n := next(turn)) < total:
            due = began + n / rate
            time.sleep(max(0.0, due - time.monotonic()))  # the pace is the measurement
            answer = pool.urlopen(
                "POST", url, body=body, headers=headers, timeout=10, retries=False
            )
            if answer.status != 200:
                raise RuntimeError(f"status {answer.status}")
            taken_ms.append((time.monotonic() - due) * 1000)

    headers = {"Content-Type": "application/json"}
    with urllib3.PoolManager(maxsize=SENDERS) as pool:
        senders = [threading.Thread(target=send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    if len(taken_ms) != total:
        raise RuntimeError(f"{total - len(taken_ms)} of {total} requests failed")
    return taken_ms


def client() -> None:
    """Be the client process: one round a line on standard input, its times on standard output."""
    for line in sys.stdin:
        work = json.loads(line)
        times = ask_at_a_rate(
            work["url"], work["body"].encode(), rate=work["rate"], seconds=work["seconds"]
        )
        print(json.dumps(times), flush=True)


def measure(urls: dict[str, str], body: str, options: argparse.Namespace) -> dict[str, Times]:
    """Ask each URL in turns, so that what else the machine does falls on both."""
    found: dict[str, list[float]] = {name: [] for name in urls}
    command = [sys.executable, __file__, "--client"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        for number in range(options.rounds + 1):
            for name, url in urls.items():
                work = {"url": url, "body": body, "rate": options.rate, "seconds": options.seconds}
                print(json.dumps(work), file=process.stdin, flush=True)
                times = json.loads(process.stdout.readline())
                if number:  # the first round warms up
                    found[name] += times
        process.stdin.close()
    return {name: Times(sorted(times)) for name, times in found.items()}


def report(hook: Times, empty: Times) -> None:
    """Print the figures and the bound."""
    for name, times in (("hook", hook), ("empty endpoint", empty)):
        p50, p99 = times.percentile(50), times.percentile(99)
        print(f"{name:15} median {p50:6.2f} ms   p99 {p99:6.2f} ms   n {len(times.sorted_ms)}")
    for percent in (50, 99):
        ours, bare = hook.percentile(percent), empty.percentile(percent)
        print(f"p{percent}: ratio {ours / bare:.2f}, difference {ours - bare:.2f} ms")
    above = round(hook.percentile(99) - empty.percentile(99), 3)
    ratio = {"name": "hook p99 over an empty endpoint", "value": above, "unit": "ms"}
    print("RATIO", json.dumps({**ratio, "at_most": MOST_ABOVE_MS}))


def main() -> None:
    """Run the benchmark, or the client of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client()
        return
    configure("text", "info", sys.stderr, redact=redact)
    tokens = StreamTokens([SigningKey("bench", b"k" * 40, None)], Clock())
    body = json.dumps(asked(tokens.sign_view("alice", PATH, ttl_s=3600).token))
    with serving(hook_app(tokens), "hook") as hook, serving(empty_app(), "empty") as empty:
        urls = {"hook": f"{hook}/api/v1/m2m/check-stream-pwd", "empty": f"{empty}/"}
        found = measure(urls, body, options)
    report(found["hook"], found["empty"])


if __name__ == "__main__":
    main()
