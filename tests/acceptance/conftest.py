"""The started program, in the two ways in which tests need it: a demo, and roles on their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.devkit.odd_camera import StreamLibrary
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.ffmpeg.command import find_ffmpeg
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.demo import DemoProgram, real_mediamtx, relay_only
from tests.acceptance.installation import Installation, database_with_password
from tests.acceptance.odd_cameras import OddCameras, pulling_installation
from tests.acceptance.pressure import watched
from tests.acceptance.program import programs

DATABASE_PASSWORD = "open-sesame-of-the-database"
MEDIA_SERVERS = ("devkit", "mediamtx")


@pytest.fixture(scope="session", autouse=True)
def _pressure() -> Iterator[None]:
    with watched():
        yield


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    return str(find_ffmpeg(None))


@pytest.fixture(scope="session", params=MEDIA_SERVERS)
def media(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment in which the demo takes one media server or the other."""
    if request.param == "devkit":
        return relay_only(tmp_path_factory.mktemp("cache"))
    found = real_mediamtx()
    if found is None:
        pytest.skip("no MediaMTX here: set STREAMWARDEN_MEDIAMTX to its program, or put it on PATH")
    return found


@pytest.fixture(scope="session")
def demo(media: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProgram]:
    """A running demo that tests share. Each finds its cameras recording, or waits until they do."""
    running = DemoProgram(tmp_path_factory.mktemp("demo"), media=media)
    try:
        yield running.start()
    finally:
        running.program.clean_up()


@pytest.fixture
def own_demo(
    media: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DemoProgram]:
    """A demo for one test alone, not yet started."""
    own = DemoProgram(tmp_path_factory.mktemp("own-demo"), media=media, cameras=1)
    yield own
    own.program.clean_up()


@pytest.fixture(scope="session")
def shared_installation(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[Installation]:
    """Both roles running as two programs, with segments of two seconds."""
    for installation in _installations(tmp_path_factory, postgres_server, ffmpeg):
        answer = installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 2})
        assert answer.status == 200
        yield installation


@pytest.fixture
def installation(shared_installation: Installation) -> Iterator[Installation]:
    """The shared installation. Each test adds cameras of its own, which end with it."""
    yield shared_installation
    shared_installation.end_cameras()


@pytest.fixture
def own_installation(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[Installation]:
    """As ``installation``, for one test alone."""
    yield from _installations(tmp_path_factory, postgres_server, ffmpeg)


@pytest.fixture(scope="session")
def stream_library(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> StreamLibrary:
    """The streams that odd cameras show, each encoded once in a session."""
    return StreamLibrary(ffmpeg, tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="session")
def pulling(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    """An installation that pulls cameras on loopback, with segments of a second."""
    folder = tmp_path_factory.mktemp("pulling")
    with pulling_installation(folder, postgres_server, ffmpeg, segment_seconds=1) as installation:
        yield installation


@pytest.fixture
def odd_cameras(
    pulling: ConfiguredInstallation, stream_library: StreamLibrary
) -> Iterator[OddCameras]:
    """Odd cameras that ``pulling`` records; they end with the test."""
    with OddCameras(pulling, stream_library) as cameras:
        yield cameras


def _installations(
    folders: pytest.TempPathFactory, server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[Installation]:
    folder = folders.mktemp("stage")
    url = database_with_password(server, DATABASE_PASSWORD)
    with programs(folder) as make:
        installation = Installation(folder, make, database_url=url, ffmpeg=ffmpeg)
        try:
            installation.start()
            yield installation
        finally:
            installation.close()
