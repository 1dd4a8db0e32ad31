"""What clients that take their time cost MediaMTX's hook.

    python benchmarks/slow_clients.py [--rate 200] [--seconds 6] [--rounds 2]

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
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from _measuring import bound, pause, percentile, say, wait_for
from hook import PATH, asked, empty_app, hook_app, serving

from streamwarden.app.process import raise_file_limit
from streamwarden.auth.streams import SigningKey, StreamTokens
from streamwarden.auth.urls import redact
from streamwarden.clock import SystemClock
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
    client.setblocking(False)
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


def times(url: str, body: str, options: argparse.Namespace) -> list[float]:
    """Ask the hook from another process; return the times in milliseconds."""
    work = {"url": url, "body": body, "rate": options.rate, "seconds": options.seconds}
    found: list[float] = []
    command = [sys.executable, str(__file__).replace("slow_clients", "hook"), "--client"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        for number in range(options.rounds + 1):
            print(json.dumps(work), file=process.stdin, flush=True)
            answered = json.loads(process.stdout.readline())
            found += answered if number else []  # the first round warms up
        process.stdin.close()
    return found


def cores_used(seconds: float) -> float:
    """Return how much of a core this process takes; without a rest of its loop it is nearly all."""
    before, began = time.process_time(), time.monotonic()
    pause(seconds)
    return (time.process_time() - before) / (time.monotonic() - began)


def measure(options: argparse.Namespace) -> None:
    """Measure and print."""
    tokens = StreamTokens([SigningKey("bench", b"k" * 40, None)], SystemClock())
    body = json.dumps(asked(tokens.sign_view("alice", PATH, ttl_s=3600).token))
    with serving(hook_app(tokens), "hook") as hook, serving(empty_app(), "users") as users:
        url = f"{hook}/api/v1/m2m/check-stream-pwd"
        found = {"without": times(url, body, options)}
        with holding(users, ON_USERS):
            cores = cores_used(3.0)
            found[f"{ON_USERS} on the users' port"] = times(url, body, options)
        with holding(hook, ON_HOOK):
            found[f"{ON_HOOK} on the hook's own"] = times(url, body, options)
    bound("cores taken by 1,000 slow clients", cores, at_most=MOST_CORES)
    for name, each in found.items():
        p50, p99 = percentile(each, 50), percentile(each, 99)
        say(f"{name:26} median {p50:6.2f} ms   p99 {p99:6.2f} ms   n {len(each)}")
    quiet, users_ms, own_ms = (percentile(each, 99) for each in found.values())
    slower = max(0.0, users_ms - quiet)
    bound("hook p99 above, 1,000 slow clients of users", slower, "ms", at_most=MOST_ABOVE_MS)
    bound("hook p99 with 200 slow clients of its own", own_ms, "ms", at_most=MOST_OWN_MS)


def main() -> None:
    """Run the benchmark, or the holder of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=2)
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
