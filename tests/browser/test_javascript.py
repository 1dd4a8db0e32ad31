"""The tests of tests/javascript in Chromium: the engine that runs the page, also where Node is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route

ROOT = Path(__file__).parents[2]
FOLDER = Path("tests/javascript")
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / FOLDER).glob("*.test.mjs"))
SERVED = (FOLDER, Path("src/streamwarden/web/js"))
HOST = "http://javascript.test"
PAGE = f"""<!doctype html><script type="importmap">{{"imports": {{
  "node:test": "/{FOLDER}/in_browser/test.js",
  "node:assert/strict": "/{FOLDER}/in_browser/assert.js"
}}}}</script>"""
RUN = """async file => {
  await import(file);
  return (await import("node:test")).results();
}"""


def serve(route: Route) -> None:
    """Answer with a file of the checkout; nothing listens at that host."""
    path = Path(urlsplit(route.request.url).path.lstrip("/"))
    if path == Path():
        route.fulfill(body=PAGE, content_type="text/html")
    elif any(path.is_relative_to(folder) for folder in SERVED) and (ROOT / path).is_file():
        route.fulfill(body=(ROOT / path).read_bytes(), content_type="text/javascript")
    else:
        route.fulfill(status=404)


def results(chromium: Browser, run: str, argument: str) -> list[dict[str, str]]:
    """Run a script in a page of its own, in the time zone that the tests want."""
    context = chromium.new_context(timezone_id="Europe/Berlin", locale="en-US")
    try:
        context.route("**/*", serve)
        page = context.new_page()
        page.goto(f"{HOST}/")
        found: Any = page.evaluate(run, argument)
        return list(found)
    finally:
        context.close()


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_javascript(chromium: Browser, file: Path) -> None:
    cases = results(chromium, RUN, f"/{file}")
    assert cases, f"{file} has no test"
    assert [case for case in cases if case["error"]] == []


def test_a_case_that_does_not_hold_is_told(chromium: Browser) -> None:
    """Else the stand-ins for Node's modules could let everything pass."""
    claims = [
        "assert.ok(0)",
        "assert.equal(1, 2)",
        "assert.equal(NaN, 0)",
        "assert.equal('1', 1)",
        "assert.deepEqual([1, 2], [1])",
        "assert.deepEqual({a: 1}, {a: 1, b: undefined})",
        "assert.deepEqual([undefined], [null])",
        "assert.deepEqual({a: [{b: 1}]}, {a: [{b: 2}]})",
        "assert.deepEqual([], {})",
        "Promise.reject(new Error('later'))",
        "missing()",
    ]
    script = "\n".join(f"test({claim!r}, () => {claim});" for claim in claims)
    run = f"""async () => {{
      const {{ default: test, results }} = await import("node:test");
      const {{ default: assert }} = await import("node:assert/strict");
      {script}
      return results();
    }}"""
    told = results(chromium, run, "")
    assert [case["name"] for case in told if case["error"]] == claims
