"""A day of recordings: found on the timeline, played across a gap, taken along."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from streamwarden.evidence.export_proof import read_proof
from streamwarden.evidence.statements import parse_signed
from streamwarden.recordings.durable import file_digest
from tests.acceptance.user import CameraUser
from tests.browser.browser_session import BrowserSession
from tests.browser.conftest import NewSession
from tests.browser.demo_site import LATE_S, DemoSite

Gap = Mapping[str, Any]


@pytest.fixture(scope="module")
def interrupted(site: DemoSite) -> tuple[CameraUser, Gap]:
    """A camera that recorded, was off for a while, and records again; with its gap."""
    camera = site.add("watcher", "Interrupted")
    pushing = site.push(camera)
    assert camera.connect({}).status == 200
    camera.await_segments(3)
    pushing.stop()
    camera.await_gap(lambda gap: gap["cause"] == "source_offline")
    site.push(camera)
    gap = camera.await_gap(lambda gap: gap["cause"] == "source_offline" and gap["ended_at"])
    before = max(
        segment["run"] for segment in camera.segments() if segment["ended_at"] <= gap["started_at"]
    )
    camera.await_segments(2, run_after=before)
    return camera, gap


def opened(
    site: DemoSite, new_session: NewSession, camera: CameraUser, at: str = ""
) -> BrowserSession:
    session = new_session(site.webui)
    session.sign_in(site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{at}")
    return session


def shown_moment(session: BrowserSession) -> datetime | None:
    text = session.page.locator(".clock").get_attribute("datetime")
    return datetime.fromisoformat(text) if text else None


def test_a_link_to_a_moment_plays_from_there_and_on_across_a_gap(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    start = datetime.fromisoformat(gap["started_at"]) - timedelta(seconds=5)
    session = opened(site, new_session, camera, start.isoformat())
    session.await_moving_picture()
    first = session.first_moment()
    assert abs(first - start) < timedelta(seconds=4)
    expect(session.page.locator(".player-bar + .help")).to_have_text(
        re.compile("Skipped .+: the camera is not sending")
    )
    after = shown_moment(session)
    assert after is not None
    assert after >= datetime.fromisoformat(gap["ended_at"]) - timedelta(seconds=1)
    assert session.video("paused") is False


def test_a_click_on_the_timeline_and_its_keys_seek(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera)
    timeline = session.page.get_by_role("slider", name=re.compile("Timeline"))
    expect(session.page.get_by_text("Click the timeline to play from there")).to_be_visible()
    timeline.focus()
    session.page.keyboard.press("Home")
    session.await_moving_picture()
    first = shown_moment(session)
    assert first is not None
    begun = datetime.fromisoformat(camera.segments()[0]["started_at"])
    assert abs(first - begun) < timedelta(seconds=6)
    session.page.get_by_role("button", name="Pause").click()
    before = session.video("currentTime")
    session.page.keyboard.press("Escape")
    session.page.get_by_role("button", name=re.compile("Next frame")).click()
    stepped = session.video("currentTime") - before
    assert 0.01 < stepped < 0.5


def test_speed_is_what_was_chosen(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera, camera.segments()[0]["started_at"])
    session.await_moving_picture()
    session.page.get_by_label("Speed").select_option("4")
    assert session.video("playbackRate") == 4


def test_a_gap_says_its_cause_under_the_pointer_and_in_the_table(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    session = opened(site, new_session, camera, gap["started_at"])
    row = session.page.get_by_role("row").filter(has_text="the camera is not sending")
    expect(row.first).to_be_visible()
    timeline = session.page.locator(".timeline")
    for _ in range(9):
        timeline.press("+")
    box = timeline.bounding_box()
    assert box is not None
    view = session.page.locator(".tip")
    middle = int(box["width"] / 2)
    for x in range(0, int(box["width"]), 4):
        session.page.mouse.move(box["x"] + (middle + x) % int(box["width"]), box["y"] + 50)
        if "the camera is not sending" in (view.text_content() or ""):
            return
    pytest.fail(f"no gap under the pointer; last: {view.text_content()}")


def test_a_segment_is_downloaded_whole(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap], tmp_path: Path
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera, camera.segments()[0]["started_at"])
    session.await_moving_picture()
    with session.page.expect_download() as started:
        session.page.get_by_role("button", name="Download segment").click()
    assert started.value.suggested_filename.startswith("Interrupted-")
    file = tmp_path / "segment.mp4"
    started.value.save_as(file)
    assert float(probed(file)["format"]["duration"]) > 1


def test_the_link_to_a_moment_is_copied(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera, camera.segments()[0]["started_at"])
    session.context.grant_permissions(["clipboard-read", "clipboard-write"])
    session.await_moving_picture()
    session.page.get_by_role("button", name="Link to this moment").click()
    expect(session.page.get_by_text("Link to this moment copied")).to_be_visible()
    link = session.page.evaluate("() => navigator.clipboard.readText()")
    assert re.fullmatch(rf".+#/camera/{camera.camera_id}/recordings/\d{{4}}-.+Z", link)
    assert "token" not in link


def test_an_empty_day_says_so(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "New")
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}/recordings")
    expect(page.get_by_text("Nothing was recorded on this day.")).to_be_visible()
    page.get_by_role("button", name="Previous day").click()
    expect(page.get_by_text("Nothing was recorded on this day.")).to_be_visible()


def probed(file: Path) -> Any:  # noqa: ANN401 - ffprobe's JSON
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", str(file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_a_range_across_a_gap_is_saved_as_one_mp4(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap], tmp_path: Path
) -> None:
    camera, gap = interrupted
    session = opened(site, new_session, camera, gap["started_at"])
    page = session.page
    expect(page.get_by_role("heading", name="Download a range")).to_be_visible()
    zone = datetime.now().astimezone().tzinfo
    for label, moment in (
        ("From", datetime.fromisoformat(gap["started_at"]) - timedelta(seconds=4)),
        ("To", datetime.fromisoformat(gap["ended_at"]) + timedelta(seconds=4)),
    ):
        text = moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S")
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Make MP4").click()
    save = page.get_by_role("button", name="Save MP4")
    expect(save).to_be_visible()
    with page.expect_download() as started:
        save.click()
    assert re.fullmatch(r"Interrupted-[\dTZ]+-[\dTZ]+\.mp4", started.value.suggested_filename)
    file = tmp_path / "range.mp4"
    started.value.save_as(file)
    with page.expect_download() as started:
        page.get_by_role("button", name="Save proof").click()
    assert started.value.suggested_filename.endswith(".mp4.proof")
    started.value.save_as(tmp_path / "range.mp4.proof")
    proof = read_proof(parse_signed((tmp_path / "range.mp4.proof").read_bytes()))
    assert (proof.size_bytes, proof.digest) == (file.stat().st_size, file_digest(file))
    found = probed(file)
    assert float(found["format"]["duration"]) > 4
    assert {stream["codec_type"] for stream in found["streams"]} == {"video", "audio"}


def test_an_export_shows_its_progress_and_is_cancelled(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    """One that takes long is put into the API's mouth."""
    camera, gap = interrupted
    session = opened(site, new_session, camera, gap["started_at"])
    page = session.page
    export = {
        "id": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff", "state": "running", "progress": 0.42,
        "bytes": None, "error": None,
    }  # fmt: skip
    page.route("**/exports", lambda route: route.fulfill(status=202, json=export))
    page.route("**/exports/*", lambda route: route.fulfill(json=export))
    page.get_by_label("From", exact=True).fill("2026-01-01T00:00:00")
    page.get_by_label("To", exact=True).fill("2026-01-01T01:00:00")
    page.get_by_role("button", name="Make MP4").click()
    expect(page.get_by_text("Joining… 42 %")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 0.42)
    with page.expect_request(lambda it: it.method == "DELETE") as cancelled:
        page.get_by_role("button", name="Cancel").click()
    assert cancelled.value.url.endswith(f"/exports/{export['id']}")
    expect(page.get_by_text("Cancelled.")).to_be_visible()


def test_the_parts_of_an_export_over_a_change_are_saved_each(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    page = opened(site, new_session, camera, gap["started_at"]).page
    whole, part = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff", "1f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff"
    tracks = {"codec": "h265", "width": 640, "height": 360}
    span = {"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-01T00:30:00.000Z"}
    failed = {
        "id": whole, "state": "failed", "error": "it changes", "error_code": "format_changed",
        "parts": [{"number": number, "id": part, "tracks": tracks, **span} for number in (1, 2)],
    }  # fmt: skip
    done = {"id": part, "state": "done", "progress": 1.0, "bytes": 1_000, "proven": True}
    page.route("**/exports", lambda route: route.fulfill(status=202, json=failed))
    page.route(f"**/exports/{part}", lambda route: route.fulfill(json=done))
    page.get_by_label("From", exact=True).fill("2026-01-01T00:00:00")
    page.get_by_label("To", exact=True).fill("2026-01-01T01:00:00")
    page.get_by_role("button", name="Make MP4").click()
    expect(page.get_by_text("Each part has its own")).to_be_visible()
    page.get_by_role("button", name=re.compile(r"^2\. .* H\.265 640.360$")).click()
    expect(page.get_by_role("button", name="Save proof")).to_be_visible()
    with page.expect_request("**/play_token") as signed:
        page.get_by_role("button", name="Save MP4").click()
    asked = signed.value.post_data_json or {}
    assert {name: asked.get(name) for name in span} == span
    expect(page.get_by_role("button", name=re.compile(r"^1\. "))).to_be_visible()


def test_the_page_works_under_a_path_of_another_site(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    session, prefix = new_session(f"{site.webui}/cams"), f"{site.webui}/cams/"

    def proxied(route: Route) -> None:
        """Answer as a proxy does that strips the path; nothing else is there."""
        if not route.request.url.startswith(prefix):
            route.fulfill(status=404)
            return
        url = f"{site.webui}/{route.request.url.removeprefix(prefix)}"
        route.fulfill(response=route.fetch(url=url))

    session.page.route("**/*", proxied)
    session.page.goto(f"{prefix}#token={site.token('watcher')}")
    expect(session.card("Interrupted")).to_be_visible()
    start = datetime.fromisoformat(gap["started_at"]) - timedelta(seconds=4)
    with session.page.expect_response("**/playlist.m3u8?*") as playlist:
        session.go(f"#/camera/{camera.camera_id}/recordings/{start.isoformat()}")
    assert playlist.value.status == 200
    with session.page.expect_download() as saved:
        session.page.get_by_role("button", name="Download segment").click()
    assert saved.value.suggested_filename.endswith(".mp4")
    asked = [one.url for one in session.asked if one.url.startswith("http")]
    assert [url for url in asked if not url.startswith(prefix)] == []
    session.page.goto("about:blank")
    session.page.unroute_all(behavior="ignoreErrors")


def test_the_second_of_two_equal_hours_can_be_exported(
    site: DemoSite, new_session: NewSession
) -> None:
    """On 2025-11-02 the clocks of New York show 01:30 at 05:30 and at 06:30 UTC."""
    camera = site.add("watcher", "Twice")
    session = new_session(site.webui, timezone_id="America/New_York", locale="en-US")
    session.allow_refusals = True  # there is no such file
    page, ends = session.page, "2025-11-02T06:31:00.000Z"
    item = {
        "kind": "segment", "id": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff", "bytes": 1, "run": 1,
        "started_at": "2025-11-02T06:30:00.000Z", "ended_at": ends, "salvaged": False,
    }  # fmt: skip
    playlist = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:60\n#EXT-X-PROGRAM-DATE-TIME:"
        f"{item['started_at']}\n#EXTINF:60.000,\n{item['id']}.mp4\n#EXT-X-ENDLIST\n"
    )
    listed = {"items": [item], "next_cursor": None}
    page.route("**/recordings?*", lambda route: route.fulfill(json=listed))
    page.route("**/playlist.m3u8?*", lambda route: route.fulfill(body=playlist))
    session.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/2025-11-02T06:30:05.000Z"
    )
    clock = page.locator("time.clock")
    expect(clock).to_have_text(re.compile(r"01:30:05 UTC-05:00$"))
    page.get_by_role("button", name="From: Take the playing time").click()
    page.get_by_label("To", exact=True).fill("2025-11-02T01:30:20")
    with page.expect_request("**/exports") as asked:
        page.get_by_role("button", name="Make MP4").click()
    assert asked.value.post_data_json == {
        "from": "2025-11-02T06:30:05.000Z",
        "to": "2025-11-02T06:30:20.000Z",
    }
    page.get_by_label("From: offset from UTC").select_option(label="UTC-04:00")
    page.get_by_label("To: offset from UTC").select_option(label="UTC-04:00")
    with page.expect_request("**/exports") as first:
        page.get_by_role("button", name="Make MP4").click()
    assert first.value.post_data_json == {
        "from": "2025-11-02T05:30:05.000Z",
        "to": "2025-11-02T05:30:20.000Z",
    }
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert session.overflow_px() == 0


def test_an_export_outlives_a_server_that_is_away_for_a_while(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    session = opened(site, new_session, camera, gap["started_at"])
    session.allow_refusals = True
    page = session.page
    export = {
        "id": "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0ff", "state": "running", "progress": 0.42,
        "bytes": None, "error": None,
    }  # fmt: skip
    away = {"status": 502, "json": {"code": "api_unreachable", "detail": "x"}}
    page.route("**/exports", lambda route: route.fulfill(status=202, json=export))
    page.route("**/exports/*", lambda route: route.fulfill(**away))
    page.get_by_label("From", exact=True).fill("2026-01-01T00:00:00")
    page.get_by_label("To", exact=True).fill("2026-01-01T01:00:00")
    page.get_by_role("button", name="Make MP4").click()
    expect(page.get_by_text("The API is not running.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    done = {**export, "state": "done", "progress": 1.0, "bytes": 1_000}
    page.unroute("**/exports/*")
    page.route("**/exports/*", lambda route: route.fulfill(json=done))
    expect(page.get_by_role("button", name="Save MP4")).to_be_visible()


def test_play_begins_with_the_first_recording_of_the_day(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera)
    session.page.get_by_role("button", name="Play", exact=True).click()
    session.await_moving_picture()
    first = datetime.fromisoformat(camera.segments()[0]["started_at"])
    assert abs(session.first_moment() - first) < timedelta(seconds=LATE_S)


def test_a_range_that_ends_before_it_starts_and_one_of_a_year_are_told(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, _ = interrupted
    session = opened(site, new_session, camera)
    session.allow_refusals = True
    page = session.page
    page.get_by_label("From", exact=True).fill("2026-01-02T00:00:00")
    page.get_by_label("To", exact=True).fill("2026-01-01T00:00:00")
    page.get_by_role("button", name="Make MP4").click()
    expect(page.get_by_text("The end must be after the start.")).to_be_visible()
    page.get_by_label("From", exact=True).fill("2024-01-01T00:00:00")
    page.get_by_label("To", exact=True).fill("2025-01-01T00:00:00")
    page.get_by_role("button", name="Make MP4").click()
    expect(page.get_by_text(re.compile("Nothing was recorded|too long|failed"))).to_be_visible()


def test_playing_goes_on_with_what_is_recorded_meanwhile(
    site: DemoSite, new_session: NewSession
) -> None:
    camera = site.recording()
    last = camera.await_segments(2)[-1]
    session = opened(site, new_session, camera, last["started_at"])
    session.await_moving_picture()
    end = datetime.fromisoformat(last["ended_at"])

    def is_past() -> bool:
        moment = shown_moment(session)
        return moment is not None and moment > end + timedelta(seconds=1)

    for _ in range(120):
        if is_past():
            return
        session.page.wait_for_timeout(500)
    pytest.fail("it stopped where the recordings ended when the page was opened")


def test_hls_js_is_loaded_only_where_the_browser_cannot_play_by_itself(
    site: DemoSite, new_session: NewSession, interrupted: tuple[CameraUser, Gap]
) -> None:
    camera, gap = interrupted
    start = datetime.fromisoformat(gap["started_at"]) - timedelta(seconds=3)
    loaded = {}
    for native in (True, False):
        session = new_session(site.webui)
        if not native:
            session.page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
        session.sign_in(
            site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{start.isoformat()}"
        )
        session.await_moving_picture()
        first = session.first_moment()
        assert abs(first - start) < timedelta(seconds=4)
        loaded[native] = any("hls.light" in request.url for request in session.asked)
    assert loaded == {True: False, False: True}
