"""What the server costs while it records many cameras, against what their FFmpegs cost.

    python benchmarks/fifty_recorders.py [--cameras 50] [--seconds 60] [--kbps 1000]

Starts Postgres, a media server and ``streamwarden serve`` as processes of their own, and connects
every camera as a user would. Each has its own path and tokens; all show one publisher's picture, so
that hardly more than the recording itself is on the machine. After a minute of running it compares
the CPU seconds of the server and of Postgres (all its processes) with those of the recording FFmpegs
over the same time, scraped every 15 s as by Prometheus; then asks for the status and the metrics,
against ``/healthz`` of the same server at the same time; then stops in order.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import urllib3
from _measuring import (
    MB,
    Machine,
    bound,
    cpu_s,
    descriptors,
    pause,
    percentile,
    resident_bytes,
    say,
    tree_cpu_s,
    wait_for,
)
from _site import Site, site

from streamwarden.devkit.video_source import TestPicture

FIRST_MINUTE_S = 60.0
SCRAPED_EVERY_S = 15.0
LATENCY_S = 20.0
FEW = 50


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of one size: CPU as a part of FFmpeg's, resident memory in MB."""

    cpu: float
    resident_mb: float


def limits_of(cameras: int) -> Limits:
    """Return the bounds of issue 2 for fifty cameras, of issue 3 above."""
    if cameras <= FEW:
        return Limits(cpu=0.10, resident_mb=150)
    return Limits(cpu=0.05, resident_mb=250)


@dataclass(frozen=True, kw_only=True)
class Used:
    """CPU seconds so far, of each part."""

    server: float
    postgres: float
    ffmpegs: dict[int, float]
    relay: float

    @classmethod
    def now(cls, place: Site, server: int) -> Used:
        """Look at them now."""
        return cls(
            server=cpu_s(server),
            postgres=tree_cpu_s(place.postgres.pid or 0),
            ffmpegs={pid: cpu_s(pid) for pid in place.recorders(server)},
            relay=cpu_s(place.relay.pid),
        )


class Watched:
    """The server while it runs: its memory and descriptors."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.resident: list[int] = []
        self.descriptors: list[int] = []

    def look(self) -> None:
        """Take one sample."""
        self.resident.append(resident_bytes(self.pid))
        self.descriptors.append(descriptors(self.pid))

    def for_s(self, seconds: float, also: Callable[[], object], every_s: float) -> None:
        """Sample once a second for so long, and do something else every ``every_s``."""
        began, done = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            self.look()
            if passed >= done * every_s:
                also()
                done += 1
            pause(1.0)


def start(place: Site, server: int, options: argparse.Namespace) -> list[UUID]:
    """Connect every camera and wait until all are running."""
    ids = place.add_cameras(options.cameras, segment_seconds=options.segment_seconds)
    picture = TestPicture(width=640, height=360, bitrate_kbps=options.kbps)
    place.publish(ids[0], picture)
    began = time.monotonic()
    for camera_id in ids:
        place.connect(camera_id)
    connected_s = time.monotonic() - began

    def all_run() -> bool:
        states = [stream["status"] for stream in place.streaming("GET", "/streams")["items"]]
        return states.count("running") == len(ids)

    wait_for("all running", all_run, within_s=60 + 0.5 * len(ids), every_s=0.5)
    say(f"connected in {connected_s:.1f} s, all running after {time.monotonic() - began:.1f} s")
    say(f"recording FFmpegs: {len(place.recorders(server))}")
    return ids


def compare(place: Site, watched: Watched, options: argparse.Namespace) -> float:
    """Measure the CPU of one period of plain recording; return the server's part of a core."""
    machine, before, began = Machine.now(), Used.now(place, watched.pid), time.monotonic()
    watched.for_s(options.seconds, place.scrape, SCRAPED_EVERY_S)
    after, took_s = Used.now(place, watched.pid), time.monotonic() - began
    busy = Machine.now().since(machine)
    same = before.ffmpegs.keys() & after.ffmpegs.keys()
    if len(same) < options.cameras:
        say(f"DISTURBED: {options.cameras - len(same)} FFmpegs did not last the whole stretch")
    ffmpegs = sum(after.ffmpegs[pid] - before.ffmpegs[pid] for pid in same)
    server, postgres = after.server - before.server, after.postgres - before.postgres
    say(f"CPU seconds in {took_s:.1f} s (machine {busy:.0%} busy):")
    say(
        f"  {options.cameras} FFmpegs {ffmpegs:.2f}   server {server:.2f}   postgres {postgres:.2f}"
    )
    say(
        f"  server {server / took_s:.1%} of a core; media server {after.relay - before.relay:.2f} s"
    )
    bound(
        f"CPU of server and Postgres over that of {options.cameras} FFmpegs",
        (server + postgres) / ffmpegs,
        at_most=limits_of(options.cameras).cpu,
    )
    return server / took_s


class Asking:
    """What the page and Prometheus ask, over connections that stay open."""

    def __init__(self, place: Site, ids: Sequence[UUID]) -> None:
        self._pool = urllib3.PoolManager(retries=False, timeout=10)
        self._ids = itertools.cycle(ids)
        token = {"Authorization": place.authorization}
        internal = {"X-Internal-Token": place.internal_token}
        self._asked: dict[str, tuple[str, dict[str, str]]] = {
            "healthz": (f"{place.api_url}/healthz", {}),
            "status": (f"{place.api_url}/api/v1/camera/{{}}/stream/status", token),
            "streaming status": (f"{place.streaming_url}/streams/{{}}", internal),
            "metrics": (f"{place.streaming_url}/metrics", {}),
        }
        self.taken_ms: dict[str, list[float]] = {name: [] for name in self._asked}

    def ask(self, name: str) -> None:
        """Ask once, and note how long it took."""
        url, headers = self._asked[name]
        began = time.monotonic()
        answer = self._pool.request("GET", url.format(next(self._ids)), headers=headers)
        self.taken_ms[name].append((time.monotonic() - began) * 1000)
        assert answer.status == 200, (name, answer.status)

    def cpu_ms(self, server: int, name: str, *, times: int, load: float) -> float:
        """Return the server's CPU for one answer, without the ``load`` of recording meanwhile.

        It grows less than the time does when others use the machine.
        """
        used, began = cpu_s(server), time.monotonic()
        for _ in range(times):
            self.ask(name)
        recording_s = load * (time.monotonic() - began)
        return max(0.0, cpu_s(server) - used - recording_s) / times * 1000

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def latencies(place: Site, server: int, ids: Sequence[UUID], *, load: float) -> None:
    """Ask as the page and as Prometheus do, and print how long that took."""
    asking = Asking(place, ids)
    try:
        ends = time.monotonic() + LATENCY_S
        for turn in itertools.count():
            for name in ("healthz", "status", "streaming status"):
                asking.ask(name)
            if turn % 20 == 0:
                asking.ask("metrics")
            if time.monotonic() > ends:
                break
            pause(0.05)
        taken = {name: list(found) for name, found in asking.taken_ms.items()}
        costs = {name: asking.cpu_ms(server, name, times=20, load=load) for name in taken}
    finally:
        asking.close()
    for name, found in taken.items():
        p50, p99 = percentile(found, 50), percentile(found, 99)
        say(
            f"{name:18} median {p50:6.2f} ms   p99 {p99:6.2f} ms   n {len(found)}"
            f"   CPU {costs[name]:.2f} ms"
        )
    cameras, idle_p99 = len(ids), percentile(taken["healthz"], 99)
    say(f"status p99 above that of healthz: {percentile(taken['status'], 99) - idle_p99:.2f} ms")
    bound(f"metrics of {cameras}, p95", percentile(taken["metrics"], 95), "ms", at_most=50)
    bound(f"status of {cameras}, p99", percentile(taken["status"], 99), "ms", at_most=10)


def stop(place: Site, server: subprocess.Popen[bytes], cameras: int) -> None:
    """Stop in order, and compare the index with the disk."""
    began = time.monotonic()
    server.terminate()
    code = server.wait(60)
    took_s = time.monotonic() - began
    files = sum(1 for path in place.record_root.rglob("*.mp4") if ".live" not in path.parts)
    left = len(list(place.record_root.rglob(".live/*.mp4")))
    rows = place.count_segments()
    say(f"stopped in {took_s:.1f} s with code {code}; {rows} rows, {files} files, {left} left over")
    bound(f"SIGTERM to the end, {cameras} recorders", took_s, "s", at_most=10)
    bound(f"files without a row, {cameras} recorders", abs(files - rows) + left, at_most=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="The server's cost over that of its FFmpegs.")
    parser.add_argument("--cameras", type=int, default=FEW)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kbps", type=int, default=1000)
    parser.add_argument("--segment-seconds", type=int, default=30)
    options = parser.parse_args(arguments)
    with site(one_picture=True) as place, place.serving() as server:
        ids = start(place, server.pid, options)
        watched = Watched(server.pid)
        watched.for_s(FIRST_MINUTE_S, place.scrape, SCRAPED_EVERY_S)
        most_descriptors = max(watched.descriptors)
        load = compare(place, watched, options)
        latencies(place, server.pid, ids, load=load)
        watched.look()
        cameras = options.cameras
        resident = max(watched.resident) / MB
        most_mb = limits_of(cameras).resident_mb
        bound(f"resident, {cameras} recorders", resident, "MB", at_most=most_mb)
        grown = max(watched.descriptors) - most_descriptors
        say(f"descriptors: {most_descriptors} after the first minute, {grown:+d} later")
        bound(f"descriptors above the first minute's, {cameras} recorders", grown, at_most=0)
        stop(place, server, cameras)


if __name__ == "__main__":
    main()
