"""What is stored of cameras whose sound has another clock, with both builds of FFmpeg."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.devkit.odd_camera import OddCamera, Oddities, StreamLibrary
from streamwarden.ffmpeg.stream_tracks import SoundWay
from streamwarden.mp4.fragments import summarise
from streamwarden.recordings.segment_store import SegmentStore
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, BUNDLED, complaints, ffmpeg_of
from tests.integration.ffmpeg.recording_listener import RecordingListener, TwistedOrder, watching

SEGMENTS = 6
MOST_MS = 500
"""No picture may stand still for longer; the camera sends one every 100 ms."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StreamLibrary:
    return StreamLibrary(BUNDLED, tmp_path_factory.mktemp("streams"))


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize(
    ("sound", "way", "rate"),
    [("pcma", SoundWay.AAC, 0.8), ("aac", SoundWay.COPY, 0.8), ("aac", SoundWay.COPY, 1.2)],
)
def test_sound_that_drifts_lets_no_picture_stand_still(  # noqa: PLR0917 - a table
    library: StreamLibrary, tmp_path: Path, build: str, sound: str, way: SoundWay, rate: float
) -> None:
    """A fifth off: after six seconds what 100 ppm are off after three hours."""
    store, listener = SegmentStore(tmp_path, "alice", uuid4()), RecordingListener()
    store.prepare()
    with (
        OddCamera(library, "small", oddities=Oddities(sound=sound, sound_rate=rate)) as camera,
        watching(ffmpeg_of(build)) as watcher,
    ):
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=store.live, url=camera.url, audio=way, segment_seconds=1))
        segments = [listener.segment(count) for count in range(1, SEGMENTS + 1)]
        runs.stop(1)
        listener.end()
    stands = []
    for segment in segments[1:]:
        stored = store.publish(segment)
        assert stored is not None
        path = tmp_path / stored.row.path
        times = summarise(path).footage.times_ms
        stands.append(max(after - before for before, after in pairwise(times)))
        assert not complaints(path)
    assert max(stands) <= MOST_MS, stands
