"""Playlists of files with and without sound: the picture goes on from the one kind into the other."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route

from streamwarden.ffmpeg.command import _FRAGMENTS, find_ffmpeg
from streamwarden.http.api.playlist import Part, Playlist
from streamwarden.mp4.fragments import summarise

WEB = Path(__file__).parents[2] / "src" / "streamwarden" / "web"
BASE = "http://page.test"
SECONDS = 2
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".m3u8": "application/vnd.apple.mpegurl",
}
PLAY = """async () => {
  const { playHls } = await import("/js/camera/hls.js");
  const { isMixed } = await import("/js/recordings/playlist.js");
  const video = document.querySelector("video");
  window.failures = [];
  window.kinds = new Set();
  const heard = () => window.kinds.add(video.webkitAudioDecodedByteCount > 0);
  video.addEventListener("timeupdate", heard);
  const mixed = isMixed(await (await fetch("/list.m3u8")).text());
  playHls(video, "/list.m3u8", { failed: (detail) => window.failures.push(detail), mixed });
}"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    picture = ("-f", "lavfi", "-i", f"testsrc2=size=160x120:rate=10:duration={SECONDS}")
    sound = ("-f", "lavfi", "-i", f"sine=sample_rate=8000:duration={SECONDS}")
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0")
    output = ("-f", "segment", "-segment_format", "mp4", "-segment_format_options", _FRAGMENTS)
    for name, inputs in (("silent", picture), ("sound", (*picture, *sound))):
        argv = [find_ffmpeg(None), "-v", "error", "-nostdin", *inputs, *video, *output]
        subprocess.run([*argv, str(folder / f"{name}%d.mp4")], check=True, timeout=60)
    return folder


def answer(route: Route, files: Path, playlist: str) -> None:
    path = route.request.url.removeprefix(BASE).partition("?")[0]
    if path == "/":
        route.fulfill(content_type="text/html", body="<video muted autoplay></video>")
    elif path == "/list.m3u8":
        route.fulfill(content_type=TYPES[".m3u8"], body=playlist)
    elif path.endswith(".mp4"):
        name = re.sub(r"^/\d+-", "", path)
        body = (files / name).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", route.request.headers.get("range", ""))
        if asked is None:
            route.fulfill(content_type=TYPES[".mp4"], body=body)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        span = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        route.fulfill(
            status=206,
            headers={"Content-Type": TYPES[".mp4"], **span},
            body=body[first : last + 1],
        )
    else:
        file = WEB / path.lstrip("/")
        if file.is_file():
            route.fulfill(content_type=TYPES[file.suffix], body=file.read_bytes())
        else:
            route.fulfill(status=404)


def playlist_of(files: Path, names: list[str]) -> str:
    parts, at = [], datetime(2026, 1, 1, tzinfo=UTC)
    for number, name in enumerate(names):
        found = summarise(files / f"{name}0.mp4")
        parts.append(
            Part(
                uri=f"{number}-{name}0.mp4",
                init_bytes=found.init_bytes,
                offset=found.init_bytes,
                size_bytes=found.whole_bytes - found.init_bytes,
                media_ms=found.media_ms,
                started_at=at,
            )
        )
        at += timedelta(milliseconds=found.media_ms)
    return Playlist(parts=parts, kind="VOD").text(None)


@pytest.mark.parametrize(
    "names", [["silent", "sound", "silent"], ["sound", "silent", "sound"], ["silent", "silent"]]
)
@pytest.mark.parametrize("native", [True, False])
def test_the_picture_goes_on_where_sound_begins_and_ends(
    chromium: Browser, files: Path, names: list[str], native: bool
) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        if not native:
            page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
        playlist = playlist_of(files, names)
        context.route(f"{BASE}/**", lambda route: answer(route, files, playlist))
        page.goto(f"{BASE}/")
        page.evaluate(PLAY)
        end_s = SECONDS * len(names) - 0.5
        page.wait_for_function(
            "end => window.failures.length || document.querySelector('video').currentTime > end",
            arg=end_s,
            timeout=60_000,
        )
        assert page.evaluate("() => window.failures") == []
        assert page.evaluate("() => [...window.kinds].includes(true)") == ("sound" in names)
    finally:
        context.close()
