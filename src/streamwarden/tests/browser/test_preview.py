"""The live picture: WebRTC from MediaMTX, live HLS where there is none, and a word on why not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from streamwarden.tests.acceptance.demo import DemoProgram, real_mediamtx
from streamwarden.tests.browser.conftest import NewPerson
from streamwarden.tests.browser.site import Site


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
    demo: DemoProgram, new_person: NewPerson
) -> None:
    person = new_person(demo.ready["webui"])
    whep = demo.cameras[0].api.get(f"{demo.cameras[0].path}/preview").json()["whep_url"]
    person.other_hosts_allowed.add(whep.split("/")[2])
    person.page.goto(demo.ready["sign_in_url"])
    person.page.get_by_role("link", name="Camera 1", exact=True).click()
    expect(person.page.locator(".corner")).to_have_text("Live · WebRTC", timeout=20_000)
    person.await_moving_picture()
    assert person.video("videoWidth") == 1280


def test_the_next_webrtc_session_is_open_before_the_last_ones_token_ends(
    demo: DemoProgram, new_person: NewPerson
) -> None:
    """The page is given tokens that seem to end in a few seconds: it must go on without a break."""
    person = new_person(demo.ready["webui"])
    camera = demo.cameras[0]
    whep = camera.api.get(f"{camera.path}/preview").json()["whep_url"]
    person.other_hosts_allowed.add(whep.split("/")[2])
    person.page.route(
        "**/preview?ttl=*",
        lambda route: route.continue_(url=re.sub(r"ttl=\d+", "ttl=50", route.request.url)),
    )
    person.page.goto(demo.ready["sign_in_url"])
    person.go(f"#/camera/{camera.camera_id}")
    person.await_moving_picture()
    with person.page.expect_request(
        lambda request: request.url == whep and request.method == "POST"
    ):
        pass  # the second session
    expect(person.page.locator(".over")).to_be_hidden()
    person.page.evaluate("() => { window.seenFirst = undefined }")
    person.await_moving_picture()


def test_without_webrtc_the_recorders_own_segments_play_live_with_their_delay(
    site: Site, new_person: NewPerson
) -> None:
    camera = site.recording()
    person = new_person(site.webui)
    page = person.sign_in(site.token("watcher"), f"#/camera/{camera.camera_id}")
    expect(page.locator(".corner")).to_have_text(
        re.compile(r"Live from recordings · \d+ s behind"), timeout=30_000
    )
    expect(page.locator(".note")).to_have_text("This server offers no WebRTC.")
    person.await_moving_picture()


def test_a_camera_that_is_not_recording_says_when_there_will_be_a_picture(
    site: Site, new_person: NewPerson
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Dark")
    page = new_person(site.webui).sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
    expect(
        page.get_by_text("The live picture appears when the camera is recording.")
    ).to_be_visible()


def test_somebody_elses_camera_is_no_camera(site: Site, new_person: NewPerson) -> None:
    camera = site.add(site.new_owner(), "Private")
    person = new_person(site.webui)
    person.allow_refusals = True
    page = person.sign_in(site.token("stranger"), f"#/camera/{camera.camera_id}")
    expect(page.get_by_role("heading", name="There is no such camera.")).to_be_visible()
    expect(page.get_by_text("not be shared with you")).to_be_visible()
