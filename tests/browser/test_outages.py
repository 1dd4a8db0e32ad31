"""What the page says while something behind it is away, and that it comes back by itself."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_an_api_that_is_killed_is_told_and_the_page_goes_on_when_it_is_back(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Steady")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token(owner))
    expect(session.card("Steady").locator(".badge")).to_have_text("Stopped")
    site.installation.api.kill()
    try:
        expect(page.locator("section .notice")).to_contain_text("The API is not running.")
        expect(page.locator("section .notice")).to_contain_text("Recording does not depend on it")
        expect(session.card("Steady").locator(".badge")).to_have_text(re.compile(r"\d:.*Stopped"))
        session.card("Steady").get_by_role("button", name="Start").click()
        expect(session.card("Steady").get_by_role("alert")).to_contain_text(
            "The API is not running"
        )
    finally:
        site.installation.start_api()
    expect(page.locator("section .notice")).to_be_hidden()
    expect(session.card("Steady").locator(".badge")).to_have_text("Stopped")
    session.card("Steady").get_by_role("button", name="Start").click()
    expect(session.card("Steady").locator(".badge")).to_have_text(
        re.compile("Starting|Waiting to retry")
    )
    session.stop("Steady")
    expect(session.card("Steady").locator(".badge")).to_have_text("Stopped")


def test_a_page_opened_while_the_api_is_away_fills_in_when_it_is_back(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Later")
    session = new_session(site.webui)
    session.allow_refusals = True
    site.installation.api.kill()
    try:
        page = session.sign_in(site.token(owner))
        expect(page.get_by_role("heading", name="The API is not running.")).to_be_visible()
    finally:
        site.installation.start_api()
    expect(session.card("Later")).to_be_visible()


def test_a_recording_server_that_is_away_leaves_the_desired_state_as_it_was(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Waiting")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token(owner))
    expect(session.card("Waiting").locator(".badge")).to_have_text("Stopped")
    site.installation.streaming.kill()
    try:
        session.card("Waiting").get_by_role("button", name="Start").click()
        problem = session.card("Waiting").get_by_role("alert")
        expect(problem).to_contain_text("The recording server does not answer.")
        expect(problem).to_contain_text("Nothing was changed.")
    finally:
        site.installation.start_streaming()
    expect(page.locator("section .notice")).to_be_hidden()
    expect(session.card("Waiting").locator(".badge")).to_have_text("Stopped")


@pytest.mark.parametrize(
    ("route", "then"),
    [("", ".state-panel"), ("/recordings", ".timeline")],
    ids=["live", "recordings"],
)
def test_a_cameras_page_opened_while_the_api_is_away_fills_in_when_it_is_back(
    site: DemoSite, new_session: NewSession, route: str, then: str
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Late")
    session = new_session(site.webui)
    session.allow_refusals = True
    site.installation.api.kill()
    try:
        page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}{route}")
        expect(page.get_by_role("heading", name="The API is not running.")).to_be_visible()
    finally:
        site.installation.start_api()
    expect(page.locator(then)).to_be_visible()


def test_recordings_say_of_when_they_are_while_the_api_is_away(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Today")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}/recordings")
    expect(page.get_by_text("Nothing was recorded on this day.")).to_be_visible()
    site.installation.api.kill()
    try:
        expect(page.locator(".recordings-page > .notice")).to_contain_text(
            re.compile("As of .*API")
        )
    finally:
        site.installation.start_api()
    expect(page.locator(".recordings-page > .notice")).to_be_hidden()
