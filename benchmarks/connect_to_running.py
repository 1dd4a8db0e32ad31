"""From ``connect`` to ``running``, against the same FFmpeg command started by hand.

    python benchmarks/connect_to_running.py [--rounds 20]

One camera publishes all the time, with a key frame a second. In turns, the bare command of the
recorder is started, until its first fragment is on disk; and ``connect`` is called on the started
program, until its status says ``running``. Prints the 95th percentile of each and the difference.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from _measuring import bound, pause, percentile, spread, wait_for
from _site import Site, site

from streamwarden.devkit.video_source import TestPicture
from streamwarden.ffmpeg.command import ENVIRONMENT, RunOrder, recording_argv
from streamwarden.mp4.fragments import init_bytes
from streamwarden.paths import live_name

LOOK_EVERY_S = 0.01
MOST_ABOVE_S = 1.0
SEGMENT_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class BareRun(RunOrder):
    """The order of a recorder, with its usual values."""

    run: int = 1
    segment_seconds: int = SEGMENT_SECONDS
    audio: str = "copy"
    probe_s: float = 1.0


def holds_a_fragment(file: Path) -> bool:
    """Return whether more than the header is on disk: what the watcher takes for recording."""
    try:
        fd = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        header = init_bytes(fd)
        return header is not None and os.fstat(fd).st_size > header
    finally:
        os.close(fd)


def bare(place: Site, camera_id: UUID, number: int) -> float:
    """Start FFmpeg by hand; return how long its first fragment took."""
    folder = place.folder / f"bare-{number}"
    folder.mkdir()
    order = BareRun(url=place.read_url(camera_id), folder=folder)
    began = time.monotonic()
    process = subprocess.Popen(
        recording_argv(place.ffmpeg, order),
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        file = folder / live_name(order.run, 0)
        wait_for("the bare fragment", lambda: holds_a_fragment(file), every_s=LOOK_EVERY_S)
        return time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def connected(place: Site, camera_id: UUID) -> float:
    """Press the button; return how long it took until the status is ``running``."""

    def status() -> str:
        return str(place.api.status(camera_id)["status"])

    began = time.monotonic()
    place.connect(camera_id)
    wait_for("running", lambda: status() == "running", every_s=LOOK_EVERY_S)
    took_s = time.monotonic() - began
    place.api.disconnect(camera_id)
    wait_for("stopped", lambda: status() == "stopped")
    return took_s


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="From connect to running.")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    by_hand: list[float] = []
    by_button: list[float] = []
    with site() as place, place.serving():
        (camera_id,) = place.add_cameras(1, segment_seconds=SEGMENT_SECONDS)
        place.publish(camera_id, TestPicture())
        connected(place, camera_id)  # warms up
        for number in range(options.rounds):
            # So that each meets the key frames at another moment.
            pause(random.random())  # noqa: S311 - a sample
            by_hand.append(bare(place, camera_id, number))
            pause(random.random())  # noqa: S311 - likewise
            by_button.append(connected(place, camera_id))
    spread("bare FFmpeg to its first fragment", by_hand)
    spread("connect to running", by_button)
    above_s = percentile(by_button, 95) - percentile(by_hand, 95)
    bound("connect to running, p95 over the bare FFmpeg's", above_s, "s", at_most=MOST_ABOVE_S)


if __name__ == "__main__":
    main()
