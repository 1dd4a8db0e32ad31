"""The loop of source paths at either media server's control API, which forgets all when it restarts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from streamwarden.clock import Clock
from streamwarden.devkit.media_server import MediaServerProcess
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaServerUnavailable, PathRefused
from streamwarden.mediamtx.credentials import CameraCredentials, CredentialCipher
from streamwarden.mediamtx.source_paths import PulledPaths, SourcePaths
from streamwarden.mediamtx.source_urls import SourceTargets, parse_source
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import Source, Transport
from tests.acceptance.waiting import wait_for
from tests.fakes.storage import FakeStorage
from tests.integration.media_servers import INTERNAL_TOKEN, KINDS, serving, serving_hook

WITHIN_S = 60.0
SHOWN = CameraCredentials("vie wer", "geheim/p@ss:#$G1%")
NOBODY = "rtsp://127.0.0.1:1/x"
PULLED = "rtsp://vie%20wer:geheim%2Fp%40ss%3A%23%24G1%25@127.0.0.1:1/x"


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[MediaServerProcess]:
    with serving_hook() as hook, serving(request.param, hook) as running:
        yield running


@pytest.fixture
def client(server: MediaServerProcess) -> Iterator[MediaMtxClient]:
    client = MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN)
    yield client
    client.close()


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def source_paths(server: MediaServerProcess, storage: FakeStorage) -> Iterator[SourcePaths]:
    source_paths = SourcePaths(
        server=MediaMtxClient(server.plan.control_url, INTERNAL_TOKEN),
        table=storage.sources,
        targets=SourceTargets(("127.0.0.1",)),
        cipher=CredentialCipher([b"k" * 32]),
        pulled=PulledPaths(),
        clock=Clock(),
        metrics=SourceMetrics(CollectorRegistry()),
        ready=lambda: None,
    )
    yield source_paths
    source_paths.stop()


def add(storage: FakeStorage, path: str = "cam/door") -> None:
    camera = storage.cameras.add(name="x", owner="alice", created_at=Clock().now(), path=path)
    encrypted = CredentialCipher([b"k" * 32]).encrypt(camera.id, SHOWN)
    storage.cameras.update(camera.id, source=Source(url=NOBODY, encrypted=encrypted))


def transports(client: MediaMtxClient) -> dict[str, str]:
    return {path.name: path.transport for path in client.paths()}


def sources(client: MediaMtxClient) -> dict[str, str]:
    return {path.name: path.source for path in client.paths()}


def test_a_path_is_listed_as_it_was_set_and_forgotten_harmlessly_often(
    client: MediaMtxClient,
) -> None:
    before = sources(client)
    for _ in range(2):
        client.pull("cam/door", PULLED, Transport.TCP)
    assert sources(client) == before | {"cam/door": PULLED}
    client.pull("cam/door", NOBODY, Transport.TCP)
    assert sources(client)["cam/door"] == NOBODY
    for _ in range(2):
        client.forget("cam/door")
    assert sources(client) == before


@pytest.mark.parametrize("transport", Transport)
def test_a_path_is_pulled_by_the_transport_that_it_is_set_to(
    client: MediaMtxClient, transport: Transport
) -> None:
    client.pull("cam/door", NOBODY, transport)
    assert transports(client)["cam/door"] == transport


def test_a_user_without_a_password_is_taken(client: MediaMtxClient) -> None:
    url, shown = parse_source("rtsp://root:@127.0.0.1:1/x")
    client.pull("cam/door", url.for_media_server("127.0.0.1", shown), Transport.TCP)
    assert sources(client)["cam/door"] == "rtsp://root:$MTX_QUERY@127.0.0.1:1/x"


def test_what_the_server_does_not_take_is_refused_and_not_repeated(
    client: MediaMtxClient,
) -> None:
    with pytest.raises(PathRefused) as refused:
        client.pull("cam/door", "rtsp://geheim:@127.0.0.1:1/x", Transport.TCP)
    assert "geheim" not in str(refused.value)
    assert "cam/door" not in sources(client)


def test_the_list_is_read_page_by_page(
    client: MediaMtxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamwarden.mediamtx.control_api._PER_PAGE", 2)
    for number in range(5):
        client.pull(f"cam{number}", NOBODY, Transport.TCP)
    assert sources(client).items() >= {f"cam{number}": NOBODY for number in range(5)}.items()


def test_a_server_that_was_killed_has_its_paths_back_and_an_operators_stay_alone(
    server: MediaServerProcess,
    client: MediaMtxClient,
    storage: FakeStorage,
    source_paths: SourcePaths,
) -> None:
    add(storage)
    client.pull("roof", NOBODY, Transport.TCP)
    source_paths.start()
    wait_for("the path", lambda: sources(client).get("cam/door") == PULLED, within_s=WITHIN_S)
    assert sources(client)["roof"] == NOBODY

    server.kill()

    def back() -> bool:
        try:
            return sources(client).get("cam/door") == PULLED
        except MediaServerUnavailable:
            return False

    wait_for("the path again", back, within_s=WITHIN_S)
    assert "roof" not in sources(client), "what an operator has set by hand is not ours to keep"
    (camera,) = storage.cameras.all_active()
    client.pull("roof", NOBODY, Transport.TCP)
    storage.cameras.remove(camera.id)
    source_paths.wake()
    wait_for("the path gone", lambda: "cam/door" not in sources(client), within_s=WITHIN_S)
    assert sources(client)["roof"] == NOBODY
    assert storage.sources.paths_set() == set()
