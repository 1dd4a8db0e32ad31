"""Page object: a signed-in browser context that fails the test for what a page must never do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
)

_AXE = Path(__file__).parent / "axe" / "axe.min.js"
SEEN_WITHIN_MS = 180_000
"""Patience: what a page shows at all it shows by then, on the busiest machine."""
_REFUSED = "Failed to load resource: the server responded with a status of"


class BrowserSession:
    """One browser context with one page.

    Whatever the test is about, the page writes no error to the console, throws nothing, and asks no
    other host for anything. ``allow_refusals`` lets the console name answers of 4xx and 5xx: that is
    Chromium's doing, not the page's.
    """

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.base = base
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SEEN_WITHIN_MS)
        self.allow_refusals = False
        self.other_hosts_allowed: set[str] = set()
        self.asked: list[Request] = []
        self._faults: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._faults.append(f"thrown: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)

    def sign_in(self, token: str, route: str = "") -> Page:
        """Open the sign-in link, then go to ``route``."""
        self.page.goto(f"{self.base}/#token={token}")
        expect(self.page.locator(".who")).to_be_attached()
        if route:
            self.go(route)
        return self.page

    def go(self, route: str) -> None:
        """Go to a page of the page."""
        self.page.evaluate("route => { location.hash = route }", route)

    def card(self, name: str) -> Locator:
        """Return the card of a camera."""
        return self.page.locator("li.card").filter(has=self.page.get_by_role("link", name=name))

    def stop(self, name: str) -> None:
        """Stop a camera's recording in the list, and say yes to the question."""
        self.card(name).locator("summary").click()
        self.card(name).get_by_role("button", name="Stop recording").click()
        self.page.get_by_role("dialog").get_by_role("button", name="Stop recording").click()

    def video(self, what: str) -> Any:  # noqa: ANN401 - any of its properties
        """Return a property of the page's video."""
        return self.page.locator("video").evaluate(f"video => video.{what}")

    def await_moving_picture(self) -> None:
        """Wait until the video shows new frames and its time advances."""
        self.page.wait_for_function(
            """() => {
              const video = document.querySelector("video");
              if (!video || video.readyState < 2) return false;
              const now = [video.currentTime, video.getVideoPlaybackQuality().totalVideoFrames];
              window.seenFirst ??= now;
              window.firstMoment ??= document.querySelector(".clock")?.dateTime ?? "";
              return now[0] > window.seenFirst[0] + 0.5 && now[1] > window.seenFirst[1] + 3;
            }""",
        )

    def first_moment(self) -> datetime:
        """Return the moment of a recording that `await_moving_picture` saw first, however slow we are."""
        return datetime.fromisoformat(self.page.evaluate("() => window.firstMoment"))

    def serious_findings(self) -> list[str]:
        """Return what axe-core finds that keeps people out."""
        # Evaluated by the debugger, so the page's policy stays as strict as it is.
        self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run({resultTypes: ['violations']})")
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0].get('failureSummary', '')}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]

    def overflow_px(self) -> int:
        """Return by how many pixels the page is wider than the screen."""
        return int(
            self.page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def leave(self) -> None:
        """Close the browser's window."""
        self.context.close()

    def check(self) -> None:
        """Fail for what the page must never do."""
        allowed = {urlsplit(self.base).netloc, *self.other_hosts_allowed}
        elsewhere = {
            request.url
            for request in self.asked
            if urlsplit(request.url).scheme in {"http", "https", "ws", "wss"}
            and urlsplit(request.url).netloc not in allowed
        }
        assert elsewhere == set(), elsewhere
        assert self._faults == [], self._faults

    def _on_request(self, request: Request) -> None:
        self.asked.append(request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if not message.text.startswith(_REFUSED):  # `_on_response` knows which, and who asked
            self._faults.append(message.text)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and not self.allow_refusals:
            path = urlsplit(response.url).path
            self._faults.append(f"{response.status} for {response.request.method} {path}")
