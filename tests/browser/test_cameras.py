"""The list of cameras: what a person sees, presses, and is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Route, expect

from tests.acceptance.calls import Caller
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


def test_waiting_to_retry_says_why_and_counts_down(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Off")
    camera.connect({})
    session = new_session(site.webui)
    session.sign_in(site.token(owner))
    reason = session.card("Off").locator(".reason")
    expect(reason).to_contain_text("the camera is not sending")
    expect(reason).to_contain_text(re.compile(r"next try in \d+ s|trying now"))
    assert "power and network" in (reason.get_attribute("title") or "")
    camera.disconnect()


def answering(answer: object) -> Callable[[Route], None]:
    """Return who answers in the API's place."""
    return lambda route: route.fulfill(json=answer)


def test_every_state_has_words_and_says_what_can_be_done(
    site: DemoSite, new_session: NewSession
) -> None:
    """States that a healthy installation does not show are put into the API's mouth."""
    owner = site.new_owner()
    session = new_session(site.webui)
    said = {
        "stalled": ("Stalled", "connected, but no picture is coming", "Check the camera"),
        "backoff": ("Waiting to retry", "the recording disk is full", "free space"),
        "parked": ("Out of service", "The recorder failed too often", "within the hour"),
        "stopping": ("Stopping", None, None),
    }
    causes = {"stalled": "stalled", "backoff": "disk_full", "parked": "internal"}
    for state in said:
        camera = site.add(owner, state)
        answer = {**camera.status(), "status": state}
        if cause := causes.get(state):
            at = "2026-01-01T00:00:00.000Z"
            answer["last_error"] = {"cause": cause, "message": "x", "at": at}
        session.page.route(
            f"**/camera/{camera.camera_id}/stream/status",
            answering(answer),
        )
    session.sign_in(site.token(owner))
    for state, (badge, why, todo) in said.items():
        card = session.card(state)
        expect(card.locator(".badge")).to_have_text(badge)
        reason = card.locator(".reason")
        if why and todo:
            expect(reason).to_contain_text(why)
            expect(reason).to_have_attribute("title", re.compile(todo))
        else:
            expect(reason).to_be_hidden()


def test_without_cameras_the_page_tells_what_to_do(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    page = new_session(site.webui).sign_in(site.token(owner))
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
    expect(page.get_by_text(f"belongs to you, {owner}")).to_be_visible()


def test_the_first_camera_appears_without_a_reload(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner))
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
    site.add(owner, "First")
    expect(session.card("First").locator(".badge")).to_have_text("Stopped")
    expect(page.get_by_role("heading", name="No cameras yet")).to_have_count(0)


def test_cameras_that_come_change_and_go_are_seen_in_an_open_page(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    changed = site.add(owner, "Before")
    session = new_session(site.webui)
    session.page.clock.install()
    page = session.sign_in(site.token(owner))
    expect(session.card("Before").locator(".badge")).to_have_text("Stopped")
    site.add(owner, "New")
    fields = {"name": "After", "status": "inactive"}
    site.installation.admin.patch(f"/api/v1/camera/{changed.camera_id}", fields)
    page.clock.run_for(61_000)
    expect(session.card("New").locator(".badge")).to_have_text("Stopped")
    expect(session.card("After").get_by_role("button", name="Start")).to_be_disabled()
    expect(page.locator("li.card h2")).to_have_text(["After", "New"])


def test_nothing_can_be_pressed_before_the_state_is_known(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Unknown")
    session = new_session(site.webui)
    session.page.route("**/stream/status", lambda _route: None)
    session.sign_in(site.token(owner))
    expect(session.card("Unknown").get_by_role("button", name="Start")).to_be_disabled()


def test_a_camera_taken_away_meanwhile_is_a_403_in_words(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Shared")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token(owner))
    expect(session.card("Shared").locator(".badge")).to_have_text("Stopped")
    # Else the next poll would see that the camera has gone from this user's list.
    page.route("**/stream/status", lambda route: route.fulfill(status=503, json={"code": "x"}))
    answer = site.installation.admin.patch(
        f"/api/v1/camera/{camera.camera_id}", {"owner": "somebody-else"}
    )
    assert answer.status == 200
    session.card("Shared").get_by_role("button", name="Start").click()
    problem = session.card("Shared").get_by_role("alert")
    expect(problem).to_contain_text("You are not allowed to do this.")
    expect(problem).to_contain_text("Ask the camera's owner")


def test_an_inactive_camera_cannot_be_started_and_says_so(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Resting", status="inactive")
    session = new_session(site.webui)
    session.sign_in(site.token(owner))
    start = session.card("Resting").get_by_role("button", name="Start")
    expect(start).to_be_disabled()
    expect(start).to_have_attribute("title", "This camera has been set to inactive.")


def test_a_camera_deleted_while_shown_goes(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Short-lived")
    site.add(owner, "Stays")
    session = new_session(site.webui)
    session.allow_refusals = True
    session.sign_in(site.token(owner))
    expect(session.card("Short-lived").locator(".badge")).to_have_text("Stopped")
    assert site.installation.admin.call("DELETE", f"/api/v1/camera/{camera.camera_id}").status in {
        200,
        204,
    }
    expect(session.card("Short-lived")).to_have_count(0)
    expect(session.card("Stays")).to_be_visible()


def test_a_camera_deleted_while_its_own_page_is_open_is_told(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Looked at")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
    expect(page.locator(".state-panel .badge")).to_have_text("Stopped")
    answer = site.installation.admin.call("DELETE", f"/api/v1/camera/{camera.camera_id}")
    assert answer.status in {200, 204}
    expect(page.get_by_role("heading", name="There is no such camera.")).to_be_visible()
    expect(page.get_by_text("It may have been deleted")).to_be_visible()


def test_a_name_with_markup_is_a_name(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    name = '<img src=x onerror="window.hit=1">"&amp;\u202e{t}</title><script>window.hit=1</script>'
    camera = site.add(owner, name)
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner))
    expect(page.locator("li.card h2")).to_have_text(name)
    session.go(f"#/camera/{camera.camera_id}")
    expect(page.locator("h1")).to_have_text(name)
    session.go(f"#/camera/{camera.camera_id}/recordings")
    expect(page.locator("h1")).to_have_text(name)
    assert page.evaluate("() => window.hit") is None


def test_the_publish_link_is_shown_copied_and_renewed(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Pushing")
    session = new_session(site.webui)
    session.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = session.sign_in(site.token(owner))
    session.card("Pushing").get_by_role("button", name="Publish link").click()
    dialog = page.get_by_role("dialog")
    link = dialog.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile(r"^rtsp://.+token=.+"))
    first = link.input_value()
    dialog.get_by_role("button", name="Copy: Link").click()
    expect(dialog.get_by_role("button", name="Copy: Link")).to_have_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == first
    assert first in dialog.get_by_role("textbox", name="With FFmpeg").input_value()
    expect(dialog.get_by_text("Valid until")).to_contain_text("in 24 h")
    dialog.get_by_label("Valid for").select_option(label="7 days")
    expect(dialog.get_by_text("Valid until")).to_contain_text("in 7 d")
    assert link.input_value() != first
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def may_publish(site: DemoSite, link: str) -> bool:
    """Ask what the media server asks when something publishes with ``link``."""
    url = urlsplit(link)
    body = {
        "action": "publish",
        "protocol": "rtsp",
        "path": url.path.removeprefix("/"),
        "query": url.query,
    }
    answer = Caller(site.installation.internal_url).post("/api/v1/m2m/check-stream-pwd", body)
    assert answer.status in {200, 401}
    return answer.status == 200


def test_links_are_withdrawn_when_that_was_meant_and_a_new_one_is_good(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Lent")
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner))
    session.card("Lent").get_by_role("button", name="Publish link").click()
    dialog = page.get_by_role("dialog")
    link = dialog.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile("token="))
    lent = link.input_value()
    dialog.get_by_role("button", name="Withdraw all links").click()
    dialog.get_by_role("button", name="Keep them").click()
    assert may_publish(site, lent)
    dialog.get_by_role("button", name="Withdraw all links").click()
    dialog.get_by_role("button", name="Withdraw them").click()
    expect(dialog.get_by_text("are worthless now")).to_be_visible()
    assert not may_publish(site, lent)
    dialog.get_by_role("button", name="New link").click()
    expect(link).to_have_value(re.compile("token="))
    assert may_publish(site, link.input_value())


def test_the_list_is_filtered_by_name(site: DemoSite, new_session: NewSession) -> None:
    owner = site.new_owner()
    for number in range(7):
        site.add(owner, f"Gate {number}" if number < 3 else f"Yard {number}")
    session = new_session(site.webui)
    page = session.sign_in(site.token(owner))
    page.get_by_label("Filter cameras").fill("gate")
    expect(page.locator("li.card:visible")).to_have_count(3)
    expect(page.get_by_text("3 of 7")).to_be_visible()


def test_no_status_is_asked_again_while_the_last_is_unanswered(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    for number in range(12):
        site.add(owner, f"Slow {number}")
    session = new_session(site.webui)
    session.allow_refusals = True
    waiting: list[Route] = []

    def keep(route: Route) -> None:
        waiting.append(route)  # and never answer it

    session.page.route("**/stream/status", keep)
    page = session.sign_in(site.token(owner))
    page.wait_for_timeout(6_000)  # four ticks
    assert 1 <= len(waiting) <= 6
    for route in waiting:
        route.fulfill(status=503, json={"code": "unavailable"})


def test_nothing_is_asked_about_cameras_whose_list_was_left_while_it_loaded(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Left")
    session = new_session(site.webui)
    further: list[Route] = []

    def in_two_pages(route: Route) -> None:
        if "cursor" in route.request.url:
            further.append(route)
            return
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "next_cursor": "more"})

    session.page.route(re.compile(r"/bff/v1/camera\?"), in_two_pages)
    page = session.sign_in(site.token(owner))
    expect(session.card("Left")).to_be_visible()
    session.go("#/operations")
    expect(page.get_by_role("link", name="Left")).to_have_count(0)
    further[0].fulfill(json={"items": [], "next_cursor": None})
    page.wait_for_timeout(2_000)  # more than a tick
    assert not [asked.url for asked in session.asked if asked.url.endswith("/stream/status")]


def test_a_camera_that_is_pulled_has_no_link_to_publish_to(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    site.add(owner, "Yard")
    session = new_session(site.webui)
    asked: list[str] = []
    session.page.on("request", lambda request: asked.append(urlsplit(request.url).path))

    def pulled(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        for item in found["items"]:
            item["source_url"] = "rtsp://10.0.0.7/stream1"
        route.fulfill(response=answer, json=found)

    session.page.route(re.compile(r"/bff/v1/camera(\?.*)?$"), pulled)
    session.sign_in(site.token(owner))
    session.card("Yard").get_by_role("button", name="Publish link").click()
    dialog = session.page.get_by_role("dialog")
    expect(dialog.locator(".notice")).to_contain_text("from rtsp://10.0.0.7/stream1")
    expect(dialog.get_by_role("textbox")).to_have_count(0)
    assert not any(path.endswith("/publish_rtsp_url") for path in asked)
