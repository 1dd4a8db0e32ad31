"""A person's browser: Debian's Chromium, over roles that run as three programs of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.evidence.seal_keys import new_key
from streamwarden.ffmpeg.command import find_ffmpeg
from tests.acceptance.program import programs
from tests.acceptance.set_stage import SetStage
from tests.acceptance.stage import database_with_password
from tests.browser.person import Person
from tests.browser.site import Site

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
ROOT = Path(__file__).parents[2]
SEEN_WITHIN_MS = 30_000
"""What a page may take to show something, on a machine several times slower than a desk's."""
expect.set_options(timeout=SEEN_WITHIN_MS)
NewPerson = Callable[..., Person]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_person(chromium: Browser) -> Iterator[NewPerson]:
    """Make people with a browser each; what their pages must never do fails the test."""
    people: list[Person] = []

    def make(base: str, **context: object) -> Person:
        people.append(Person(chromium.new_context(**context), base))  # type: ignore[arg-type]
        return people[-1]

    yield make
    for person in people:
        person.leave()
    for person in people:
        person.check()


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres
) -> Iterator[Site]:
    """API, streaming and web UI as three programs, with segments of two seconds."""
    folder = tmp_path_factory.mktemp("site")
    url = database_with_password(postgres_server, "browser-tests-database-password")
    with programs(folder) as make:
        new_key(folder / "seal.pem")
        changed = {"SEAL_KEY_FILE": str(folder / "seal.pem")}
        ffmpeg = str(find_ffmpeg(None))
        stage = SetStage(folder, make, database_url=url, ffmpeg=ffmpeg, changed=changed)
        try:
            stage.start()
            stage.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
            yield Site(stage, make)
        finally:
            stage.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the git-ignored folder where each page is kept as a picture, to be looked at."""
    folder = ROOT / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder
