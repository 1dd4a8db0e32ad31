"""Every page at a desk and on a phone: nothing cut off, nobody kept out; kept as pictures to look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from streamwarden.tests.browser.conftest import NewPerson
from streamwarden.tests.browser.site import Site

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LONG = "North-east warehouse, loading dock 4, second floor: 三號倉庫東北角裝卸區二樓走道 camera"
PAGES = {
    "sign-in": "",
    "cameras": "#/",
    "camera": "#/camera/{camera}",
    "recordings": "#/camera/{camera}/recordings/{moment}",
    "operations": "#/operations",
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", [("light", "en"), ("dark", "zh-TW")], ids=["light", "dark"])
def test_a_page_fits_and_keeps_nobody_out(  # noqa: PLR0917 - fixtures and parameters come by name
    site: Site,
    new_person: NewPerson,
    screenshots: Path,
    name: str,
    size: str,
    look: tuple[str, str],
) -> None:
    camera, (scheme, locale) = site.recording(LONG), look
    person = new_person(site.webui, viewport=SIZES[size], color_scheme=scheme, locale=locale)
    page = person.page
    if name == "sign-in":
        page.goto(site.webui)
        expect(page.get_by_role("textbox")).to_be_visible()
    else:
        moment = camera.segments()[0]["started_at"]
        person.sign_in(
            site.token("watcher", "admin"),
            PAGES[name].format(camera=camera.camera_id, moment=moment),
        )
        expect(page.locator("h1")).to_be_attached()
        page.wait_for_timeout(2_500)  # pictures and plots come in; the picture is for a person
    assert person.overflow_px() <= 0
    page.screenshot(path=screenshots / f"{name}-{size}-{scheme}.png", full_page=True)
    assert person.serious_findings() == []


def test_the_page_is_usable_at_twice_the_size(site: Site, new_person: NewPerson) -> None:
    """200 % on a screen of 1280 pixels leaves the page 640."""
    camera = site.recording(LONG)
    person = new_person(site.webui, viewport={"width": 640, "height": 450}, device_scale_factor=2)
    for route in ("#/", f"#/camera/{camera.camera_id}", f"#/camera/{camera.camera_id}/recordings"):
        person.sign_in(site.token("watcher"), route)
        expect(person.page.locator("h1")).to_be_visible()
        assert person.overflow_px() <= 0


def test_the_list_is_reached_by_keyboard_alone(site: Site, new_person: NewPerson) -> None:
    site.recording(LONG)
    person = new_person(site.webui)
    page = person.sign_in(site.token("watcher"))
    expect(page.locator("li.card .badge").first).to_have_text("Recording")
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.textContent"))
    assert {"Skip to content", "Cameras", "Sign out", LONG, "Stop", "Recordings"} <= set(reached)
