"""How soon the page is seen and can be used, and how smooth a day of recordings is.

    python benchmarks/page.py [--cameras 500] [--days 90] [--rounds 7]

Debian's Chromium opens the list of cameras, each time in a new browser profile, and then today's
recordings of a camera that has recorded segments of 30 s for all of those days. Prints the medians.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from _measuring import bound, say, spread
from _site import OWNER, Site, site
from playwright.sync_api import Browser, Page, expect, sync_playwright

from streamwarden.http.webui.webui_app import load_assets

SEGMENT_S = 30
LISTED_WITHIN_MS = 60_000
PAINTED_WITHIN_S = 1.0
USABLE_WITHIN_S = 1.5
FRAME_MS = 16.7
ASSETS_BYTES = 250_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

WATCH_FOR_BUTTONS = """new MutationObserver((_, self) => {
  if (!document.querySelector("li.card button.toggle")) return;
  window.usableAt = performance.now();
  self.disconnect();
}).observe(document, {childList: true, subtree: true})"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
# Every frame for two seconds of zooming in and out with the wheel: how long the page's own work took.
ZOOM = """async () => {
  const timeline = document.querySelector(".timeline");
  const box = timeline.getBoundingClientRect();
  const took = [];
  for (let turn = 0; turn < 120; turn += 1) {
    await new Promise(requestAnimationFrame);
    const began = performance.now();
    timeline.dispatchEvent(new WheelEvent("wheel", {
      deltaY: turn % 40 < 20 ? -1 : 1, clientX: box.left + box.width / 3, cancelable: true}));
    await new Promise(requestAnimationFrame);
    await new Promise((drawn) => setTimeout(drawn, 0));
    took.push(performance.now() - began);
  }
  return took;
}"""
SEGMENTS = b"""
insert into segment (id, camera_id, owner, run, number, started_at, ended_at, media_ms, size_bytes, path)
select gen_random_uuid(), %(camera)s::uuid, %(owner)s::text, 1, n,
       now() - make_interval(secs => n * %(length)s),
       now() - make_interval(secs => (n - 1) * %(length)s),
       %(length)s * 1000, 4000000, %(owner)s::text || '/' || %(camera)s::uuid || '/' || n || '.mp4'
  from generate_series(1, %(count)s) as n
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def open_list(browser: Browser, link: str, cameras: int) -> tuple[float, float]:
    """Open the list as nobody has before; return when it was painted and usable, in seconds."""
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(WATCH_FOR_BUTTONS)
        page.goto(link)
        expect(page.locator("li.card")).to_have_count(cameras, timeout=LISTED_WITHIN_MS)
        painted, usable = page.evaluate(PAINTED), page.evaluate("() => window.usableAt")
    return painted / 1000, usable / 1000


def measure_list(browser: Browser, link: str, options: argparse.Namespace) -> None:
    """Print the figures of the list of cameras."""
    open_list(browser, link, options.cameras)  # the program itself is warm after this
    rounds = [open_list(browser, link, options.cameras) for _ in range(options.rounds)]
    painted, usable = zip(*rounds, strict=True)
    spread(f"first paint, {options.cameras} cameras", painted)
    spread(f"usable, {options.cameras} cameras", usable)
    bound("first paint", statistics.median(painted), "s", at_most=PAINTED_WITHIN_S)
    bound("usable", statistics.median(usable), "s", at_most=USABLE_WITHIN_S)


def record(place: Site, camera_id: UUID, days: int) -> None:
    """Have the index say that the camera was recorded all that time."""
    values = {
        "camera": str(camera_id), "owner": OWNER, "length": SEGMENT_S,
        "count": days * 86_400 // SEGMENT_S,
    }  # fmt: skip
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute(SEGMENTS, values)
        connection.execute(b"analyze segment")


def measure_day(page: Page, camera_id: UUID, days: int) -> None:
    """Print the figures of a day's timeline."""
    began = page.evaluate("() => performance.now()")
    page.evaluate("route => { location.hash = route }", f"#/camera/{camera_id}/recordings")
    expect(page.locator(".timeline-head .summary")).to_contain_text("recorded")
    took_s = (page.evaluate("() => performance.now()") - began) / 1000
    frames = [frame / 1000 for frame in page.evaluate(ZOOM)]
    spread(f"a wheel's turn drawn, {days} days", frames)
    bound("a day's recordings shown", took_s, "s")
    bound("a wheel's turn drawn", statistics.median(frames) * 1000, "ms", at_most=2 * FRAME_MS)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cameras", type=int, default=500)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    assets = load_assets(Path(__file__).parent.parent / "src" / "streamwarden" / "web")
    bound("assets, gzipped", assets.gzipped_bytes / 1000, "kB", at_most=ASSETS_BYTES / 1000)
    with ExitStack() as started:
        place = started.enter_context(site())
        place.environ["STREAMWARDEN_RETENTION_DAYS"] = str(options.days + 1)
        started.enter_context(place.serving())
        browser = started.enter_context(chromium())
        first, *_ = place.add_cameras(options.cameras, segment_seconds=SEGMENT_S)
        record(place, first, options.days)
        link = f"{place.webui_url}/#token={place.authorization.removeprefix('Bearer ')}"
        measure_list(browser, link, options)
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(link)
            expect(page.locator("li.card").first).to_be_visible()
            measure_day(page, first, options.days)
    say("done")


if __name__ == "__main__":
    main()
