"""Real FFmpegs of both builds with sound that is silent from the start: the picture never waits for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from uuid import UUID

import pytest

from streamwarden.actors.spawning import describe_stream
from streamwarden.devkit.clips import KINDS, make_clip
from streamwarden.devkit.relay.faults import Fault, Silence
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.mp4.fragments import summarise
from streamwarden.recordings.durable import sync_file
from tests.integration.ffmpeg import ffmpeg_builds
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, BUNDLED, ffmpeg_of, published
from tests.integration.ffmpeg.recording_listener import RecordingListener, TwistedOrder, watching

ALAW = ("pcm_alaw", "-ar", "8000", "-ac", "1")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    clip = ffmpeg_builds.make_clip(tmp_path_factory.mktemp("clip"))
    h265 = make_clip(BUNDLED, KINDS["H.265, AAC"], tmp_path_factory.mktemp("h265"))
    with (
        RelayServer() as running,
        published(running, clip, ["sound/aac"]),
        published(running, clip, ["sound/alaw"], audio=ALAW),
        published(running, Path(h265.path), ["sound/h265"]),
    ):
        yield running


def tracks_in(path: Path) -> dict[str, str]:
    """The kinds of the file's tracks, and their sample entries."""
    said = subprocess.run(
        [which("ffprobe") or "ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)],
        capture_output=True,
        check=True,
    )
    streams = json.loads(said.stdout)["streams"]
    return {stream["codec_type"]: stream["codec_tag_string"] for stream in streams}


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize(
    ("path", "way", "judged"),
    [("alaw", SoundWay.LISTEN, None), ("aac", SoundWay.COPY, False)],
)
def test_a_picture_beside_silence_is_recorded_at_once(  # noqa: PLR0917 - a table
    relay: RelayServer, tmp_path: Path, build: str, path: str, way: SoundWay, judged: bool | None
) -> None:
    listener = RecordingListener()
    relay.faults.set(f"sound/{path}", Fault(silence=Silence.SOUND))
    url = f"{relay.rtsp_url}/sound/{path}"
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=tmp_path, url=url, audio=way, segment_seconds=1))
        for number in range(2):
            assert listener.segment(number + 1).number == number
            # The sound's clock adds nothing: a second is a second.
            assert 450 <= summarise(tmp_path / f"r1-{number:06d}.mp4").media_ms <= 2600
        judgements = [what for name, _, what in listener.told if name == "sound_judged"]
        assert judgements == ([] if judged is None else [judged])
        relay.faults.clear()
        if way is SoundWay.LISTEN:
            assert listener.wait("sound_judged") is True
        runs.stop(1)
        assert listener.end().cause is None
    relay.faults.clear()


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize("path", ["alaw", "aac"])
def test_sound_that_flows_is_heard_and_recorded_by_the_next_run(
    relay: RelayServer, tmp_path: Path, build: str, path: str
) -> None:
    listener = RecordingListener()
    url = f"{relay.rtsp_url}/sound/{path}"
    described = describe_stream(url)
    assert described is not None
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        ways = (SoundWay.LISTEN, described.sound_way)
        for run, way in enumerate(ways, start=1):
            runs.spawn(TwistedOrder(run=run, folder=tmp_path, url=url, audio=way))
            assert listener.wait("sound_judged", count=run) is True
        listener.wait("segment_closed", count=3)
        runs.stop(1)
        runs.stop(2)
        listener.wait("ended", count=2)
    assert tracks_in(tmp_path / "r1-000000.mp4") == {"video": "avc1"}
    assert tracks_in(tmp_path / "r2-000000.mp4") == {"video": "avc1", "audio": "mp4a"}


@pytest.mark.parametrize("build", BOTH)
def test_h265_is_stored_as_every_player_takes_it(
    relay: RelayServer, tmp_path: Path, build: str
) -> None:
    listener = RecordingListener()
    url = f"{relay.rtsp_url}/sound/h265"
    tracks = describe_stream(url)
    assert tracks == StreamTracks("H265", "MPEG4-GENERIC")
    with watching(ffmpeg_of(build)) as watcher:
        runs = watcher.adopt(UUID(int=1), listener)
        runs.spawn(TwistedOrder(folder=tmp_path, url=url, tracks=tracks))
        listener.segment()
        runs.stop(1)
        listener.end()
    file = tmp_path / "r1-000000.mp4"
    before = file.read_bytes()
    assert sync_file(file, finished=False, ours=False) is not None
    assert tracks_in(file) == {"video": "hvc1", "audio": "mp4a"}
    assert file.read_bytes() == before.replace(b"hev1", b"hvc1")
    assert not ffmpeg_builds.complaints(file)
