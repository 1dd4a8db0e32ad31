"""The operators' page: figures, the tree, a restart by hand."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_operators_see_states_coverage_disk_and_the_tree(
    site: DemoSite, new_session: NewSession
) -> None:
    site.recording()
    page = new_session(site.webui).sign_in(site.token("op", "admin"), "#/operations")
    expect(page.locator('.tile[data-state="running"] strong')).to_have_text(re.compile("[1-9]"))
    row = page.get_by_role("row", name=re.compile("Last hour"))
    expect(row).to_contain_text(re.compile(r"\d+(\.\d+)? %"))
    expect(page.get_by_text(re.compile(r"[\d.]+ GB of [\d.]+ GB free"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("stream_manager"))).to_contain_text("running")
    expect(page.locator(".u-wrap canvas").first).to_be_visible()


def test_respawns_are_told_by_what_was_lost_to(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    off = site.add(owner, "Nobody sends")
    assert off.connect({}).status == 200
    page = new_session(site.webui).sign_in(site.token("op", "admin"), "#/operations")
    row = page.get_by_role("region", name="Respawns, by cause").get_by_role("row")
    expect(row.filter(has_text="the camera is not sending")).to_have_text(re.compile("[1-9]"))
    off.disconnect()


def test_a_camera_that_is_started_meanwhile_has_its_name(
    site: DemoSite, new_session: NewSession
) -> None:
    page = new_session(site.webui).sign_in(site.token("op", "admin"), "#/operations")
    expect(page.get_by_role("row", name=re.compile("stream_manager"))).to_be_visible()
    late = site.add(site.new_owner(), "Latecomer")
    assert late.connect({}).status == 200
    expect(page.get_by_role("cell", name="Latecomer", exact=True)).to_be_visible()
    late.disconnect()


def test_a_recorder_is_restarted_by_hand(site: DemoSite, new_session: NewSession) -> None:
    camera = site.recording()
    before = camera.status()["run"]
    page = new_session(site.webui).sign_in(site.token("op", "admin"), "#/operations")
    page.get_by_role("button", name="Restart Recorded").click()
    expect(page.get_by_text("Recorded is being restarted.")).to_be_visible()
    camera.await_status(lambda status: status["run"] > before and status["status"] == "running")


def test_who_is_no_admin_is_shown_no_way_there_and_told_at_the_address(
    site: DemoSite, new_session: NewSession
) -> None:
    page = new_session(site.webui).sign_in(site.token("watcher"), "#/operations")
    expect(page.get_by_role("link", name="Operations")).to_have_count(0)
    expect(page.get_by_text("This page needs the role admin.")).to_be_visible()


def test_a_streaming_role_that_is_away_leaves_the_rest_of_the_page(
    site: DemoSite, new_session: NewSession
) -> None:
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token("op", "admin"), "#/operations")
    expect(page.locator(".tile").first).to_be_visible()
    site.installation.streaming.kill()
    try:
        expect(page.locator("section .notice")).to_contain_text(
            "The recording server does not answer."
        )
        expect(page.get_by_role("row", name=re.compile("Last hour"))).to_be_visible()
    finally:
        site.installation.start_streaming()
    expect(page.locator("section .notice")).to_be_hidden()
