"""``/docs``: Swagger UI under its own policy, with nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.acceptance.calls import Caller
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_every_operation_is_shown_and_can_be_tried(
    site: DemoSite, new_session: NewSession, screenshots: Path
) -> None:
    described = Caller(site.installation.api_url).get("/openapi.json").json()
    operations = sum(len(methods) for methods in described["paths"].values())
    session = new_session(site.installation.api_url, viewport={"width": 1280, "height": 900})
    page = session.page
    page.goto(f"{site.installation.api_url}/docs")
    expect(page.locator(".opblock")).to_have_count(operations)
    page.screenshot(path=screenshots / "api-page.png")
    one = page.locator(".opblock", has=page.locator("[data-path='/healthz']"))
    one.locator(".opblock-summary-control").click()
    one.get_by_role("button", name="Try it out").click()
    one.get_by_role("button", name="Execute").click()
    expect(one.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    one.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "api-page-tried.png")
