"""The watching thread over stand-ins for FFmpeg: shell scripts that do one thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

import pytest

from streamwarden.clock import Clock
from streamwarden.ffmpeg import run as run_module
from streamwarden.ffmpeg import watcher as watcher_module
from streamwarden.ffmpeg.command import DIE_WITH_PARENT
from streamwarden.ffmpeg.looks import Look, look_at
from streamwarden.ffmpeg.process import process_usage
from streamwarden.ffmpeg.received import ReceivedBytes
from streamwarden.ffmpeg.run import ClosedSegment, RunExit
from streamwarden.ffmpeg.watcher import RunWatcher, StallTimeouts, TokenBucket
from streamwarden.model import Cause
from tests.integration.ffmpeg.recording_listener import (
    DEADLINE_S,
    RecordingListener,
    TwistedOrder,
    descriptors,
    eventually,
    pids_in,
    watching,
)
from tests.loop_disk import loop_disk
from tests.unit.mp4 import box_writer as boxes

CAMERA = UUID(int=7)
FRAGMENT = boxes.fragment(boxes.run([40]))
SLEEPS = "exec sleep 60"


def shell(script: str, folder: Path, *, run: int = 1) -> TwistedOrder:
    """An order for a shell script in FFmpeg's place."""

    def twist(argv: list[str]) -> list[str]:
        return [*DIE_WITH_PARENT, "/bin/sh", "-c", script, *argv[len(DIE_WITH_PARENT) + 1 :]]

    return TwistedOrder(run=run, folder=folder, twist=twist)


def _let_ticks_pass(watcher: RunWatcher, count: int) -> None:
    seen = watcher._ticks
    assert eventually(lambda: watcher._ticks >= seen + count)


def _write(folder: Path, content: bytes, *, number: int = 0) -> None:
    with (folder / f"r1-{number:06d}.mp4").open("ab") as file:
        file.write(content)


def test_the_next_holder_gets_what_is_not_settled_and_may_act(tmp_path: Path) -> None:
    # Two at once would be the first files of a camera that sends few pictures.
    lines = "echo r1-000000.mp4,0,1; until [ -e go ]; do sleep 0.05; done; echo r1-000001.mp4,1,2"
    first, second, third, fourth = (RecordingListener() for _ in range(4))
    with watching() as watcher:
        old = watcher.adopt(CAMERA, first)
        old.spawn(shell(f"{lines}; {SLEEPS}", tmp_path))
        first.segment(1)
        (tmp_path / "go").touch()
        first.segment(2)
        old.settled(1, 0)
        new = watcher.adopt(CAMERA, second)
        second.wait("adopted")
        assert second.names() == ["spawned", "recording", "segment_closed", "adopted"]
        assert second.segment().number == 1

        told = len(first.told)
        old.stop(1)
        old.settled(1, 1)
        old.forget(1)
        old.spawn(shell(SLEEPS, tmp_path, run=2))
        new.stop(1)
        assert second.end().cause is None
        assert len(first.told) == told
        assert "spawned" not in second.names()[4:]

        dealt = watcher.adopt(CAMERA, third)
        third.wait("adopted")
        assert third.names() == ["spawned", "recording", "segment_closed", "ended", "adopted"]
        assert third.end() == second.end()
        assert third.segment() == second.segment()
        dealt.settled(1, 1)
        dealt.forget(1)
        watcher.adopt(CAMERA, fourth)
        fourth.wait("adopted")
        assert fourth.names() == ["adopted"]


def test_what_is_queued_dies_with_its_holder(tmp_path: Path) -> None:
    first, second = RecordingListener(), RecordingListener()
    with watching(spawn_rate=TokenBucket(interval_s=600, burst=1)) as watcher:
        runs = watcher.adopt(CAMERA, first)
        runs.spawn(shell(SLEEPS, tmp_path))
        first.wait("spawned")
        runs.spawn(shell(SLEEPS, tmp_path, run=2))
        watcher.adopt(CAMERA, second)
        second.wait("adopted")
        assert len(watcher._spawns) == 0
        assert second.names() == ["spawned", "adopted"]


def test_a_run_that_is_stopped_while_it_waits_never_begins(tmp_path: Path) -> None:
    listener, other = RecordingListener(), RecordingListener()
    with watching(spawn_rate=TokenBucket(interval_s=600, burst=1)) as watcher:
        runs = watcher.adopt(CAMERA, listener)
        runs.spawn(shell(SLEEPS, tmp_path))
        listener.wait("spawned")
        elsewhere = watcher.adopt(uuid4(), other)
        elsewhere.spawn(shell(SLEEPS, tmp_path, run=2))
        runs.spawn(shell(SLEEPS, tmp_path, run=2))
        runs.stop(2)
        end = listener.end()
        assert (end.cause, end.recorded, end.open_segment) == (None, False, None)
        assert listener.names().count("spawned") == 1
        assert [order.run for _, order in watcher._spawns._waiting] == [2]
        assert other.names() == ["adopted"]


def test_a_parked_cameras_runs_end_the_queued_ones_too(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching(spawn_rate=TokenBucket(interval_s=600, burst=1)) as watcher:
        runs = watcher.adopt(CAMERA, listener)
        runs.spawn(shell(SLEEPS, tmp_path))
        runs.spawn(shell(SLEEPS, tmp_path, run=2))
        listener.wait("spawned")
        watcher.stop_camera(CAMERA)
        watcher.stop_camera(uuid4())
        assert listener.end().cause is None
        assert len(watcher._spawns) == 0


def test_one_that_ignores_the_first_signal_is_killed_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "_STOP_GRACE_S", 0.3)
    listener = RecordingListener()
    with watching() as watcher:
        runs = watcher.adopt(CAMERA, listener)
        script = "trap '' TERM; echo r1-000000.mp4,0,1; while :; do sleep 1; done"
        runs.spawn(shell(script, tmp_path))
        listener.segment()
        runs.stop(1)
        runs.stop(1)
        assert listener.end().cause is None
    assert eventually(lambda: not pids_in(tmp_path))


def test_thirty_that_exit_at_once_are_all_reported_and_leave_no_descriptor(tmp_path: Path) -> None:
    listeners = [RecordingListener() for _ in range(30)]
    with watching() as watcher:
        before = descriptors()
        for listener in listeners:
            watcher.adopt(uuid4(), listener).spawn(shell(SLEEPS, tmp_path))
        for listener in listeners:
            listener.wait("spawned")
        assert len(descriptors()) == len(before) + 3 * 30
        for pid in list(watcher._live):
            os.kill(pid, signal.SIGKILL)
        assert [listener.end().cause for listener in listeners] == [Cause.FFMPEG_CRASHED] * 30
        assert descriptors() == before
        assert pids_in(tmp_path) == []


def test_nothing_is_left_open_once_the_watcher_is_closed(tmp_path: Path) -> None:
    before = descriptors()
    listener = RecordingListener()
    with watching() as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("spawned")
    assert listener.end().cause is None
    assert descriptors() == before
    assert pids_in(tmp_path) == []


def test_commands_to_a_closed_watcher_go_nowhere(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        runs = watcher.adopt(CAMERA, listener)
        listener.wait("adopted")
        watcher.close(10)
    with (tmp_path / "innocent").open("wb+") as file:
        # The lowest free number is what the watcher's own descriptors had.
        others = [os.open(file.name, os.O_RDWR) for _ in range(4)]
        runs.spawn(shell(SLEEPS, tmp_path))
        runs.forget(1)
        watcher.close(1)
        for other in others:
            os.close(other)
    assert (tmp_path / "innocent").read_bytes() == b""
    assert listener.names() == ["adopted"]


def test_lines_written_just_before_the_end_are_reported_before_it(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        script = "for n in 0 1 2 3 4 5 6 7; do echo r1-00000$n.mp4,$n,$((n+1)); done; exit 3"
        watcher.adopt(CAMERA, listener).spawn(shell(script, tmp_path))
        end = listener.end()
    assert listener.names()[-1] == "ended"
    segments = [what for name, _, what in listener.told if isinstance(what, ClosedSegment)]
    assert [segment.number for segment in segments] == list(range(8))
    assert (end.cause, end.message) == (Cause.FFMPEG_CRASHED, "FFmpeg ended with code 3")
    assert end.recorded


def test_strange_lines_are_dropped_and_the_right_ones_found(tmp_path: Path) -> None:
    script = r"""
        printf '\000\377junk\nr2-000000.mp4,0,1\n../r1-000000.mp4,0,1\n'
        head -c 300000 /dev/zero | tr '\0' 'x'; printf 'r1-000007.mp4,0,1\n'
        printf 'r1-%05000d.mp4,0,1\n' 1
        printf 'r1-000000.mp4,'; sleep 0.1; printf '0,1e300\n'
    """
    listener = RecordingListener()
    with watching() as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(f"{script}; {SLEEPS}", tmp_path))
        segment = listener.segment()
        assert segment.number == 0
        assert segment.started_at is not None
        assert segment.ended_at - segment.started_at < timedelta(seconds=30)
        assert listener.names().count("segment_closed") == 1


@pytest.mark.parametrize("flood", ["exec yes error >&2", "exec yes error"])
def test_a_flood_neither_grows_the_memory_nor_starves_another_run(
    tmp_path: Path, flood: str
) -> None:
    listener, other = RecordingListener(), RecordingListener()
    with watching() as watcher:
        runs = watcher.adopt(CAMERA, listener)
        runs.spawn(shell(flood, tmp_path))
        listener.wait("spawned")
        before = process_usage(os.getpid()).resident_bytes
        script = "n=0; while [ $n -lt 9 ]; do echo r1-00000$n.mp4,0,1; n=$((n+1)); sleep .2; done"
        watcher.adopt(uuid4(), other).spawn(shell(f"{script}; {SLEEPS}", tmp_path))
        other.segment(9)
        assert process_usage(os.getpid()).resident_bytes - before < 20_000_000
        ((_, run), *_) = watcher._live.values()
        assert sum(len(chunk) for chunk in run.stderr) <= 16384
        runs.stop(1)
        assert listener.end().cause is None
    lines = [what for _, _, what in other.told if isinstance(what, ClosedSegment)]
    pauses = [b.ended_at - a.ended_at for a, b in pairwise(lines)]
    assert max(pauses) < timedelta(seconds=2)


def test_a_flood_of_stderr_is_read_no_faster_than_its_allowance(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell("exec yes error >&2", tmp_path))
        listener.wait("spawned")
        assert eventually(lambda: pids_in(tmp_path))  # the child changes its folder by itself
        (pid,) = pids_in(tmp_path)

        def written() -> int:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
            return int(lines[1].split()[1])

        begun, ticks = written(), watcher._ticks
        assert eventually(lambda: watcher._ticks >= ticks + 6)
        looked = watcher._ticks - ticks + 1
        assert written() - begun < (262144 + 2 * 65536) * (looked + 1)


def test_what_was_said_last_is_read_although_a_flood_came_before_it(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        script = (
            "head -c 300000 /dev/zero | tr '\\0' x >&2; echo No space left on device >&2; exit 1"
        )
        watcher.adopt(CAMERA, listener).spawn(shell(script, tmp_path))
        assert listener.end().cause is Cause.DISK_FULL


def test_a_program_around_ffmpeg_that_dies_leaves_no_ffmpeg(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        script = "sleep 60 & echo r1-000000.mp4,0,1; wait"
        watcher.adopt(CAMERA, listener).spawn(shell(script, tmp_path))
        listener.segment()
        (pid,) = watcher._live
        os.kill(pid, signal.SIGKILL)
        assert listener.end().cause is Cause.FFMPEG_CRASHED
        assert eventually(lambda: not pids_in(tmp_path))


def test_a_run_that_never_starts_is_killed_and_called_a_timeout(tmp_path: Path) -> None:
    _write(tmp_path, boxes.header())
    listener = RecordingListener()
    with watching(timeouts=StallTimeouts(first_fragment_s=0.5)) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        end = listener.end()
    assert (end.cause, end.recorded) == (Cause.TIMEOUT, False)
    assert listener.names() == ["adopted", "spawned", "stalled", "ended"]


def test_a_file_that_grows_is_left_alone_and_one_that_stops_is_a_stall(tmp_path: Path) -> None:
    _write(tmp_path, boxes.header() + FRAGMENT)
    listener = RecordingListener()
    with watching(timeouts=StallTimeouts(first_fragment_s=60, silence_s=2.0)) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("recording")
        for _ in range(3):
            _let_ticks_pass(watcher, 4)
            _write(tmp_path, FRAGMENT)
        last_growth = Clock().now()
        assert "stalled" not in listener.names()
        end = listener.end()
    assert (end.cause, end.recorded) == (Cause.STALLED, True)
    assert end.at - last_growth > timedelta(seconds=1.8)
    assert end.open_segment is not None
    assert abs(end.open_segment.ended_at - last_growth) < timedelta(seconds=1)


def test_the_segment_after_a_listed_one_has_the_whole_patience_again(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching(timeouts=StallTimeouts(first_fragment_s=0.9, silence_s=60)) as watcher:
        script = f"sleep 0.3; echo r1-000000.mp4,0,1; {SLEEPS}"
        watcher.adopt(CAMERA, listener).spawn(shell(script, tmp_path))
        listener.wait("recording")
        _let_ticks_pass(watcher, 6)
        assert not {"stalled", "ended"} & set(listener.names())


class HangingDisk:
    """A disk that does not answer from ``hang`` to ``go_on``."""

    def __init__(self) -> None:
        self._answers = threading.Event()
        self._answers.set()

    def look(self, path: Path, *, holds_media: bool, measure: bool = False) -> Look:
        assert self._answers.wait(DEADLINE_S)
        return look_at(path, holds_media=holds_media, measure=measure)

    def hang(self) -> None:
        self._answers.clear()

    def go_on(self) -> None:
        self._answers.set()


def test_a_disk_that_hangs_is_reported_for_each_camera_and_stops_no_judging(
    tmp_path: Path,
) -> None:
    disk, first, second = HangingDisk(), RecordingListener(), RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=1.0)
    _write(tmp_path, boxes.header() + FRAGMENT)
    with watching(timeouts=patience, look=disk.look) as watcher:
        watcher.adopt(CAMERA, first).spawn(shell(SLEEPS, tmp_path))
        first.wait("recording")
        disk.hang()
        began = Clock().now()
        watcher.adopt(UUID(int=9), second).spawn(shell(SLEEPS, tmp_path))
        for listener in (first, second):
            since = listener.wait("disk_hangs")
            assert isinstance(since, datetime)
            assert abs(since - began) < timedelta(seconds=3)
        # The thread that judges goes on: it obeys, and sees ends.
        os.kill(max(watcher._live), signal.SIGKILL)
        end = second.end()
        assert (end.cause, end.recorded) == (Cause.RECORD_ROOT_HANGS, False)
        assert "stalled" not in first.names()
        _write(tmp_path, FRAGMENT)
        disk.go_on()
        first.wait("recording", count=2)
        assert first.end().cause is Cause.STALLED


def test_a_run_that_the_server_drops_after_its_disk_hung_was_lost_to_the_disk(
    tmp_path: Path,
) -> None:
    disk, listener = HangingDisk(), RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=4.0)
    _write(tmp_path, boxes.header() + FRAGMENT)
    with watching(timeouts=patience, look=disk.look) as watcher:
        script = "until [ -e dropped ]; do sleep 0.05; done"
        watcher.adopt(CAMERA, listener).spawn(shell(script, tmp_path))
        listener.wait("recording")
        disk.hang()
        listener.wait("disk_hangs")
        _write(tmp_path, FRAGMENT)
        disk.go_on()
        listener.wait("recording", count=2)
        (tmp_path / "dropped").touch()
        assert listener.end().cause is Cause.RECORD_ROOT_HANGS


def test_a_run_that_ends_while_its_disk_hangs_is_reported_with_what_was_seen(
    tmp_path: Path,
) -> None:
    disk, listener = HangingDisk(), RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=1.0)
    _write(tmp_path, boxes.header() + FRAGMENT)
    with watching(timeouts=patience, look=disk.look) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("recording")
        seen = Clock().now()
        disk.hang()
        (pid,) = watcher._live
        os.kill(pid, signal.SIGKILL)
        end = listener.end()
        disk.go_on()
    assert end.cause is Cause.RECORD_ROOT_HANGS
    assert end.open_segment is not None
    assert end.open_segment.ended_at <= seen + timedelta(seconds=1.5)


@pytest.mark.slow
def test_a_disk_that_takes_no_writes_hangs_though_every_look_returns(tmp_path: Path) -> None:
    listener = RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=1.0)
    with loop_disk(tmp_path / "disk") as disk, watching(timeouts=patience) as watcher:
        _write(disk.folder, boxes.header() + FRAGMENT)
        # The shell writes by itself, as FFmpeg does.
        octets = "".join(f"\\{octet:03o}" for octet in FRAGMENT)
        more = f"printf '{octets}' >> r1-000000.mp4"
        script = f"while ! [ -e {tmp_path}/frozen ]; do sleep 0.1; done; {more}; {SLEEPS}"
        watcher.adopt(CAMERA, listener).spawn(shell(script, disk.folder))
        listener.wait("recording")
        disk.freeze()
        (tmp_path / "frozen").touch()
        listener.wait("disk_hangs")
        assert "stalled" not in listener.names()
        _let_ticks_pass(watcher, 20)
        assert listener.names().count("disk_hangs") == 1
        disk.thaw()
        listener.wait("recording", count=2)
        # Now it is silent, and its disk answers.
        assert listener.end().cause is Cause.STALLED


def test_a_time_in_which_nobody_could_look_is_no_silence(tmp_path: Path) -> None:
    listener = RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=2.0)
    _write(tmp_path, boxes.header() + FRAGMENT)
    stopped, go_on = threading.Event(), threading.Event()

    def stop() -> None:
        stopped.set()
        assert go_on.wait(DEADLINE_S)

    with watching(timeouts=patience) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("recording")
        watcher.enqueue(stop)
        assert stopped.wait(DEADLINE_S)
        began = monotonic()
        assert not threading.Event().wait(
            3.0
        )  # the thread is stopped for longer than a stall takes
        go_on.set()
        listener.wait("stalled")
        assert monotonic() - began > 4.0


class Packets(ReceivedBytes):
    """What FFmpeg has read so far, as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes: int | None = 0
        self.each_time = 0

    def of(self, pids: list[int]) -> dict[int, int]:
        if self.read_bytes is None:
            return {}
        self.read_bytes += self.each_time
        return dict.fromkeys(pids, self.read_bytes)


def test_a_run_that_receives_packets_waits_for_its_key_frame(tmp_path: Path) -> None:
    packets, listener = Packets(), RecordingListener()
    packets.each_time = 5_000
    patience = StallTimeouts(first_fragment_s=2.0, silence_s=60, waiting_s=1.0)
    _write(tmp_path, boxes.header())
    with watching(timeouts=patience, received=packets) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("waiting")
        _let_ticks_pass(watcher, 16)
        assert listener.names() == ["adopted", "spawned", "waiting"]
        heir = RecordingListener()
        runs = watcher.adopt(CAMERA, heir)
        heir.wait("waiting")
        _write(tmp_path, FRAGMENT)
        heir.wait("recording")
        runs.stop(1)
        assert heir.end().cause is None


@pytest.mark.parametrize(("answered_bytes", "waits"), [(2_500, True), (0, False)])
def test_a_patient_run_waits_for_a_key_frame_once_the_server_has_answered(
    tmp_path: Path, answered_bytes: int, *, waits: bool
) -> None:
    packets, listener = Packets(), RecordingListener()
    packets.read_bytes = answered_bytes
    patience = StallTimeouts(first_fragment_s=4.0, silence_s=60, waiting_s=1.0)
    with watching(timeouts=patience, received=packets) as watcher:
        order = replace(shell(SLEEPS, tmp_path), patient=True)
        runs = watcher.adopt(CAMERA, listener)
        runs.spawn(order)
        if waits:
            listener.wait("waiting")
            _let_ticks_pass(watcher, 20)
            assert listener.names() == ["adopted", "spawned", "waiting"]
            runs.stop(1)
        assert listener.end().cause is (None if waits else Cause.TIMEOUT)


def test_packets_that_no_longer_come_are_a_stall_also_before_the_first_key_frame(
    tmp_path: Path,
) -> None:
    packets, listener = Packets(), RecordingListener()
    packets.each_time = 5_000
    patience = StallTimeouts(first_fragment_s=2.0, silence_s=60, waiting_s=1.0)
    with watching(timeouts=patience, received=packets) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("waiting")
        packets.each_time = 0
        end = listener.end()
    assert (end.cause, end.recorded) == (Cause.STALLED, False)


def test_a_key_frame_that_never_comes_ends_the_run_with_a_cause_of_its_own(
    tmp_path: Path,
) -> None:
    packets, listener = Packets(), RecordingListener()
    packets.each_time = 5_000
    patience = StallTimeouts(first_fragment_s=60, silence_s=60, key_frame_s=3.0)
    with watching(timeouts=patience, received=packets) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        end = listener.end()
    assert end.cause is Cause.NO_KEY_FRAME
    assert "key frame" in end.message


def test_sound_that_ffmpeg_waits_for_is_not_waited_for_with_it(tmp_path: Path) -> None:
    packets, listener = Packets(), RecordingListener()
    packets.each_time = 5_000
    patience = StallTimeouts(first_fragment_s=2.0, silence_s=60, waiting_s=0.5)
    with watching(timeouts=patience, received=packets) as watcher:
        order = replace(shell(SLEEPS, tmp_path), audio="aac")
        watcher.adopt(CAMERA, listener).spawn(order)
        end = listener.end()
    assert end.cause is Cause.TIMEOUT
    assert "waiting" not in listener.names()


def test_a_camera_of_few_pictures_is_not_stalled_between_them(tmp_path: Path) -> None:
    listener = RecordingListener()
    patience = StallTimeouts(first_fragment_s=60, silence_s=4.0)
    _write(tmp_path, boxes.header() + FRAGMENT)
    with watching(timeouts=patience) as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        listener.wait("recording")
        for _ in range(2):
            _let_ticks_pass(watcher, 12)
            _write(tmp_path, FRAGMENT)
        _let_ticks_pass(watcher, 22)
        assert "stalled" not in listener.names()
        assert listener.end().cause is Cause.STALLED


def test_a_segment_without_a_key_frame_to_cut_at_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_OVERDUE_S", 0.0)
    monkeypatch.setattr(run_module, "_MEASURED_AFTER_S", 0.5)
    listener, growing = RecordingListener(), bytearray(boxes.header())
    path = tmp_path / "r1-000000.mp4"
    with watching() as watcher:
        watcher.adopt(CAMERA, listener).spawn(shell(SLEEPS, tmp_path))
        for _ in range(16):
            growing += boxes.fragment(boxes.run([1_000]))
            path.write_bytes(growing)
            _let_ticks_pass(watcher, 2)
        assert "overdue" not in listener.names()


class FailingListener(RecordingListener):
    """A listener with a bug."""

    def segment_closed(self, segment: ClosedSegment) -> None:
        super().segment_closed(segment)
        raise RuntimeError("a bug")

    def ended(self, run_exit: RunExit) -> None:
        super().ended(run_exit)
        raise RuntimeError("a bug")


def test_a_listener_that_raises_loses_nothing_and_hurts_nobody(tmp_path: Path) -> None:
    failing, other, heir = FailingListener(), RecordingListener(), RecordingListener()
    with watching() as watcher:
        lines = "echo r1-000000.mp4,0,1; echo r1-000001.mp4,1,2"
        watcher.adopt(CAMERA, failing).spawn(shell(lines, tmp_path))
        failing.end()
        watcher.adopt(uuid4(), other).spawn(shell(lines, tmp_path))
        other.end()
        watcher.adopt(CAMERA, heir)
        heir.wait("adopted")
        numbers = [what.number for _, _, what in heir.told if isinstance(what, ClosedSegment)]
        assert numbers == [0, 1]
        assert "ended" in heir.names()
    assert other.names().count("segment_closed") == 2


class SetClock(Clock):
    """The machine's clock, which an operator has set."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_was_set_is_reported_once_to_each_holder(
    tmp_path: Path, step_s: float
) -> None:
    clock, first, second = SetClock(), RecordingListener(), RecordingListener()
    with watching(clock=clock) as watcher:
        runs = watcher.adopt(CAMERA, first)
        runs.spawn(shell(f"echo r1-000000.mp4,0,1; {SLEEPS}", tmp_path))
        before = first.segment()
        clock.ahead_s = step_s
        by_s = first.wait("clock_stepped")
        assert isinstance(by_s, float)
        assert abs(by_s - step_s) < 1
        _let_ticks_pass(watcher, 6)
        assert first.names().count("clock_stepped") == 1
        runs = watcher.adopt(CAMERA, second)
        second.wait("clock_stepped")
        runs.stop(1)
        assert abs(second.end().at - before.ended_at) < timedelta(seconds=60)


def test_pictures_that_are_held_back_while_the_file_grows_are_reported_once_to_each_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_OVERDUE_S", 0.0)
    monkeypatch.setattr(run_module, "_MEASURED_AFTER_S", 0.5)
    _write(tmp_path, boxes.header() + FRAGMENT, number=1)
    first, second = RecordingListener(), RecordingListener()
    with watching() as watcher:
        runs = watcher.adopt(CAMERA, first)
        runs.spawn(shell(f"echo r1-000000.mp4,0,1; {SLEEPS}", tmp_path))
        first.segment()
        first.wait("overdue")
        _let_ticks_pass(watcher, 6)
        assert first.names().count("overdue") == 1
        runs = watcher.adopt(CAMERA, second)
        second.wait("overdue")
        runs.stop(1)
        second.end()


def test_the_cpu_time_of_ended_runs_is_kept_and_never_goes_back(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        spin = "n=0; while [ $n -lt 40000 ]; do n=$((n+1)); done; echo r1-000000.mp4,0,1"
        watcher.adopt(CAMERA, listener).spawn(shell(f"{spin}; {SLEEPS}", tmp_path))
        listener.segment()
        cpu_s, resident = watcher.usage()
        assert cpu_s > 0
        assert resident > 0
        for pid in list(watcher._live):
            os.kill(pid, signal.SIGKILL)
        listener.end()
        assert watcher.usage()[0] >= cpu_s
        assert watcher.usage()[1] == 0


def _refused(folder: Path) -> TwistedOrder:
    return shell(SLEEPS, folder / "none")


def _nul(folder: Path) -> TwistedOrder:
    return TwistedOrder(folder=folder, url="rtsp://x/\0token")


def _unknown_audio(folder: Path) -> TwistedOrder:
    return TwistedOrder(folder=folder, audio="token")


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        (_refused, Cause.NOT_WRITABLE),
        (_nul, Cause.INTERNAL),
        (_unknown_audio, Cause.INTERNAL),
    ],
)
def test_a_run_that_cannot_be_spawned_ends_all_the_same(
    tmp_path: Path, order: Callable[[Path], TwistedOrder], cause: Cause
) -> None:
    listener = RecordingListener()
    with watching() as watcher:
        before = descriptors()
        watcher.adopt(CAMERA, listener).spawn(order(tmp_path))
        end = listener.end()
        assert descriptors() == before
    assert (end.cause, end.recorded, end.open_segment) == (cause, False, None)
    assert "token" not in end.message


_SERVER = """
import sys
from pathlib import Path
from time import monotonic
from uuid import uuid4
from tests.integration.ffmpeg.recording_listener import RecordingListener, watching
from tests.integration.ffmpeg.test_watcher import SLEEPS, shell
folder, listeners = Path(sys.argv[1]), [RecordingListener() for _ in range(5)]
with watching() as watcher:
    for listener in listeners:
        watcher.adopt(uuid4(), listener).spawn(shell(SLEEPS, folder))
    for listener in listeners:
        listener.wait("spawned")
    print("up", flush=True)
    sys.stdin.read()
"""


def test_a_server_that_is_killed_takes_its_children_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SERVER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        assert eventually(lambda: len(pids_in(tmp_path)) == 5)
        server.kill()
    assert eventually(lambda: not pids_in(tmp_path))


def test_the_watcher_is_idle_while_nothing_runs() -> None:
    with watching() as watcher:
        assert isinstance(watcher, RunWatcher)
        assert watcher.wait_s() is None
