"""Whether actors, timers, watcher and indexer keep up with a thousand recorders.

    python benchmarks/thousand_recorders.py [--cameras 1000] [--seconds 60]

Runs both roles in this process, as ``serve`` does, with a stand-in for FFmpeg: a shell that passes
its segment list on from a pipe and ends on SIGTERM as FFmpeg does. One feeder process writes the
media of all of them and tells the shells what to list, so that recorders cost next to nothing and the
server is all that is measured. The desired state is in the database: the start is that of a server that
comes back, with a read token for each camera. Samples every second, for ``--seconds`` from when all
are running: inbox depths and journal by the metrics, how late a timer fires, how late the watcher
carries out a command. Prints what it costs next to a hundred recorders of the same kind.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from _measuring import (
    MB,
    bound,
    cpu_s,
    descriptors,
    pause,
    percentile,
    resident_bytes,
    say,
    wait_for,
)
from _site import OWNER, Site, end, site
from kill_gap import journal_rows

from streamwarden.app import resources
from streamwarden.clock import Clock
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.watcher import RunWatcher
from streamwarden.paths import live_name
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.migrate import migrate
from streamwarden.storage.pool import Database
from streamwarden.storage.streams import StreamRepository
from streamwarden.timers import Timers

STOP_WITHIN_S = 30.0
SPAWN_EVERY_S = 0.01
"""A stand-in starts in a few milliseconds: FFmpeg's pace would only make the benchmark longer."""
FRAGMENT_EVERY_S = 1.0
FEW = 100

SHELL = """
trap 'echo "$next"; exit 255' TERM
while read -r line next; do test "$line" = - || echo "$line"; done < "$1"
"""
"""Each line of the pipe: what to list now (``-``: nothing), and what to list on SIGTERM."""


# The feeder, a process of its own


@dataclass
class Fed:
    """One stand-in as the feeder knows it."""

    folder: Path
    run: int
    pipe: Path
    born_s: float
    number: int = 0
    media: int = -1
    to: int = -1

    def listed(self, from_s: float, to_s: float) -> str:
        """Return the segment list's line for the open segment."""
        return f"{live_name(self.run, self.number)},{from_s:f},{to_s:f}"


class Feeder:
    """Writes the media of every stand-in and tells each what to list."""

    def __init__(self, header: bytes, fragment: bytes, segment_s: float) -> None:
        self._header, self._fragment = header, fragment
        self._segment_s = segment_s
        self._due: deque[tuple[float, Fed]] = deque()
        self.listed = 0

    def add(self, line: str) -> None:
        """Take a new stand-in over: its folder, run and pipe."""
        folder, run, pipe = line.rstrip("\n").split("\t")
        now = time.monotonic()
        self._due.append((now, Fed(Path(folder), int(run), Path(pipe), now)))

    def turn(self) -> None:
        """Give each whose time has come its next fragment."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due_s, fed = self._due.popleft()
            with suppress(BrokenPipeError, FileNotFoundError):
                self._feed(fed, now)
                self._due.append((due_s + FRAGMENT_EVERY_S, fed))

    def _feed(self, fed: Fed, now: float) -> None:
        if fed.to < 0:
            # The shell may not have opened its end yet: the next turn tries again.
            with suppress(OSError):
                fed.to = os.open(fed.pipe, os.O_WRONLY | os.O_NONBLOCK)
                self._open(fed)
            return
        if _is_alone(fed.to):
            # Nobody reads any more: a stand-in that has ended writes nothing.
            raise BrokenPipeError
        from_s = fed.number * self._segment_s
        if now - fed.born_s >= from_s + self._segment_s:
            os.close(fed.media)
            line = fed.listed(from_s, from_s + self._segment_s)
            fed.number += 1
            self._open(fed, line)
            self.listed += 1
        os.write(fed.media, self._fragment)

    def _open(self, fed: Fed, line: str = "-") -> None:
        fed.media = os.open(
            fed.folder / live_name(fed.run, fed.number), os.O_WRONLY | os.O_CREAT, 0o640
        )
        os.write(fed.media, self._header + self._fragment)
        at_end = fed.listed(fed.number * self._segment_s, (fed.number + 0.5) * self._segment_s)
        os.write(fed.to, f"{line} {at_end}\n".encode())


def _is_alone(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def feed(media: Path, segment_s: float) -> None:
    """Be the feeder until standard input ends; then say how many segments were listed."""
    header, fragment = split(media.read_bytes())
    feeder = Feeder(header, fragment, segment_s)
    lines: deque[str] = deque()
    over = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            lines.append(line)
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    while not over.is_set():
        while lines:
            feeder.add(lines.popleft())
        feeder.turn()
        pause(0.02)
    print(feeder.listed, flush=True)


def split(file: bytes) -> tuple[bytes, bytes]:
    """Return a fragmented file's header and its first fragment."""
    position = 0
    ends: dict[bytes, int] = {}
    while position + 8 <= len(file):
        size, kind = (
            int.from_bytes(file[position : position + 4]),
            file[position + 4 : position + 8],
        )
        position += size
        ends.setdefault(kind, position)
    return file[: ends[b"moov"]], file[ends[b"moov"] : ends[b"mdat"]]


def make_media(ffmpeg: str, folder: Path) -> Path:
    """Return a file of one small fragment, made by the real FFmpeg."""
    file = folder / "fragment.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1"]
    flags = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"]
    argv = [ffmpeg, "-v", "error", *source, "-c:v", "libx264", "-bf", "0", *flags, str(file)]
    subprocess.run(argv, check=True, timeout=30)
    return file


# The server, in this process


@dataclass
class StandIns:
    """What the server is given in FFmpeg's place; remembers the watcher and the timers it made."""

    pipes: Path
    feeder: subprocess.Popen[bytes]
    watcher: RunWatcher | None = None
    timers: Timers | None = None
    spawned: int = 0

    def argv(self, _ffmpeg: str, order: RunOrder) -> list[str]:
        """Return the command of one stand-in, and have it fed."""
        self.spawned += 1
        pipe = self.pipes / str(self.spawned)
        os.mkfifo(pipe)
        assert self.feeder.stdin
        self.feeder.stdin.write(f"{order.folder}\t{order.run}\t{pipe}\n".encode())
        self.feeder.stdin.flush()
        shell = ["sh", "-c", SHELL, "sh", str(pipe)]
        return ["setpriv", "--pdeathsig", "KILL", "--", *shell]

    def make_watcher(self, **settings: object) -> RunWatcher:
        """Make the watcher, with the stand-in's command."""
        self.watcher = RunWatcher(**settings | {"argv": self.argv})  # type: ignore[arg-type]
        return self.watcher

    def make_timers(self) -> Timers:
        """Make the timers."""
        self.timers = Timers()
        return self.timers


@contextmanager
def standing_in(place: Site, segment_s: float) -> Iterator[StandIns]:
    """Have the server record with stand-ins."""
    media = make_media(place.ffmpeg, place.folder)
    pipes = place.folder / "pipes"
    pipes.mkdir()
    argv = [sys.executable, __file__, "--feed", str(media), "--segment-seconds", str(segment_s)]
    feeder = place.child(argv, "feeder", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stand_ins = StandIns(pipes, feeder)
    changed = {
        "RunWatcher": stand_ins.make_watcher,
        "Timers": stand_ins.make_timers,
        "SPAWN_EVERY_CORE_S": SPAWN_EVERY_S * (os.cpu_count() or 1),
    }
    before = {name: getattr(resources, name) for name in changed}
    for name, value in changed.items():
        setattr(resources, name, value)
    try:
        yield stand_ins
    finally:
        for name, value in before.items():
            setattr(resources, name, value)


def want_all(place: Site, cameras: int, segment_s: float) -> list[UUID]:
    """Write cameras, and that all are wanted, into the database."""
    migrate(place.database_url)
    database = Database(place.database_url, application_name="bench")
    database.open()
    try:
        now = Clock().now()
        with database.connection() as connection:
            connection.execute(
                b"insert into settings (key, value) values ('video_segment_seconds', %s::jsonb)",
                (str(int(segment_s)),),
            )
        added = [
            CameraRepository(database).add(name=f"Camera {n}", owner=OWNER, created_at=now)
            for n in range(cameras)
        ]
        for camera in added:
            StreamRepository(database).want(camera, requested_by=OWNER, at=Clock().now())
        return [camera.id for camera in added]
    finally:
        database.close()


@dataclass
class Lateness:
    """How late something comes that is asked for again and again."""

    taken_s: list[float] = field(default_factory=list)

    def ask(self, way: Callable[[Callable[[], None]], object], due_in_s: float = 0.0) -> None:
        """Ask ``way`` to call back, and note how much later than due it does."""
        due = time.monotonic() + due_in_s
        way(lambda: self.taken_s.append(time.monotonic() - due))


@dataclass
class Samples:
    """What was seen once a second."""

    inboxes: dict[str, list[int]] = field(default_factory=dict)
    journal: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    timer: Lateness = field(default_factory=Lateness)
    watcher: Lateness = field(default_factory=Lateness)

    def look(self, place: Site, stand_ins: StandIns) -> None:
        """Take one sample."""
        assert stand_ins.timers
        assert stand_ins.watcher
        timers = stand_ins.timers
        self.timer.ask(lambda call: timers.after(0.1, call), 0.1)
        self.watcher.ask(stand_ins.watcher.enqueue)
        for name, depth in depths(place.scrape()):
            self.inboxes.setdefault(name, []).append(depth)
        self.journal.append(journal_rows(place))
        self.resident.append(resident_bytes(os.getpid()))


def depths(exposition: str) -> Iterator[tuple[str, int]]:
    """Yield the deepest inbox of each kind of actor."""
    for line in exposition.splitlines():
        if line.startswith("streamwarden_actor_inbox_depth{"):
            labels, _, value = line.rpartition(" ")
            yield labels.partition('"')[2].rpartition('"')[0], int(float(value))


def running(place: Site) -> int:
    """Return how many recorders record."""
    items = place.streaming("GET", "/streams")["items"]
    return sum(item["status"] == "running" for item in items)


def run(cameras: int, options: argparse.Namespace, *, judge: bool) -> float:
    """Start, run and stop so many; return the server's CPU seconds a second meanwhile."""
    with ExitStack() as stack:
        place = stack.enter_context(site(stop_timeout_s=STOP_WITHIN_S))
        stand_ins = stack.enter_context(standing_in(place, options.segment_seconds))
        want_all(place, cameras, options.segment_seconds)
        samples = Samples()
        began = time.monotonic()
        with place.serving_here():
            wait_for("all running", lambda: running(place) == cameras, within_s=180, every_s=0.5)
            started_s = time.monotonic() - began
            first_descriptors = descriptors(os.getpid())
            used, at = cpu_s(os.getpid()), time.monotonic()
            while time.monotonic() - at < options.seconds:
                samples.look(place, stand_ins)
                pause(1.0)
            load = (cpu_s(os.getpid()) - used) / (time.monotonic() - at)
            runs = stand_ins.spawned
            grown = descriptors(os.getpid()) - first_descriptors
            began = time.monotonic()
        stopped_s = time.monotonic() - began
        listed = told(stand_ins.feeder)
        say(
            f"{cameras} recorders: all running after {started_s:.1f} s, stopped in {stopped_s:.1f} s"
        )
        say(f"  {load:.1%} of a core, {load / cameras * 1e6:.0f} us a second and recorder")
        rows, left = place.count_segments(), len(list(place.record_root.rglob(".live/*.mp4")))
        say(f"  {runs} runs; {listed} segments listed while running, {rows} rows, {left} left over")
        if judge:
            report(cameras, samples, grown=grown)
            bound(f"stop of {cameras} recorders", stopped_s, "s", at_most=STOP_WITHIN_S)
            bound("runs beyond one a recorder", runs - cameras, at_most=0)
            # On SIGTERM each stand-in lists the segment that is open.
            bound("segments without a row", listed + cameras - rows + left, at_most=0)
    return load


def told(feeder: subprocess.Popen[bytes]) -> int:
    """End the feeder; return how many segments it has had listed."""
    assert feeder.stdin
    assert feeder.stdout
    feeder.stdin.close()
    listed = int(feeder.stdout.readline())
    feeder.wait(10)
    feeder.stdin = None
    end(feeder)
    return listed


def report(cameras: int, samples: Samples, *, grown: int) -> None:
    """Print whether everything kept up."""
    for name, seen in samples.inboxes.items():
        say(f"  inbox of {name:16} median {percentile(seen, 50):5.0f}  most {max(seen):5}")
    deepest = percentile([max(one) for one in zip(*samples.inboxes.values(), strict=False)], 95)
    bound(f"deepest inbox of {cameras} recorders, p95", deepest, "messages", at_most=cameras / 10)
    bound("rows in the journal at the end", samples.journal[-1], at_most=cameras / 10)
    timer_ms = percentile(samples.timer.taken_s, 95) * 1000
    watcher_ms = percentile(samples.watcher.taken_s, 95) * 1000
    bound("a timer's lateness, p95", timer_ms, "ms", at_most=100)
    bound("a command's wait in the watcher, p95", watcher_ms, "ms", at_most=100)
    bound("descriptors more at the end", grown, at_most=0)
    say(f"  resident {max(samples.resident) / MB:.0f} MB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it, or be its feeder."""
    parser = argparse.ArgumentParser(description="A thousand recorders with a stand-in child.")
    parser.add_argument("--cameras", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--segment-seconds", type=float, default=30.0)
    parser.add_argument("--feed", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.feed:
        feed(options.feed, options.segment_seconds)
        return
    few = run(min(FEW, options.cameras), options, judge=False)
    gc.collect()
    many = run(options.cameras, options, judge=True)
    times = options.cameras / min(FEW, options.cameras)
    say(f"{times:g} times the recorders cost {many / max(few, 0.001):.1f} times the CPU")


if __name__ == "__main__":
    main()
