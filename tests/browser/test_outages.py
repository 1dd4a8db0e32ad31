"""What the page says while something behind it is away, and that it comes back by itself."""

from __future__ import annotations

import re

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
        expect(page.locator("section .notice")).to_contain_text("Recording goes on.")
        session.card("Steady").get_by_role("button", name="Start").click()
        expect(session.card("Steady").get_by_role("alert")).to_contain_text(
            "The API is not running"
        )
    finally:
        site.installation.start_api()
    expect(page.locator("section .notice")).to_be_hidden()
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
