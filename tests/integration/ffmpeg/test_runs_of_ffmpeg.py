"""Real FFmpegs of both builds in good health: what they record, and how a store takes it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from shutil import which
from uuid import UUID, uuid4

import pytest

from streamwarden.devkit.relay.faults import Fault, Silence
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.ffmpeg import run as run_module
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.ffmpeg.watcher import StallTimeouts
from streamwarden.recordings.segment_store import SegmentStore
from tests.integration.ffmpeg.ffmpeg_builds import (
    BOTH,
    BUNDLED,
    complaints,
    ffmpeg_of,
    make_clip,
    published,
)
from tests.integration.ffmpeg.recording_listener import (
    RecordingListener,
    TwistedOrder,
    eventually,
    pids_in,
    watching,
)
from tests.unit.mp4 import box_writer as boxes

PATHS = ["good/1", "good/2", "good/jumps", "good/mute", "good/held"]
_PICTURES_A_SECOND = 20
_PICTURES_A_GROUP = 10
_REPORTED = 7
"""So many segments of a second: FFmpeg sends a report of each track at least every 5 s."""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    clip = make_clip(tmp_path_factory.mktemp("clip"))
    with (
        RelayServer() as running,
        published(running, clip, PATHS),
        published(running, clip, ["good/alaw"], audio=("pcm_alaw", "-ar", "8000")),
    ):
        yield running


@pytest.fixture
def store(tmp_path: Path) -> SegmentStore:
    store = SegmentStore(tmp_path, "alice", uuid4())
    store.prepare()
    return store


def _streams(path: Path) -> str:
    told = subprocess.run([BUNDLED, "-i", str(path)], capture_output=True, text=True, check=False)
    return told.stderr


@pytest.mark.parametrize("build", BOTH)
def test_segments_follow_each_other_and_are_stored_whole(
    relay: RelayServer, store: SegmentStore, build: str
) -> None:
    listener = RecordingListener()
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=store.live, url=f"{relay.rtsp_url}/good/1"))
        segments = [listener.segment(count) for count in (1, 2, 3)]
        runs.stop(1)
        assert listener.end().cause is None
        assert listener.end().open_segment is None
    for before, after in pairwise(segments):
        assert (after.number, after.started_at) == (before.number + 1, before.ended_at)
    for segment in segments:
        size = (store.live / f"r1-{segment.number:06d}.mp4").stat().st_size
        stored = store.publish(segment)
        assert stored is not None
        assert stored.row.size_bytes == size, "a whole file was cut"
        # FFmpeg corrects its clock with a run's first reports: a segment may lack a group of pictures.
        assert 400 <= stored.row.media_ms <= 2600
        assert not complaints(store.live.parents[2] / stored.row.path)
    assert pids_in(store.live) == []


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize(("audio", "tracks"), [("aac", "Audio: aac"), ("none", "Video: h264")])
def test_sound_that_does_not_fit_costs_no_picture(
    relay: RelayServer, store: SegmentStore, build: str, audio: str, tracks: str
) -> None:
    listener = RecordingListener()
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        url = f"{relay.rtsp_url}/good/alaw"
        runs.spawn(TwistedOrder(folder=store.live, url=url, audio=audio))
        listener.segment()
        runs.stop(1)
        listener.end()
    path = store.live / "r1-000000.mp4"
    told = _streams(path)
    assert tracks in told
    assert ("Audio" in told) is (audio == "aac")
    assert not complaints(path)


@pytest.mark.parametrize("build", BOTH)
def test_a_microphone_that_is_switched_off_holds_no_picture_back(
    relay: RelayServer, store: SegmentStore, build: str
) -> None:
    listener, sizes = RecordingListener(), set[int]()
    open_file = store.live / "r1-000000.mp4"
    relay.faults.clear()
    with watching(
        ffmpeg_of(build), timeouts=StallTimeouts(first_fragment_s=40, silence_s=8)
    ) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        url = f"{relay.rtsp_url}/good/mute"
        runs.spawn(TwistedOrder(folder=store.live, url=url, segment_seconds=600))
        listener.wait("recording")
        relay.faults.set("good/mute", Fault(silence=Silence.SOUND))

        def over() -> bool:
            sizes.add(open_file.stat().st_size)
            return len(sizes) > 10 or "stalled" in listener.names()

        eventually(over)
        runs.stop(1)
        assert listener.end().cause is None
    assert len(sizes) > 10
    assert not complaints(open_file)


@pytest.mark.parametrize("build", BOTH)
def test_time_stamps_that_jump_an_hour_move_no_segment(
    relay: RelayServer, store: SegmentStore, build: str
) -> None:
    listener = RecordingListener()
    relay.faults.clear()
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=store.live, url=f"{relay.rtsp_url}/good/jumps"))
        listener.segment()
        relay.faults.set("good/jumps", Fault(timestamp_jump_s=3600))
        segments = [listener.segment(count) for count in (1, 2, 3, 4)]
        runs.stop(1)
        listener.end()
    starts = [s.started_at for s in segments if s.started_at is not None]
    assert len(starts) == len(segments)
    assert starts == sorted(starts)
    lengths = [s.ended_at - start for s, start in zip(segments, starts, strict=True)]
    assert max(lengths) < timedelta(seconds=20)


@pytest.mark.parametrize("build", BOTH)
def test_pictures_that_ffmpeg_holds_back_are_reported_and_written_once_it_is_asked_to_stop(
    relay: RelayServer, store: SegmentStore, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture's time stamps jump; a sender report takes them back, and FFmpeg waits for the sound."""
    monkeypatch.setattr(run_module, "_OVERDUE_S", 4.0)
    monkeypatch.setattr(run_module, "_MEASURED_AFTER_S", 1.0)
    listener = RecordingListener()
    relay.faults.clear()
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=store.live, url=f"{relay.rtsp_url}/good/held"))
        listener.segment(_REPORTED)
        relay.faults.set("good/held", Fault(picture_jump_s=3000))
        listener.wait("overdue")
        number = listener.names().count("segment_closed")
        # Files: enough for the sound of all that time, and the pictures of its first moment.
        assert _pictures(store, number) <= _PICTURES_A_GROUP
        runs.stop(1)
        end = listener.end()
    assert end.cause is None
    assert "stalled" not in listener.names()
    listed = [
        what
        for name, _, what in listener.told
        if name == "segment_closed" and isinstance(what, ClosedSegment)
    ]
    held = listed[number:]
    assert sum(_pictures(store, one.number) for one in held) > 4 * _PICTURES_A_SECOND
    assert [one.number for one in listed] == list(range(len(listed)))
    assert all(after.started_at == before.ended_at for before, after in pairwise(listed))


def _pictures(store: SegmentStore, number: int) -> int:
    """How many pictures a file holds, also one that is being written."""
    command = [BUNDLED, "-v", "quiet", "-i", str(store.live / f"r1-{number:06d}.mp4")]
    command += ["-map", "0:v", "-c", "copy", "-f", "framecrc", "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return sum(not line.startswith("#") for line in told.splitlines())


_PUBLISH = """
import sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from uuid import UUID
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.recordings.segment_store import SegmentStore
store = SegmentStore(Path(sys.argv[1]), "alice", UUID(int=5))
at = datetime(2026, 1, 1, tzinfo=UTC)
store.publish(
    ClosedSegment(run=1, number=0, started_at=at, ended_at=at + timedelta(seconds=1), torn=True)
)
"""


@pytest.mark.skipif(which("strace") is None, reason="no strace here")
def test_the_kernel_sees_sync_rename_sync_in_this_order(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, "alice", UUID(int=5))
    store.prepare()
    torn = boxes.header() + boxes.fragment(boxes.run([40])) + b"torn"
    (store.live / "r1-000000.mp4").write_bytes(torn)
    traced = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=truncate,ftruncate,fsync,fdatasync,rename,renameat2",
    ]
    command = [*traced, sys.executable, "-c", _PUBLISH, str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    if "ptrace" in told:
        pytest.skip("tracing is not permitted here")
    calls = [line for line in told.splitlines() if str(store.live.parent) in line]
    shown = [line.split("(")[0].split()[-1] for line in calls]
    assert shown == ["ftruncate", "fsync", "fsync", "rename", "fsync", "fsync"]
    assert "r1-000000.mp4>" in calls[1]
    assert "2026-01-01>" in calls[4]
    assert ".live>" in calls[5]
