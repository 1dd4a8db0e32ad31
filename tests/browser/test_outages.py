"""What the page says while something behind it is away, and that it comes back by itself."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import NewPerson
from tests.browser.site import Site


def test_an_api_that_is_killed_is_told_and_the_page_goes_on_when_it_is_back(
    site: Site, new_person: NewPerson
) -> None:
    owner = site.new_owner()
    site.add(owner, "Steady")
    person = new_person(site.webui)
    person.allow_refusals = True
    page = person.sign_in(site.token(owner))
    expect(person.card("Steady").locator(".badge")).to_have_text("Stopped")
    site.stage.api.kill()
    try:
        expect(page.locator("section .notice")).to_contain_text("The API is not running.")
        expect(page.locator("section .notice")).to_contain_text("Recording goes on.")
        person.card("Steady").get_by_role("button", name="Start").click()
        expect(person.card("Steady").get_by_role("alert")).to_contain_text("The API is not running")
    finally:
        site.stage.start_api()
    expect(page.locator("section .notice")).to_be_hidden(timeout=30_000)
    person.card("Steady").get_by_role("button", name="Start").click()
    expect(person.card("Steady").locator(".badge")).to_have_text(
        re.compile("Starting|Waiting to retry"), timeout=15_000
    )
    person.card("Steady").get_by_role("button", name="Stop").click()


def test_a_page_opened_while_the_api_is_away_fills_in_when_it_is_back(
    site: Site, new_person: NewPerson
) -> None:
    owner = site.new_owner()
    site.add(owner, "Later")
    person = new_person(site.webui)
    person.allow_refusals = True
    site.stage.api.kill()
    try:
        page = person.sign_in(site.token(owner))
        expect(page.get_by_role("heading", name="The API is not running.")).to_be_visible()
    finally:
        site.stage.start_api()
    expect(person.card("Later")).to_be_visible(timeout=20_000)


def test_a_recording_server_that_is_away_leaves_the_wish_as_it_was(
    site: Site, new_person: NewPerson
) -> None:
    owner = site.new_owner()
    site.add(owner, "Waiting")
    person = new_person(site.webui)
    person.allow_refusals = True
    page = person.sign_in(site.token(owner))
    expect(person.card("Waiting").locator(".badge")).to_have_text("Stopped")
    site.stage.streaming.kill()
    try:
        person.card("Waiting").get_by_role("button", name="Start").click()
        problem = person.card("Waiting").get_by_role("alert")
        expect(problem).to_contain_text("The recording server does not answer.")
        expect(problem).to_contain_text("Nothing was changed.")
    finally:
        site.stage.start_streaming()
    expect(page.locator("section .notice")).to_be_hidden(timeout=30_000)
    expect(person.card("Waiting").locator(".badge")).to_have_text("Stopped")
