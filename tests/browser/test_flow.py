"""The seed's diagram in a browser, arrow by arrow, from the click to the moving picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Response, expect

from streamwarden.devkit.video_source import SMALL_PICTURE
from streamwarden.devkit.virtual_camera import VirtualCamera
from tests.acceptance.metrics_of import metric_value
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for
from tests.browser.browser_session import BrowserSession
from tests.browser.conftest import NewSession
from tests.browser.demo_site import DemoSite


@contextmanager
def pushing(site: DemoSite, camera: CameraUser, link: str) -> Iterator[None]:
    """Have an encoder push to the link that a page has shown."""
    with VirtualCamera(
        camera.camera_id, lambda: link, ffmpeg=site.installation.ffmpeg, source=SMALL_PICTURE
    ):
        site.installation.await_published(camera)
        yield


def publish_link(session: BrowserSession) -> str:
    """Return the link that the page shows, which is the API's answer to its question."""
    page = session.page
    with page.expect_response(re.compile(r"/bff/v1/camera/[^/]+/publish_rtsp_url\?ttl=")) as told:
        session.card("Diagram").get_by_role("button", name="推流連結").click()
    assert told.value.status == 200
    shown = page.get_by_role("dialog").get_by_label("連結", exact=True).input_value()
    assert shown == told.value.json()["publish_rtsp_url"]
    page.keyboard.press("Escape")
    return str(shown)


def pressed(session: BrowserSession, camera: CameraUser) -> Response:
    """Press 開始串流 and return what was answered."""
    path = f"{session.base}/bff/v1/camera/{camera.camera_id}/stream/connect"
    with session.page.expect_response(path) as answered:
        session.card("Diagram").get_by_role("button", name="開始串流").click()
    return answered.value


def recorders_url(site: DemoSite, camera: CameraUser) -> str:
    """Return the URL that FFmpeg was given."""

    def look() -> str | None:
        process = site.installation.streaming.recorder(
            site.installation.record_root, camera.camera_id
        )
        argv = process.cmdline() if process else []
        return argv[argv.index("-i") + 1] if "-i" in argv else None

    return str(wait_for("the recorder's FFmpeg", look))


def test_from_the_click_to_the_moving_picture_as_the_diagram_has_it(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Diagram")
    session = new_session(site.webui, locale="zh-TW")
    page = session.sign_in(site.token(owner))
    card = session.card("Diagram")
    expect(card.locator(".badge")).to_have_text("已停止")
    reads = {"action": "read", "outcome": "allowed"}
    asked_before = metric_value(site.installation.api_url, "stream_auth_total", **reads)

    def asked_again() -> bool:
        return metric_value(site.installation.api_url, "stream_auth_total", **reads) > asked_before

    with pushing(site, camera, publish_link(session)):
        # Browser ->> WebUIServer ->> APIServer, and the answer back.
        answer = pressed(session, camera)
        request = answer.request
        assert request.method == "POST"
        assert request.headers["authorization"] == f"Bearer {site_token(session)}"
        assert answer.status == 200
        found: dict[str, Any] = answer.json()
        assert set(found) == {"ttl", "info"}
        assert (found["ttl"], found["info"]["segment_seconds"]) == (300, 2)
        assert found["info"]["status"] in {"starting", "running"}
        expect(card.locator(".badge")).to_have_text(re.compile("啟動中|錄影中"))

        # One request id from the browser to FFmpeg's run.
        request_id = request.headers["x-request-id"]
        assert answer.headers["x-request-id"] == request_id
        ordered = wait_for(
            "the run's order",
            lambda: [
                event
                for event in site.installation.streaming.events("run_ordered")
                if event["camera"] == camera.camera_id
            ],
        )
        assert ordered[0]["request_id"] == request_id

        # APIServer: an internal read token; StreamingServer: FFmpeg; MediaMTX: asks whether it may.
        url = urlsplit(recorders_url(site, camera))
        path = site.installation.path_of(camera)
        assert (
            f"{url.scheme}://{url.netloc}{url.path}" == f"{site.installation.relay.rtsp_url}/{path}"
        )
        claims = jwt.decode(parse_qs(url.query)["token"][0], options={"verify_signature": False})
        assert (claims["aud"], claims["action"], claims["path"]) == ("rtsp", "read", path)
        wait_for("the media server's question", asked_again)

        # The browser polls until it runs, and then shows the picture.
        expect(card.locator(".badge")).to_have_text("錄影中")
        expect(card.locator(".last")).to_contain_text("最後片段")
        asked = [urlsplit(each.url).path for each in session.asked]
        assert f"/bff/v1/camera/{camera.camera_id}/stream/status" in asked
        card.get_by_role("link", name="Diagram", exact=True).click()
        session.await_moving_picture()
        page.locator("summary").click()
        page.get_by_role("button", name="停止錄影").click()
        page.get_by_role("dialog").get_by_role("button", name="停止錄影").click()
        expect(page.locator(".state-panel .badge")).to_have_text("已停止")


def site_token(session: BrowserSession) -> str:
    """Return the token that the tab keeps."""
    return str(session.page.evaluate("() => sessionStorage.getItem('streamwarden.token')"))


def test_the_preview_is_asked_for_only_once_the_status_is_running(
    site: DemoSite, new_session: NewSession
) -> None:
    owner = site.new_owner()
    camera = site.add(owner, "Later")
    session = new_session(site.webui)
    session.allow_refusals = True  # the first part of the live playlist comes a little later
    page = session.sign_in(site.token(owner), f"#/camera/{camera.camera_id}")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".reason-line")).to_contain_text("the camera is not sending")
    assert [each.url for each in session.asked if "/preview" in each.url] == []
    running = site.push(camera)
    with page.expect_request("**/preview?ttl=*"):
        pass
    expect(page.locator(".state-panel .badge")).to_have_text("Recording")
    camera.disconnect()
    running.stop()


@pytest.mark.parametrize("press", ["stream/connect", "stream/disconnect"])
def test_a_stranger_is_answered_403_or_404_through_the_bff(
    site: DemoSite, new_session: NewSession, press: str
) -> None:
    camera = site.add(site.new_owner(), "Private")
    session = new_session(site.webui)
    session.allow_refusals = True
    page = session.sign_in(site.token("stranger"))
    status, code = page.evaluate(
        """async path => {
          const token = sessionStorage.getItem('streamwarden.token');
          const answer = await fetch(path, {method: 'POST', body: '{}', headers: {
            Authorization: `Bearer ${token}`, 'Content-Type': 'application/json'}});
          return [answer.status, (await answer.json()).code];
        }""",
        f"/bff/v1/camera/{camera.camera_id}/{press}",
    )
    hidden = (404, "camera_not_found")
    assert (status, code) == ((403, "permission_denied") if press == "stream/connect" else hidden)
