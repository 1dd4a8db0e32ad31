"""Stopping a recording: never by one tap, and with a way back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_a_recording_ends_only_when_asked_by_name_and_the_end_can_be_undone(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Till")
    camera.connect()
    session = new_session(site.webui, viewport={"width": 390, "height": 800})
    page = session.sign_in(site.token(owner))
    card = session.card("Till")
    expect(card.get_by_role("button", name="Start")).to_be_hidden()
    expect(card.get_by_role("button", name="Stop recording")).to_be_hidden()
    card.locator("summary").click()
    card.get_by_role("button", name="Stop recording Till").click()
    question = page.get_by_role("dialog")
    expect(question.get_by_role("heading")).to_have_text("Stop recording Till?")
    expect(question).to_contain_text("nothing of this camera is recorded")
    expect(question.get_by_role("button", name="Keep recording")).to_be_focused()
    page.keyboard.press("Enter")
    expect(question).to_be_hidden()
    assert camera.status()["status"] != "stopped"

    session.stop("Till")
    expect(card.locator(".reason")).to_contain_text(f"Stopped by {owner}")
    assert camera.status()["stopped"]["by"] == owner
    page.get_by_role("button", name="Undo").click()
    expect(card.get_by_role("button", name="Start")).to_be_hidden()
    expect(card.locator(".reason")).not_to_contain_text("Stopped by")
    assert camera.status()["stopped"] is None
    assert session.serious_findings() == []


def test_the_camera_page_asks_too(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Door")
    camera.connect()
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
    page.locator(".state-panel summary").click()
    page.get_by_role("button", name="Stop recording Door").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop recording").click()
    expect(page.locator(".state-panel .badge")).to_have_text("Stopped")
    expect(page.locator(".state-panel")).to_contain_text(f"Stopped by {owner}")
