"""Clocks that are wrong, tokens that end while something plays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.site import Site


def test_a_wrong_clock_is_told_and_signs_nobody_out(site: Site, new_person: NewPerson) -> None:
    owner = site.new_owner()
    site.add(owner, "Timeless")
    person = new_person(site.webui)
    person.page.clock.install(time=datetime.now(UTC) + timedelta(days=2, minutes=30))
    page = person.sign_in(site.token(owner))
    expect(page.get_by_text("This computer's clock is 2 d")).to_be_visible()
    person.page.clock.run_for(5_000)
    expect(page.locator(".who .name")).to_have_text(owner)


def test_a_sign_in_that_expires_while_a_recording_plays_is_told(
    site: Site, new_person: NewPerson
) -> None:
    camera = site.recording()
    first = camera.await_segments(2)[0]
    person = new_person(site.webui)
    person.allow_refusals = True  # what was asked for at the last moment
    person.page.clock.install()
    page = person.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    person.await_moving_picture()
    person.page.clock.fast_forward("01:01:00")
    expect(page.get_by_role("alert")).to_contain_text("has expired")
    expect(page.locator("video")).to_have_count(0)


def test_recordings_play_on_with_a_new_token_when_the_player_is_refused(
    site: Site, new_person: NewPerson
) -> None:
    camera = site.recording()
    first = camera.await_segments(4, within_s=60)[0]
    person = new_person(site.webui)
    person.sign_in(
        site.token("watcher"), f"#/camera/{camera.camera_id}/recordings/{first['started_at']}"
    )
    person.await_moving_picture()
    before = person.page.locator(".clock").get_attribute("datetime")
    with person.page.expect_request("**/recordings/play_token"):
        # What Chromium does when a segment is answered 401.
        person.page.evaluate(
            "() => document.querySelector('video').dispatchEvent(new Event('error'))"
        )
    person.page.evaluate("() => { window.seenFirst = undefined }")
    person.await_moving_picture()
    assert str(person.page.locator(".clock").get_attribute("datetime")) > str(before)
