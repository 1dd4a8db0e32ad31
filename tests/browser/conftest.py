"""Chromium of Debian, over roles that run as three programs of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.evidence.seal_keys import new_key
from streamwarden.ffmpeg.command import find_ffmpeg
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.installation import database_with_password
from tests.acceptance.program import programs
from tests.browser.browser_session import SEEN_WITHIN_MS, BrowserSession
from tests.browser.demo_site import DemoSite

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
expect.set_options(timeout=SEEN_WITHIN_MS)
NewSession = Callable[..., BrowserSession]


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
def new_session(chromium: Browser) -> Iterator[NewSession]:
    """Open browser sessions; what their pages must never do fails the test."""
    sessions: list[BrowserSession] = []

    def make(base: str, **context: object) -> BrowserSession:
        sessions.append(BrowserSession(chromium.new_context(**context), base))  # type: ignore[arg-type]
        return sessions[-1]

    yield make
    for session in sessions:
        session.leave()
    for session in sessions:
        session.check()


@pytest.fixture(scope="session")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres
) -> Iterator[DemoSite]:
    """API, streaming and web UI as three programs, with segments of two seconds."""
    folder = tmp_path_factory.mktemp("site")
    url = database_with_password(postgres_server, "browser-tests-database-password")
    with programs(folder) as make:
        new_key(folder / "seal.pem")
        changed = {"SEAL_KEY_FILE": str(folder / "seal.pem")}
        ffmpeg = str(find_ffmpeg(None))
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed=changed
        )
        try:
            installation.start()
            installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
            yield DemoSite(installation, make)
        finally:
            installation.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the git-ignored folder where each page is kept as a picture, to be looked at."""
    folder = ROOT / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder
