"""What clients that take their time cost MediaMTX's hook.

    python benchmarks/slow_clients.py [--rate 200] [--seconds 4] [--rounds 5]

The hook's listener and the users' run in this process, as in the API role. A process of its own holds
connections open and sends one byte of a request a second on each, 1,000 on the users' port and then
200 on the hook's own; those that the server ends are opened again. Another asks the hook at a fixed
rate. Prints the hook's times without them, and with either kind.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from _measuring import bound, pause, percentile, say, wait_for
from hook import PATH, asked, empty_app, hook_app, serving

from streamwarden.app.roles import raise_file_limit
from streamwarden.auth.keys import SigningKey
from streamwarden.auth.rtsp_urls import redact
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import Clock
from streamwarden.logs import configure

ON_USERS, ON_HOOK = 1000, 200
MOST_ABOVE_MS = 10
MOST_OWN_MS = 100
MOST_CORES = 0.4
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\nX-Long: "


def hold(port: int, count: int) -> None:
    """Hold ``count`` connections until standard input ends; say when all have been opened."""
    held = [_opened(port) for _ in range(count)]
    print("held", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.monotonic()
        for n, each in enumerate(held):
            try:
                each.send(b"x")
                with suppress(BlockingIOError):
                    if not each.recv(4096):
                        raise ConnectionResetError
            except OSError:
                each.close()
                held[n] = _opened(port)
            # Spread over the second: all at once would be one burst and then silence.
            time.sleep(max(0.0, began + n / count - time.monotonic()))


def _opened(port: int) -> socket.socket:
    """Begin to connect, and to ask where that is done: a full server must not hold this up."""
    client = socket.socket()
    client.settimeout(0.5)
    with suppress(OSError):
        client.connect(("127.0.0.1", port))
        client.send(REQUEST)
    client.settimeout(0)
    return client


@contextmanager
def holding(url: str, count: int) -> Iterator[None]:
    """Have a process of its own hold connections to ``url``."""
    port = url.rsplit(":", 1)[1]
    command = [sys.executable, __file__, "--hold", port, "--count", str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        wait_for("connections", lambda: process.stdout and process.stdout.readline(), within_s=120)
        yield
        process.stdin.close()


class Asker:
    """Asks the hook from a process of its own."""

    def __init__(self, process: subprocess.Popen[str], work: dict[str, object]) -> None:
        self._process = process
        self._work = json.dumps(work)

    def times(self) -> list[float]:
        """Return the times of one round in milliseconds."""
        assert self._process.stdin
        assert self._process.stdout
        print(self._work, file=self._process.stdin, flush=True)
        answered: list[float] = json.loads(self._process.stdout.readline())
        return answered


@contextmanager
def asker(url: str, body: str, options: argparse.Namespace) -> Iterator[Asker]:
    """Start the process that asks; its first round warms up and is not counted."""
    command = [sys.executable, str(Path(__file__).with_name("hook.py")), "--client"]
    work = {"url": url, "body": body, "rate": options.rate, "seconds": options.seconds}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asking = Asker(process, work)
        asking.times()
        yield asking
        assert process.stdin
        process.stdin.close()


def cores_used(seconds: float) -> float:
    """Return how much of a core this process takes; without a rest of its loop it is nearly all."""
    before, began = time.process_time(), time.monotonic()
    pause(seconds)
    return (time.process_time() - before) / (time.monotonic() - began)


def measure(options: argparse.Namespace) -> None:
    """Measure in turns, so that what else the machine does falls on all three, and print."""
    tokens = StreamTokens([SigningKey("bench", b"k" * 40, None)], Clock())
    body = json.dumps(asked(tokens.sign_view("alice", PATH, ttl_s=3600).token))
    quiet, on_users, on_hook, cores = [], [], [], []
    with serving(hook_app(tokens), "hook") as hook, serving(empty_app(), "users") as users:
        url = f"{hook}/api/v1/m2m/check-stream-pwd"
        with asker(url, body, options) as asking:
            for _ in range(options.rounds):
                quiet.append(asking.times())
                with holding(users, ON_USERS):
                    cores.append(cores_used(2.0))
                    on_users.append(asking.times())
                with holding(hook, ON_HOOK):
                    on_hook.append(asking.times())
    bound("cores taken by 1,000 slow clients", statistics.median(cores), at_most=MOST_CORES)
    bare_ms = told("without", quiet)
    users_ms = told(f"{ON_USERS} on the users' port", on_users)
    own_ms = told(f"{ON_HOOK} on the hook's own", on_hook)
    slower_ms = max(0.0, users_ms - bare_ms)
    bound("hook p99 above, 1,000 slow clients of users", slower_ms, "ms", at_most=MOST_ABOVE_MS)
    bound("hook p99 with 200 slow clients of its own", own_ms, "ms", at_most=MOST_OWN_MS)


def told(name: str, rounds: Sequence[Sequence[float]]) -> float:
    """Print one line; return the median of the rounds' 99th percentiles."""
    p50 = statistics.median(percentile(each, 50) for each in rounds)
    p99 = statistics.median(percentile(each, 99) for each in rounds)
    say(f"{name:26} median {p50:6.2f} ms   p99 {p99:6.2f} ms   rounds {len(rounds)}")
    return p99


def main() -> None:
    """Run the benchmark, or the holder of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    raise_file_limit()
    if options.hold:
        hold(options.hold, options.count)
        return
    configure("text", "error", sys.stderr, redact=redact)
    measure(options)


if __name__ == "__main__":
    main()
