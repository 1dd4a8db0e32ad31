"""What a recorder relies on in whoever keeps its runs: the same for the watcher and its fake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import pytest

from streamwarden.clock import Clock
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.watcher import RunHandle, RunWatcher, TokenBucket
from streamwarden.model import Cause
from tests.fakes.manual_time import ManualClock
from tests.fakes.recording import FakeWatcher
from tests.integration.ffmpeg.recording_listener import RecordingListener

CAMERA = UUID(int=5)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class WatcherHarness(Protocol):
    """A watcher of runs, and what FFmpeg does in it."""

    def adopt(self, listener: RecordingListener) -> RunHandle: ...
    def order(self, run: int) -> RunOrder: ...
    def finish(self, run: int, number: int) -> None: ...
    def crash(self, run: int) -> None: ...
    def obey(self, run: int) -> None: ...
    def close(self) -> None: ...


def order(run: int, folder: Path) -> RunOrder:
    return RunOrder(
        run=run, url="rtsp://none", segment_seconds=1, folder=folder, audio="copy", probe_s=1.0
    )


class FakeWatcherHarness:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watcher = FakeWatcher(ManualClock(NOW))

    def adopt(self, listener: RecordingListener) -> RunHandle:
        return self._watcher.adopt(CAMERA, listener)

    def order(self, run: int) -> RunOrder:
        return order(run, self._folder)

    def finish(self, run: int, number: int) -> None:
        if not self._watcher.runs[run].recording:
            self._watcher.record(run)
        self._watcher.finish(run, number, NOW, NOW)

    def crash(self, run: int) -> None:
        self._watcher.end(run, Cause.FFMPEG_CRASHED)

    def obey(self, run: int) -> None:
        assert self._watcher.stops == [run]
        self._watcher.end(run, None)

    def close(self) -> None:
        """Nothing runs."""


_STAND_IN = (
    'while read -r word rest; do case $word in list) echo "$rest";; end) exit 7;; esac; done'
)


def stand_in(_: str, order: RunOrder) -> list[str]:
    """A shell that lists what it is told to through a pipe of its own."""
    return ["/bin/sh", "-c", f"{_STAND_IN} < told-{order.run}"]


class RealWatcherHarness:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pipes: dict[int, int] = {}
        self._watcher = RunWatcher(
            ffmpeg="/bin/sh",
            clock=Clock(),
            spawn_rate=TokenBucket(interval_s=0.01, burst=10),
            argv=stand_in,
        )

    def adopt(self, listener: RecordingListener) -> RunHandle:
        return self._watcher.adopt(CAMERA, listener)

    def order(self, run: int) -> RunOrder:
        path = self._folder / f"told-{run}"
        os.mkfifo(path)
        self._pipes[run] = os.open(path, os.O_RDWR)
        return order(run, self._folder)

    def finish(self, run: int, number: int) -> None:
        self._tell(run, f"list r{run}-{number:06d}.mp4,{number}.0,{number + 1}.0\n")

    def crash(self, run: int) -> None:
        self._tell(run, "end\n")

    def obey(self, run: int) -> None:
        """A shell ends by itself when it is asked to."""

    def _tell(self, run: int, line: str) -> None:
        os.write(self._pipes[run], line.encode())

    def close(self) -> None:
        self._watcher.close(10.0)
        for pipe in self._pipes.values():
            os.close(pipe)


@pytest.fixture(params=[FakeWatcherHarness, RealWatcherHarness], ids=["fake", "real"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WatcherHarness]:
    harness: WatcherHarness = request.param(tmp_path)
    yield harness
    harness.close()


def told(listener: RecordingListener) -> list[tuple[str, int]]:
    return [(name, run) for name, run, _ in listener.told]


def recording(harness: WatcherHarness, listener: RecordingListener) -> RunHandle:
    """Run 1 has listed two segments."""
    runs = harness.adopt(listener)
    runs.spawn(harness.order(1))
    listener.wait("spawned")
    harness.finish(1, 0)
    # Two that are listed at once would be dated by those after them.
    listener.wait("segment_closed")
    harness.finish(1, 1)
    listener.wait("segment_closed", count=2)
    return runs


def test_a_camera_that_nobody_has_recorded_is_adopted_at_once(harness: WatcherHarness) -> None:
    listener = RecordingListener()
    harness.adopt(listener)
    listener.wait("adopted")
    assert told(listener) == [("adopted", 0)]


def test_a_run_is_reported_from_its_beginning_to_its_end(harness: WatcherHarness) -> None:
    listener = RecordingListener()
    recording(harness, listener)
    harness.crash(1)
    listener.wait("ended")
    assert listener.names() == [
        "adopted",
        "spawned",
        "recording",
        "segment_closed",
        "segment_closed",
        "ended",
    ]


def test_adopting_a_living_run_reports_what_is_not_settled(harness: WatcherHarness) -> None:
    runs = recording(harness, RecordingListener())
    runs.settled(1, 0)
    later = RecordingListener()
    harness.adopt(later)
    later.wait("adopted")
    assert later.names() == ["spawned", "recording", "segment_closed", "adopted"]
    harness.finish(1, 2)
    later.wait("segment_closed", count=2)


def test_adopting_an_ended_run_reports_its_end_until_it_is_forgotten(
    harness: WatcherHarness,
) -> None:
    first = RecordingListener()
    recording(harness, first)
    harness.crash(1)
    first.wait("ended")
    second = RecordingListener()
    runs = harness.adopt(second)
    second.wait("adopted")
    assert second.names()[-2:] == ["ended", "adopted"]
    runs.forget(1)
    third = RecordingListener()
    harness.adopt(third)
    third.wait("adopted")
    assert third.names() == ["adopted"]


def test_who_no_longer_holds_a_camera_commands_nothing_and_hears_nothing(
    harness: WatcherHarness,
) -> None:
    old, new = RecordingListener(), RecordingListener()
    runs = recording(harness, old)
    heard = len(old.told)
    harness.adopt(new)
    new.wait("adopted")
    runs.settled(1, 0)
    runs.stop(1)
    harness.finish(1, 2)
    new.wait("segment_closed", count=3)
    last = RecordingListener()
    harness.adopt(last)
    last.wait("adopted")
    assert last.names().count("segment_closed") == 3
    assert len(old.told) == heard
    assert "ended" not in last.names()


def test_a_run_that_is_stopped_ends_without_a_cause(harness: WatcherHarness) -> None:
    listener = RecordingListener()
    runs = recording(harness, listener)
    runs.stop(1)
    runs.stop(1)
    harness.obey(1)
    end = listener.wait("ended")
    assert getattr(end, "cause", "none") is None


def test_a_run_that_ends_by_itself_has_a_cause(harness: WatcherHarness) -> None:
    listener = RecordingListener()
    recording(harness, listener)
    harness.crash(1)
    assert getattr(listener.wait("ended"), "cause", None) is Cause.FFMPEG_CRASHED


def test_two_runs_of_a_camera_are_told_apart(harness: WatcherHarness) -> None:
    listener = RecordingListener()
    runs = recording(harness, listener)
    runs.spawn(harness.order(2))
    listener.wait("spawned", count=2)
    harness.finish(2, 0)
    listener.wait("segment_closed", count=3)
    runs.stop(1)
    harness.obey(1)
    listener.wait("ended")
    assert [run for name, run, _ in listener.told if name == "ended"] == [1]
    harness.finish(2, 1)
    listener.wait("segment_closed", count=4)
