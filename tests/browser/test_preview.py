"""The live picture: WebRTC from MediaMTX, live HLS where there is none, and a word on why not."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from streamwarden.devkit.clock_reading import read_clock
from streamwarden.devkit.video_source import SMALL_PICTURE, LoopedClip
from streamwarden.devkit.virtual_camera import VirtualCamera
from tests.acceptance.demo import DemoProgram, real_mediamtx
from tests.acceptance.waiting import wait_for
from tests.browser.browser_session import BrowserSession
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite

DELAY_WITHIN_S = 3.0
"""The page rewrites the delay once a second, and shows whole seconds."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProgram]:
    """``streamwarden demo`` over MediaMTX."""
    media = real_mediamtx()
    if media is None:
        pytest.skip("no MediaMTX here: set STREAMWARDEN_MEDIAMTX to its program, or put it on PATH")
    running = DemoProgram(tmp_path_factory.mktemp("demo"), media=media, cameras=1)
    try:
        yield running.start()
    finally:
        running.program.clean_up()


def test_the_demos_sign_in_url_leads_to_a_moving_picture_over_webrtc(
    demo: DemoProgram, new_session: NewSession
) -> None:
    session = new_session(demo.ready["webui"])
    whep = demo.cameras[0].api.get(f"{demo.cameras[0].path}/preview").json()["whep_url"]
    session.other_hosts_allowed.add(whep.split("/")[2])
    session.page.goto(demo.ready["sign_in_url"])
    session.page.get_by_role("link", name="Camera 1", exact=True).click()
    expect(session.page.locator(".corner")).to_have_text("Live · WebRTC")
    session.await_moving_picture()
    assert session.video("videoWidth") == 1280


def test_the_next_webrtc_session_is_open_before_the_last_ones_token_ends(
    demo: DemoProgram, new_session: NewSession
) -> None:
    """The page is given tokens that seem to end in a few seconds: it must go on without a break."""
    session = new_session(demo.ready["webui"])
    camera = demo.cameras[0]
    whep = camera.api.get(f"{camera.path}/preview").json()["whep_url"]
    session.other_hosts_allowed.add(whep.split("/")[2])
    session.page.route(
        "**/preview?ttl=*",
        lambda route: route.continue_(url=re.sub(r"ttl=\d+", "ttl=50", route.request.url)),
    )
    session.page.goto(demo.ready["sign_in_url"])
    session.go(f"#/camera/{camera.camera_id}")
    session.await_moving_picture()
    with session.page.expect_request(
        lambda request: request.url == whep and request.method == "POST"
    ):
        pass  # the second session
    expect(session.page.locator(".over")).to_be_hidden()
    session.page.evaluate("() => { window.seenFirst = undefined }")
    session.await_moving_picture()


def test_without_webrtc_the_recorders_own_segments_play_live_with_their_delay(
    site: DemoSite, new_session: NewSession
) -> None:
    camera = site.recording()
    session = new_session(site.webui)
    page = session.sign_in(site.token("watcher"), f"#/camera/{camera.camera_id}")
    expect(page.locator(".corner")).to_have_text(re.compile(r"Live from recordings · \d+ s behind"))
    expect(page.locator(".note")).to_have_text("This server offers no WebRTC.")
    session.await_moving_picture()


def test_webrtc_that_does_not_come_through_gives_way_to_segments_and_can_be_tried_again(
    site: DemoSite, new_session: NewSession
) -> None:
    camera = site.recording()
    session = new_session(site.webui)
    session.allow_refusals = True
    tried: list[str] = []

    def preview(route: Route) -> None:
        found = route.fetch()
        route.fulfill(response=found, json=found.json() | {"whep_url": f"{site.webui}/whep"})

    def whep(route: Route) -> None:
        tried.append(route.request.headers["authorization"])
        route.fulfill(status=502, body="")

    session.page.route("**/preview?ttl=*", preview)
    session.page.route("**/whep", whep)
    page = session.sign_in(site.token("watcher"), f"#/camera/{camera.camera_id}")
    expect(page.locator(".corner")).to_contain_text("Live from recordings")
    expect(page.locator(".note")).to_have_text(
        "The media server cannot be reached from this browser."
    )
    session.await_moving_picture()
    assert len(set(tried)) == len(tried) == 2  # a fresh token for each attempt
    with page.expect_request("**/whep"):
        page.get_by_role("button", name="Try WebRTC").click()


def test_what_is_shown_late_says_how_late(site: DemoSite, new_session: NewSession) -> None:
    """A camera with a key frame in four seconds; its picture's own clock tells the truth."""
    owner = site.new_owner()
    camera = site.add(owner, "Seldom")
    picture = replace(SMALL_PICTURE, key_frame_every_s=4)
    with VirtualCamera(
        camera.camera_id, camera.publish_url, ffmpeg=site.installation.ffmpeg, source=picture
    ):
        site.installation.await_published(camera)
        assert camera.connect({}).status == 200
        camera.await_status("running")
        session = new_session(site.webui)
        session.allow_refusals = True  # a window that is still without a part
        page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
        expect(page.locator(".corner")).to_have_text(re.compile(r"\d+ s behind"))
        session.await_moving_picture()
        shown = wait_for("a picture whose clock can be read", lambda: late(session))
        assert abs(shown[0] - shown[1]) <= DELAY_WITHIN_S, shown
        camera.disconnect()


def late(session: BrowserSession) -> tuple[float, float] | None:
    """Return by how many seconds the picture is late, as the page says and as its clock shows."""
    said, now_ms, width, height, gray = session.page.evaluate(
        """() => {
          const video = document.querySelector("video");
          const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
          const paint = canvas.getContext("2d");
          paint.drawImage(video, 0, 0);
          const now = Date.now();
          const {data} = paint.getImageData(0, 0, canvas.width, canvas.height);
          let gray = "";
          for (let i = 0; i < data.length; i += 4) gray += String.fromCharCode(data[i + 1]);
          const {width, height} = canvas;
          const said = document.querySelector(".corner").textContent;
          return [said, now, width, height, btoa(gray)];
        }"""
    )
    words = re.search(r"(\d+) s behind", said)
    at_s = read_clock(base64.b64decode(gray), width, height) if width else None
    if words is None or at_s is None:
        return None
    return float(words[1]), (now_ms / 1000 - at_s) % 86_400


def test_a_format_that_the_browser_cannot_play_is_named(
    site: DemoSite, new_session: NewSession, tmp_path: Path
) -> None:
    """H.265, which Debian's Chromium does not decode: live and as a recording."""
    owner = site.new_owner()
    camera = site.add(owner, "High efficiency")
    clip = h265_clip(site.installation.ffmpeg, tmp_path / "clip.mp4")
    with VirtualCamera(
        camera.camera_id,
        camera.publish_url,
        ffmpeg=site.installation.ffmpeg,
        source=LoopedClip(clip),
    ):
        site.installation.await_published(camera)
        assert camera.connect({}).status == 200
        first = camera.await_segments(2)[0]
        session = new_session(site.webui)
        # On a busy machine the camera may pause for longer than the window: 404 `not_live` is right then.
        session.allow_refusals = True
        page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
        expect(page.locator(".screen .words")).to_contain_text(
            "This browser cannot play the camera's format (H.265)."
        )
        session.go(f"#/camera/{camera.camera_id}/recordings/{first['started_at']}")
        expect(page.locator(".screen .words")).to_contain_text(
            "This browser cannot play the recording's format (H.265)."
        )
        camera.disconnect()


def h265_clip(ffmpeg: str, path: Path) -> Path:
    """Make a few seconds of H.265 with a key frame a second; skip where no encoder is there."""
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10", "-t", "4",
               "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-tag:v", "hvc1",
               "-x265-params", "keyint=10:min-keyint=10:log-level=error", str(path)]  # fmt: skip
    made = subprocess.run(command, capture_output=True, check=False, text=True)
    if made.returncode:
        pytest.skip(f"this FFmpeg makes no H.265: {made.stderr.strip()[:200]}")
    return path


def test_a_camera_that_is_not_recording_says_when_there_will_be_a_picture(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Dark")
    page = new_session(site.webui).sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
    expect(
        page.get_by_text("The live picture appears when the camera is recording.")
    ).to_be_visible()


def test_somebody_elses_camera_is_no_camera(site: DemoSite, new_session: NewSession) -> None:
    camera = site.add(site.new_owner(), "Private")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token("stranger"), f"#/camera/{camera.camera_id}")
    expect(page.get_by_role("heading", name="There is no such camera.")).to_be_visible()
    expect(page.get_by_text("not be shared with you")).to_be_visible()
