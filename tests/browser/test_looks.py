"""Every page at a desk and on a phone: nothing cut off, nobody kept out; kept as pictures to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.acceptance.user import CameraUser
from tests.browser.browser_session import BrowserSession
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite

DESK = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=390, height=844)
LONG = "North-east warehouse, loading dock 4, second floor: 三號倉庫東北角裝卸區二樓走道 camera"
PAGES = {
    "sign-in": ("", "textarea"),
    "cameras": ("#/", "li.card[data-state=running] img:not([hidden])"),
    "camera": ("#/camera/{camera}", ".corner:not([hidden])"),
    "recordings": ("#/camera/{camera}/recordings/{moment}", "video"),
    "operations": ("#/operations", ".u-wrap canvas"),
    "empty": ("#/", ".empty"),
}
"""Where each is, and what is there once it is all there."""


@pytest.fixture(scope="module")
def shown(site: DemoSite) -> Iterator[CameraUser]:
    """A camera that records, beside others of its owner that do not, each for a reason of its own."""
    site.add("watcher", "Yard")
    site.add("watcher", "Cellar", status="inactive")
    off = site.add("watcher", "Roof")
    assert off.connect({}).status == 200
    yield site.recording(LONG)
    off.disconnect()


def opened(site: DemoSite, session: BrowserSession, name: str, camera: CameraUser) -> None:
    """Go to a page and wait until all of it is there."""
    route, whole = PAGES[name]
    if name == "sign-in":
        session.page.goto(site.webui)
    else:
        sub, *roles = {"operations": ("op", "admin"), "empty": ("nobody",)}.get(name, ("watcher",))
        moment = camera.segments()[0]["started_at"]
        place = route.format(camera=camera.camera_id, moment=moment)
        session.sign_in(site.token(sub, *roles), place)
    expect(session.page.locator(whole).first).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "locale"), [("light", "en"), ("dark", "zh-TW")])
def test_a_page_fits_a_desk_and_a_phone_and_keeps_nobody_out(  # noqa: PLR0917 - by name
    site: DemoSite,
    new_session: NewSession,
    screenshots: Path,
    shown: CameraUser,
    name: str,
    scheme: str,
    locale: str,
) -> None:
    session = new_session(site.webui, viewport=DESK, color_scheme=scheme, locale=locale)
    opened(site, session, name, shown)
    if name == "recordings":
        session.await_moving_picture()
    for size, viewport in (("desk", DESK), ("phone", PHONE)):
        session.page.set_viewport_size(viewport)
        assert session.overflow_px() <= 0, size
        session.page.screenshot(path=screenshots / f"{name}-{size}-{scheme}.png", full_page=True)
    session.page.set_viewport_size(DESK if scheme == "light" else PHONE)
    assert session.serious_findings() == []


def test_the_publish_links_dialog_fits_and_keeps_nobody_out(
    site: DemoSite, new_session: NewSession, screenshots: Path
) -> None:
    owner = site.new_owner()
    site.add(owner, LONG)
    session = new_session(site.webui, viewport=DESK)
    page = session.sign_in(site.token(owner))
    session.card(LONG).get_by_role("button", name="Publish link").click()
    expect(page.locator("#publish-url")).to_be_visible()
    for size, viewport in (("desk", DESK), ("phone", PHONE)):
        page.set_viewport_size(viewport)
        assert session.overflow_px() <= 0, size
        page.screenshot(path=screenshots / f"publish-{size}.png")
    assert session.serious_findings() == []


def test_the_page_is_usable_at_twice_the_size(
    site: DemoSite, new_session: NewSession, shown: CameraUser
) -> None:
    """200 % on a screen of 1280 pixels leaves the page 640."""
    session = new_session(site.webui, viewport={"width": 640, "height": 450}, device_scale_factor=2)
    base = f"#/camera/{shown.camera_id}"
    session.sign_in(site.token("watcher"))
    places = {"#/": "li.card", base: ".camera-page", f"{base}/recordings": ".timeline"}
    for route, what in places.items():
        session.go(route)
        expect(session.page.locator(what).first).to_be_visible()
        assert session.overflow_px() <= 0, route


def test_the_list_is_reached_by_keyboard_alone(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    site.add(owner, "By keys")
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner))
    expect(session.card("By keys").locator(".badge")).to_have_text("Stopped")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.textContent"))
    assert {"Skip to content", "Cameras", "Sign out", "By keys", "Start", "Recordings"} <= {
        *reached
    }
