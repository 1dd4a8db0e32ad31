"""What an FFmpeg's death, a make before break and an actor's crash cost in frames.

    python benchmarks/kill_gap.py [--kills 30] [--changes 10]

Three cameras publish a picture with a burnt-in clock in which no two frames are alike, a key frame a
second. FFmpegs are killed with SIGKILL; runs are replaced through ``POST /streams/{id}/restart``; and
recorders are sent a message that raises. Segments are short, so that a run has closed one before it is
hit. Afterwards the files are compared, frame by frame, with those of bare FFmpegs that have read the
same cameras all the time and were left alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import pykka
from _measuring import bound, pause, percentile, say, spread, wait_for
from _site import Site, end, site
from connect_to_running import BareRun, holds_a_fragment

from streamwarden.actors.recorder import RecorderActor
from streamwarden.devkit.clock_reading import clock_in_file, moment_of
from streamwarden.devkit.video_source import TestPicture
from streamwarden.ffmpeg.command import DIE_WITH_PARENT, ENVIRONMENT, recording_argv
from streamwarden.model import Gap, Segment
from streamwarden.paths import live_name
from streamwarden.supervision import tell

KEY_FRAME_S = 1.0
FPS = 25
SEGMENT_SECONDS = 2
REACTION_S = 0.6
CLOCK_STEP_S = 0.1
"""The burnt-in clock shows tenths: a frame was captured up to this much after its reading."""
CAMERAS = 3


class UnlikeFrames(TestPicture):
    """The test picture with a grain: the same frame never comes twice."""

    def _video(self) -> str:
        return super()._video().replace(",realtime,", ",noise=alls=6:allf=t,realtime,", 1)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Something done to one camera's run."""

    camera_id: UUID
    at: datetime
    run: int


class Reference:
    """A bare FFmpeg that reads the same camera all the time, into one file."""

    def __init__(self, place: Site, camera_id: UUID, name: str) -> None:
        self.camera_id = camera_id
        self.folder = place.folder / f"{name}-{camera_id}"
        self.folder.mkdir()
        order = BareRun(
            url=place.read_url(camera_id), folder=self.folder, segment_seconds=3600, audio="none"
        )
        argv = recording_argv(place.ffmpeg, order)[len(DIE_WITH_PARENT) :]
        self._process = place.child(
            argv, name, cwd=self.folder, environ=ENVIRONMENT, stdout=subprocess.DEVNULL
        )
        self.file = self.folder / live_name(order.run, 0)
        wait_for("the reference", lambda: holds_a_fragment(self.file))

    def stop(self) -> None:
        """Finish the file."""
        end(self._process)


def frames(ffmpeg: str, file: Path) -> list[str]:
    """Return the hash of each video frame of a file as it was encoded."""
    argv = [ffmpeg, "-v", "error", "-nostdin", "-i", str(file), "-map", "0:v", "-c", "copy"]
    argv += ["-f", "framehash", "-hash", "md5", "-"]
    said = subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60).stdout
    return [line.rpartition(",")[2].strip() for line in said.splitlines() if line[0] != "#"]


def missing(place: Site, reference: Reference, segments: Sequence[Segment]) -> list[int]:
    """Return how many frames are missing in each hole between the first and the last recorded."""
    whole = frames(place.ffmpeg, reference.file)
    assert len(set(whole)) == len(whole), "the reference has frames that are alike"
    recorded: set[str] = set()
    for segment in segments:
        recorded.update(frames(place.ffmpeg, place.record_root / segment.path))
    there = [frame in recorded for frame in whole]
    first, last = there.index(True), len(there) - 1 - there[::-1].index(True)
    holes = itertools.groupby(there[first:last])
    return [len(list(hole)) for is_there, hole in holes if not is_there]


# What is done


def settled(place: Site, camera_id: UUID) -> int:
    """Wait until a run records and has closed a segment; return its number."""

    def run() -> int:
        status = place.streaming("GET", f"/streams/{camera_id}")
        if status["status"] != "running":
            return 0
        whole = [s for s in place.segments(camera_id) if s.run == status["run"] and not s.salvaged]
        return int(status["run"]) if whole else 0

    return wait_for("a settled run", run, every_s=0.1)


def kill(place: Site, server: int, camera_id: UUID) -> Hit:
    """Kill a recording FFmpeg at any moment between two key frames."""
    pause(random.random() * KEY_FRAME_S)  # noqa: S311 - a sample
    # A run may just be replaced, for its sound or its format.
    wait_for("one recorder", lambda: len(place.recorder(server, camera_id)) == 1)
    run = settled(place, camera_id)
    (pid,) = place.recorder(server, camera_id)
    at = datetime.now(UTC)
    os.kill(pid, signal.SIGKILL)

    def noticed() -> bool:
        status = place.streaming("GET", f"/streams/{camera_id}")
        return bool(status["status"] != "running" or status["run"] > run)

    # Otherwise the dead run may pass for a settled one at the end.
    wait_for("a noticed kill", noticed)
    return Hit(camera_id=camera_id, at=at, run=run)


def replace(place: Site, server: int, camera_id: UUID) -> None:
    """Replace a run by make before break, and wait until the new one is alone."""
    run = settled(place, camera_id)
    pause(random.random() * KEY_FRAME_S)  # noqa: S311 - a sample
    place.streaming("POST", f"/streams/{camera_id}/restart")
    wait_for(
        "the next run",
        lambda: int(place.streaming("GET", f"/streams/{camera_id}")["run"]) > run,
    )
    wait_for(
        "the end of the last run",
        lambda: (
            len(place.recorder(server, camera_id)) == 1
            and place.streaming("GET", f"/streams/{camera_id}")["status"] == "running"
        ),
    )


def crash_all() -> int:
    """Make every recorder fail, and wait for their next incarnations; return how many failed."""
    before = pykka.ActorRegistry.get_by_class(RecorderActor)
    for recorder in before:
        tell(recorder, "a message that no recorder takes")

    def all_new() -> bool:
        now = pykka.ActorRegistry.get_by_class(RecorderActor)
        return len(now) == len(before) and not set(now) & set(before)

    wait_for("the next incarnations", all_new)
    return len(before)


# What it cost


@dataclass(frozen=True, kw_only=True)
class NextFrame:
    """The first frame recorded after a hit: when captured, and how much sooner the index has it."""

    after_s: float
    index_early_s: float


def next_frame(place: Site, hit: Hit, segments: Iterable[Segment]) -> NextFrame:
    """Return the next recorded frame by its burnt-in clock, at the latest that it can mean."""
    follower = min(
        (segment for segment in segments if segment.run > hit.run),
        key=lambda segment: (segment.run, segment.number),
    )
    reading = clock_in_file(place.ffmpeg, place.record_root / follower.path)
    assert reading is not None, f"no clock in {follower.path}"
    captured = moment_of(reading, near=follower.started_at)
    return NextFrame(
        after_s=(captured - hit.at).total_seconds() + CLOCK_STEP_S,
        index_early_s=(captured - follower.started_at).total_seconds() + CLOCK_STEP_S / 2,
    )


def gap_of(hit: Hit, gaps: Iterable[Gap]) -> Gap | None:
    """Return the gap that brackets the hit."""
    return next(
        (gap for gap in gaps if gap.started_at <= hit.at and (gap.ended_at or hit.at) >= hit.at),
        None,
    )


def report_kills(place: Site, hits: Sequence[Hit], references: Sequence[Reference]) -> None:
    """Print what killing cost."""
    segments = {one.camera_id: place.segments(one.camera_id) for one in references}
    gaps = {one.camera_id: place.gaps(one.camera_id) for one in references}
    followers = [next_frame(place, hit, segments[hit.camera_id]) for hit in hits]
    after = [follower.after_s for follower in followers]
    found = [gap_of(hit, gaps[hit.camera_id]) for hit in hits]
    rightly = [gap for gap in found if gap is not None and gap.cause == "ffmpeg_crashed"]
    lengths = [(gap.ended_at - gap.started_at).total_seconds() for gap in rightly if gap.ended_at]
    holes = [
        hole / FPS
        for reference in references
        for hole in missing(place, reference, segments[reference.camera_id])
    ]
    spread("kill to the capture of the next frame", after)
    spread("index before the clock at the next frame", [one.index_early_s for one in followers])
    spread("gap on the ledger", lengths)
    spread("frames missing against the bare FFmpeg", holes)
    n = len(hits)
    bound(
        f"kill to the next recorded frame, p95 of {n}",
        percentile(after, 95),
        "s",
        at_most=REACTION_S + KEY_FRAME_S,
    )
    bound(
        f"gap on the ledger, p95 of {n}",
        percentile(lengths, 95),
        "s",
        at_most=REACTION_S + 2 * KEY_FRAME_S,
    )
    bound(f"kills without an ffmpeg_crashed gap around them, of {n}", n - len(lengths), at_most=0)
    others = sum(len(rows) for rows in gaps.values()) - len(lengths)
    say(f"gaps in all: {len(lengths)} around kills, {others} others (the start is one a camera)")


def report_none_missing(
    name: str, place: Site, references: Sequence[Reference], *, since: datetime
) -> None:
    """Print how many frames are missing, and the gaps that should not be there."""
    lost = gaps = 0
    for reference in references:
        lost += sum(missing(place, reference, place.segments(reference.camera_id)))
        gaps += sum(gap.started_at >= since for gap in place.gaps(reference.camera_id))
    bound(f"frames missing after {name}", lost, at_most=0)
    bound(f"gaps on the ledger after {name}", gaps, at_most=0)


# The benchmark


def begin(place: Site) -> list[UUID]:
    """Add cameras that publish."""
    ids = place.add_cameras(CAMERAS, segment_seconds=SEGMENT_SECONDS)
    for camera_id in ids:
        place.publish(camera_id, UnlikeFrames(width=640, height=360, fps=FPS))
    return ids


def connect_all(place: Site, ids: Iterable[UUID]) -> None:
    """Have them recorded."""
    for camera_id in ids:
        place.connect(camera_id)
    for camera_id in ids:
        settled(place, camera_id)


def finish(place: Site, references: Sequence[Reference]) -> None:
    """Let every camera close its segments; the references outlast them."""
    for reference in references:
        settled(place, reference.camera_id)
        place.api.disconnect(reference.camera_id)
    for reference in references:
        wait_for("stopped", partial(is_stopped, place, reference.camera_id))
        reference.stop()
    wait_for("an empty journal", lambda: journal_rows(place) == 0, every_s=0.5)


def is_stopped(place: Site, camera_id: UUID) -> bool:
    """Return whether the camera is recorded no longer."""
    return bool(place.streaming("GET", f"/streams/{camera_id}")["status"] == "stopped")


def journal_rows(place: Site) -> float:
    """Return how many rows wait for Postgres."""
    lines = place.scrape().splitlines()
    (line,) = (one for one in lines if one.startswith("streamwarden_index_journal_segments "))
    return float(line.split()[1])


def kill_and_replace(options: argparse.Namespace) -> None:
    """Kill FFmpegs and replace runs of the started program."""
    with site() as place, place.serving() as server:
        ids = begin(place)
        references = [Reference(place, one, "kills") for one in ids]
        connect_all(place, ids)
        turns = itertools.cycle(ids)
        hits = [kill(place, server.pid, next(turns)) for _ in range(options.kills)]
        finish(place, references)
        report_kills(place, hits, references)
    with site() as place, place.serving() as server:
        ids = begin(place)
        references = [Reference(place, one, "changes") for one in ids]
        connect_all(place, ids)
        since, turns = datetime.now(UTC), itertools.cycle(ids)
        for _ in range(options.changes):
            replace(place, server.pid, next(turns))
        finish(place, references)
        name = f"{options.changes} makes before breaks"
        report_none_missing(name, place, references, since=since)


def crash(options: argparse.Namespace) -> None:
    """Crash recorders of roles that run in this process."""
    with site() as place, place.serving_here():
        ids = begin(place)
        references = [Reference(place, one, "crashes") for one in ids]
        connect_all(place, ids)
        since, done = datetime.now(UTC), 0
        while done < options.changes:
            done += crash_all()
            pause(0.5 + random.random() * SEGMENT_SECONDS)  # noqa: S311 - a sample
        finish(place, references)
        report_none_missing(f"{done} crashes of recorders", place, references, since=since)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="What a kill, a change and a crash cost.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--changes", type=int, default=10)
    options = parser.parse_args()
    began = time.monotonic()
    kill_and_replace(options)
    crash(options)
    say(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
