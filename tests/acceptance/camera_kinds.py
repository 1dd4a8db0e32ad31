"""A camera of each kind: what it sends, and what is expected of its recording."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from streamwarden.devkit.clips import KINDS
from tests.acceptance.calls import Caller
from tests.acceptance.footage import complaints, file_of, seconds_between
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.user import CameraUser, Item

METADATA = "H.264, ONVIF metadata"
RARE = "H.264, a key frame in 10 s"
UNSTORABLE = "VP8"
JOINS = "H.264, G.711"
"""Its sound has to be encoded: it joins once the picture is recorded."""
SENT = {
    **KINDS,
    METADATA: KINDS["H.264, no sound"],
}
KEPT: Mapping[str, tuple[str, str | None]] = {
    "H.264, no sound": ("h264", None),
    "H.264 with B-frames, AAC": ("h264", "aac"),
    "H.264, G.711": ("h264", "aac"),
    RARE: ("h264", None),
    "H.264 that changes its size": ("h264", None),
    METADATA: ("h264", None),
    "H.265, AAC": ("hevc", "aac"),
    "MJPEG": ("mjpeg", None),
}
"""What a segment holds of each: its picture untouched, its sound in a form that MP4 takes."""


def tracks(ffmpeg: str, file: Path) -> tuple[str | None, str | None]:
    """The codecs of picture and sound, as FFmpeg names them."""
    argv = [ffmpeg, "-hide_banner", "-nostdin", "-i", str(file)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stderr
    found = dict(re.findall(r": (Video|Audio): (\w+)", said))
    return found.get("Video"), found.get("Audio")


def assert_recorded(
    installation: Installation,
    cameras: Mapping[str, CameraUser],
    ffmpeg: str,
    *,
    looked_into: int = 2,
) -> None:
    """Each kind is recorded, indexed and played; what MP4 cannot hold is refused by its cause."""
    for kind, (video, audio) in KEPT.items():
        camera = cameras[kind]
        segments = camera.await_segments(2)
        if kind == JOINS:
            segments = camera.await_segments(2, run_after=segments[0]["run"])
        for segment in segments[:looked_into]:
            file = file_of(installation.record_root / OWNER / camera.camera_id, segment)
            assert tracks(ffmpeg, file) == (video, audio), kind
            assert complaints(ffmpeg, file, sound=audio is not None) == "", kind
            assert camera.file(segment).body == file.read_bytes(), kind
        assert_played(installation, camera, segments[:2])
        camera.await_status("running")
    joined = cameras[JOINS].status()
    assert joined["respawns"] < joined["run"] - 1, "the run that joined is no respawn"
    assert_cut_at_key_frames(cameras[RARE].segments())
    refused = cameras[UNSTORABLE].await_status(lambda s: s["last_error"] is not None)
    assert refused["last_error"]["cause"] == "unsupported_media"
    assert "vp8" in refused["last_error"]["message"]
    assert cameras[UNSTORABLE].segments() == []


def assert_played(installation: Installation, camera: CameraUser, segments: list[Item]) -> None:
    """What a player fetches without a header of its own: the playlist, and the files that it names."""
    span = {"from": segments[0]["started_at"], "to": segments[-1]["ended_at"]}
    token = camera.api.post(f"{camera.path}/recordings/play_token", span).json()["token"]
    player = Caller(installation.api_url)
    playlist = player.get(f"{camera.path}/recordings/playlist.m3u8", {**span, "token": token})
    assert playlist.status == 200
    for segment in segments:
        assert segment["id"] in playlist.body.decode()


def assert_cut_at_key_frames(segments: list[Item]) -> None:
    """Segments of two seconds were asked for; a camera that sends a key frame in ten gets those."""
    lengths = [one["media_seconds"] for one in segments]
    assert min(lengths[1:], default=10.0) > 8.0
    assert seconds_between(segments[0]["started_at"], segments[-1]["ended_at"]) > 10.0
