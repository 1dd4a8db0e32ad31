"""Playlists of recordings from the API, played by FFmpeg, which follows no discontinuity."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import urllib3

from streamwarden.clock import Clock, rfc3339
from streamwarden.http.falcon_app import AppContext
from tests.fakes.http import FakeGateway
from tests.fakes.storage import FakeStorage
from tests.fakes.storage_samples import at
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, ffmpeg_of
from tests.integration.http.conftest import Serve
from tests.integration.http.test_file_through_the_api import served
from tests.integration.recordings.footage import FFMPEG, rows_of, write_segments

FRAMES_A_SECOND = 10
SECONDS = 12
OTHER = ("-vf", "scale=160:90", "-an")


@dataclass
class Recorded:
    """Twelve seconds of one format, then as many of a smaller picture without sound."""

    url: str
    token: str

    def playlist(self, from_s: float, to_s: float, more: str = "") -> str:
        span = f"from={rfc3339(at(from_s))}&to={rfc3339(at(to_s))}"
        return f"{self.url}/playlist.m3u8?{span}{more}&token={self.token}"


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    first = write_segments(folder / "first", seconds=SECONDS, segment_s=3)
    for path in first:
        encoder = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10")
        moves = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
        target = folder / "second" / path.name
        target.parent.mkdir(exist_ok=True)
        argv = [FFMPEG, "-v", "error", "-i", str(path), *OTHER, *encoder, *moves, str(target)]
        subprocess.run(argv, check=True, timeout=60)
    return folder


@pytest.fixture
def recorded(
    shared: AppContext, serve: Serve, footage: Path, http: urllib3.PoolManager
) -> Iterator[Recorded]:
    storage = FakeStorage()
    camera = storage.cameras.add(name="Door", owner="alice", created_at=Clock().now())
    rows = rows_of(footage, camera.id, sorted((footage / "first").iterdir()))
    later = timedelta(seconds=SECONDS)
    for row in rows_of(footage, camera.id, sorted((footage / "second").iterdir()), run=2):
        rows.append(replace(row, started_at=row.started_at + later, ended_at=row.ended_at + later))
    storage.segments.insert_many(rows)
    with served(shared, serve, footage, storage, FakeGateway()) as (api, users):
        url = f"{api}/api/v1/camera/{camera.id}/recordings"
        headers = {"Authorization": f"Bearer {users.sign('alice')}"}
        body = {"from": rfc3339(at(0)), "to": rfc3339(at(60))}
        signed = http.request("POST", f"{url}/play_token", json=body, headers=headers)
        assert signed.status == 200, signed.data
        yield Recorded(url, signed.json()["token"])


def frames(ffmpeg: str, url: str) -> list[int]:
    """The time stamps of the pictures that FFmpeg shows, in frames."""
    argv = [ffmpeg, "-v", "error", "-nostdin", "-i", url, "-map", "0:v:0"]
    argv += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    played = subprocess.run(argv, check=True, timeout=120, capture_output=True)
    assert played.stderr == b"", played.stderr
    lines = [line.split(b",") for line in played.stdout.splitlines() if not line.startswith(b"#")]
    (scale,) = re.findall(rb"#tb 0: 1/(\d+)", played.stdout)
    return [round(int(line[2]) * FRAMES_A_SECOND / int(scale)) for line in lines]


@pytest.mark.parametrize("build", BOTH)
def test_ffmpeg_shows_every_picture_of_every_segment(recorded: Recorded, build: str) -> None:
    shown = frames(ffmpeg_of(build), recorded.playlist(0.1, SECONDS - 0.1))
    assert len(shown) == SECONDS * FRAMES_A_SECOND
    # The sound may begin before the first picture, which then stands a little longer.
    assert {after - before for before, after in pairwise(shown[1:])} == {1}


def test_a_playlist_of_one_format_ends_where_the_tracks_change(
    recorded: Recorded, http: urllib3.PoolManager
) -> None:
    whole, one = (
        http.request("GET", recorded.playlist(0.1, 2 * SECONDS, more)).data.decode()
        for more in ("", "&one_format=true")
    )
    assert (whole.count("#EXTINF"), one.count("#EXTINF")) == (8, 4)
    after = recorded.playlist(SECONDS + 0.1, 2 * SECONDS, "&one_format=true")
    assert http.request("GET", after).data.decode().count("#EXTINF") == 4


def test_a_file_in_its_place_reads_the_same_in_ranges(
    recorded: Recorded, http: urllib3.PoolManager
) -> None:
    text = http.request("GET", recorded.playlist(0.1, SECONDS)).data.decode()
    last = [line for line in text.splitlines() if line and not line.startswith("#")][-1]
    assert "&at=9" in last
    url = f"{recorded.url}/{last}"
    whole = http.request("GET", url)
    plain = http.request("GET", url.partition("&at=")[0])
    assert len(whole.data) == len(plain.data)
    assert whole.data != plain.data
    assert whole.headers["ETag"] != plain.headers["ETag"]
    parts = [
        http.request("GET", url, headers={"Range": f"bytes={begin}-{begin + 996}"}).data
        for begin in range(0, len(whole.data), 997)
    ]
    assert b"".join(parts) == whole.data
