"""Fifty connects a second, sustained, on cameras that are being recorded, beside an empty call.

    python benchmarks/connect_rate.py [--cameras 20] [--rate 50] [--seconds 30]

Users come back to pages that press the button again: each connect is decided, its desired state written, a
token signed, the streaming role told. In turns with ``/healthz`` of the same server, each request is
sent when it is due, whether or not those before it were answered; its time counts from then. Prints
the answers that were no 200, and both 99th percentiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from uuid import UUID

import urllib3
from _measuring import bound, pause, percentile, say, spread, wait_for
from _site import Site, site
from urllib3.exceptions import HTTPError

from streamwarden.devkit.video_source import TestPicture

SENDERS = 32
SEGMENT_SECONDS = 30
OK = 200


class Answers:
    """The times of one kind of call in milliseconds, and what was no 200."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.taken_ms: list[float] = []
        self.refused: list[str] = []

    def ask(self, due: float, send: Callable[[], int]) -> None:
        """Send what was due at ``due`` on the monotonic clock."""
        try:
            status = send()
        except HTTPError as error:
            self.refused.append(type(error).__name__)
            return
        self.taken_ms.append((time.monotonic() - due) * 1000)
        if status != OK:
            self.refused.append(str(status))


def connect(http: urllib3.PoolManager, place: Site, camera_id: UUID) -> int:
    """Press the button; return the status."""
    url = f"{place.api_url}/api/v1/camera/{camera_id}/stream/connect"
    headers = {"Authorization": place.authorization, "Content-Type": "application/json"}
    return http.request("POST", url, body=b"{}", headers=headers).status


def empty(http: urllib3.PoolManager, place: Site) -> int:
    """Ask what costs nothing."""
    return http.request("GET", f"{place.api_url}/healthz").status


def send_all(place: Site, ids: list[UUID], options: argparse.Namespace) -> tuple[Answers, Answers]:
    """Send both kinds at the rate, each in its own turn."""
    pressed, idle = Answers("connect"), Answers("healthz")
    http = urllib3.PoolManager(retries=False, timeout=10, maxsize=SENDERS)
    sent: list[Future[None]] = []
    with ThreadPoolExecutor(SENDERS) as senders:
        began = time.monotonic()
        for number in range(options.rate * options.seconds):
            due = began + number / options.rate
            pause(max(0.0, due - time.monotonic()))
            press = partial(connect, http, place, ids[number % len(ids)])
            sent += [
                senders.submit(pressed.ask, due, press),
                senders.submit(idle.ask, due, partial(empty, http, place)),
            ]
    for one in sent:
        one.result()
    http.clear()
    return pressed, idle


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Connects at a fixed rate.")
    parser.add_argument("--cameras", type=int, default=20)
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    with site(one_picture=True) as place, place.serving() as server:
        ids = place.add_cameras(options.cameras, segment_seconds=SEGMENT_SECONDS)
        place.publish(ids[0], TestPicture(width=640, height=360, bitrate_kbps=500))
        for camera_id in ids:
            place.connect(camera_id)
        wait_for("all recorded", lambda: len(place.recorders(server.pid)) == len(ids), within_s=60)
        pressed, idle = send_all(place, ids, options)
        runs = len(place.recorders(server.pid))
    for each in (pressed, idle):
        spread(f"{each.name} at {options.rate} a second", each.taken_ms, "ms")
    say(f"recorders before and after: {len(ids)}, {runs}; refused: {pressed.refused[:5]}")
    above = percentile(pressed.taken_ms, 99) - percentile(idle.taken_ms, 99)
    say(f"connect p99 above that of healthz: {above:.1f} ms")
    errors = len(pressed.refused) + len(idle.refused)
    bound(f"errors of {len(pressed.taken_ms)} connects", errors, at_most=0)


if __name__ == "__main__":
    main()
