"""Clocks that are wrong, tokens that end while something plays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_a_wrong_clock_is_told_and_signs_nobody_out(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Timeless")
    session = new_session(site.webui)
    session.page.clock.install(time=datetime.now(UTC) + timedelta(days=2, minutes=30))
    page = session.sign_in(site.token(owner))
    expect(page.get_by_text("This computer's clock is 2 d")).to_be_visible()
    session.page.clock.run_for(5_000)
    expect(page.locator(".who .name")).to_have_text(owner)


def test_a_sign_in_that_expires_while_a_recording_plays_is_told(
    site: DemoSite, new_session: NewSession
) -> None:
    camera = site.recording()
    first = camera.await_segments(2)[0]
    session = new_session(site.webui)
    session.allow_refusals = True  # what was asked for at the last moment
    session.page.clock.install()
    page = session.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    session.await_moving_picture()
    session.page.clock.fast_forward("01:01:00")
    expect(page.get_by_role("alert")).to_contain_text("has expired")
    expect(page.locator("video")).to_have_count(0)


def test_recordings_play_on_with_a_new_token_when_the_player_is_refused(
    site: DemoSite, new_session: NewSession
) -> None:
    camera = site.recording()
    first = camera.await_segments(4)[0]
    session = new_session(site.webui)
    session.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    session.await_moving_picture()
    before = session.page.locator(".clock").get_attribute("datetime")
    with session.page.expect_request("**/recordings/play_token"):
        # What Chromium does when a segment is answered 401.
        session.page.evaluate(
            "() => document.querySelector('video').dispatchEvent(new Event('error'))"
        )
    session.page.evaluate("() => { window.seenFirst = undefined }")
    session.await_moving_picture()
    assert str(session.page.locator(".clock").get_attribute("datetime")) > str(before)
