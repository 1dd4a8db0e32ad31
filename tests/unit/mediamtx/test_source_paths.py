"""The loop of source paths over fakes: its calls of the media server, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamwarden.config.settings import PRIVATE_NETWORKS
from streamwarden.errors import Unavailable
from streamwarden.mediamtx.control_api import (
    MediaMtxClient,
    MediaPath,
    MediaServerUnavailable,
    PathRefused,
)
from streamwarden.mediamtx.credentials import CameraCredentials, CredentialCipher
from streamwarden.mediamtx.source_paths import (
    FAILED_S,
    FRESH_S,
    LEAVE_S,
    DnsCache,
    PulledPaths,
    SourcePaths,
)
from streamwarden.mediamtx.source_urls import SourceTargets
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import Camera, Source, Transport
from streamwarden.storage.refusals import StorageUnavailable
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.fakes.sources import FakeNames
from tests.fakes.storage import FakeStorage

URL = "rtsp://10.0.0.7/x"
OLD, NEW = b"o" * 32, b"n" * 32


@dataclass
class FakeMediaServer(MediaMtxClient):
    """MediaMTX's configured paths, as far as they matter, with what it was told."""

    configured: dict[str, str] = field(default_factory=lambda: {"all_others": "publisher"})
    told: list[tuple[str, str]] = field(default_factory=list)
    transports: dict[str, str] = field(default_factory=dict)
    away: bool = False
    refuses: set[str] = field(default_factory=set)

    def paths(self) -> list[MediaPath]:
        self._check()
        return [
            MediaPath(name, source, self.transports.get(name, "automatic"))
            for name, source in self.configured.items()
        ]

    def pull(self, path: str, source: str, transport: Transport) -> None:
        self._check()
        if path in self.refuses:
            raise PathRefused("no")
        self.told.append(("pull", path))
        self.configured[path] = source
        self.transports[path] = transport

    def forget(self, path: str) -> None:
        self._check()
        self.told.append(("forget", path))
        self.configured.pop(path, None)

    def close(self) -> None:
        pass

    def restart(self) -> None:
        self.configured = {"all_others": "publisher"}

    def _check(self) -> None:
        if self.away:
            raise MediaServerUnavailable("away")


class SourcePathsHarness:
    """Loops of source paths over one database and one media server."""

    def __init__(self) -> None:
        self.storage = FakeStorage()
        self.server = FakeMediaServer()
        self.clock = ManualClock(EPOCH)
        self.names = FakeNames()
        self.registry = CollectorRegistry()
        self.pulled = PulledPaths()
        self.source_paths = self.another(self.registry)

    def another(
        self, registry: CollectorRegistry | None = None, keys: tuple[bytes, ...] = (NEW,)
    ) -> SourcePaths:
        names = DnsCache(self.names.resolve, self.clock)
        targets = SourceTargets(PRIVATE_NETWORKS, ("10.0.0.2",), names.addresses)
        return SourcePaths(
            server=self.server,
            table=self.storage.sources,
            targets=targets,
            cipher=CredentialCipher(keys) if keys else None,
            pulled=self.pulled,
            clock=self.clock,
            metrics=SourceMetrics(registry or CollectorRegistry()),
            ready=lambda: None,
        )

    def camera(
        self,
        path: str = "door",
        url: str = URL,
        *,
        status: str = "active",
        transport: Transport = Transport.AUTOMATIC,
    ) -> Camera:
        return self.storage.cameras.add(
            name="x",
            owner="alice",
            created_at=self.clock.now(),
            path=path,
            status=status,
            source=Source(url=url, transport=transport),
        )

    def encrypt(self, camera: Camera, key: bytes = NEW, *, for_: UUID | None = None) -> None:
        shown = CameraCredentials("viewer", "geheim")
        encrypted = CredentialCipher([key]).encrypt(for_ or camera.id, shown)
        self.storage.cameras.update(camera.id, source=Source(url=URL, encrypted=encrypted))

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.source_paths.sweep()

    def sampled(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"streamwarden_{name}", labels)

    def faults(self) -> dict[str, float]:
        found = {
            sample.labels["reason"]: sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == "streamwarden_source_faults"
        }
        return {reason: count for reason, count in found.items() if count}


@pytest.fixture
def harness() -> SourcePathsHarness:
    return SourcePathsHarness()


@pytest.mark.parametrize(
    ("wanted", "set_to"),
    [
        (Transport.AUTOMATIC, "tcp"),
        (Transport.TCP, "tcp"),
        (Transport.UDP, "udp"),
        (Transport.MULTICAST, "multicast"),
    ],
)
def test_a_path_is_set_with_its_cameras_transport_once(
    harness: SourcePathsHarness, wanted: Transport, set_to: str
) -> None:
    harness.camera(transport=wanted)
    harness.source_paths.sweep()
    harness.source_paths.sweep()
    assert harness.server.transports == {"door": set_to}
    assert harness.server.told == [("pull", "door")]


def test_a_transport_that_was_found_is_set_once_and_only_for_the_source_that_was_asked(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    (row,) = harness.source_paths.wanted
    harness.source_paths.use(row, Transport.UDP)
    harness.source_paths.sweep()
    assert harness.server.transports == {"door": "udp"}
    harness.server.transports["door"] = "multicast"
    harness.source_paths.sweep()
    assert harness.server.transports == {"door": "multicast"}, "another process has found it"
    harness.source_paths.use(row, Transport.UDP)
    harness.storage.cameras.update(camera.id, source=Source(url=f"{URL}2"))
    harness.source_paths.sweep()
    assert harness.server.transports == {"door": "tcp"}
    harness.storage.cameras.update(camera.id, source=Source(url=f"{URL}2", transport=Transport.TCP))
    harness.source_paths.sweep()
    harness.source_paths.use(harness.source_paths.wanted[0], Transport.UDP)
    harness.source_paths.sweep()
    assert harness.server.transports == {"door": "tcp"}, "the operator has chosen"


def test_a_new_transport_is_set_and_an_automatic_one_stays_as_it_is_found(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    for transport in (Transport.UDP, Transport.AUTOMATIC, Transport.TCP):
        harness.storage.cameras.update(camera.id, source=Source(url=URL, transport=transport))
        harness.source_paths.sweep()
        expected = "udp" if transport is Transport.AUTOMATIC else transport
        assert harness.server.transports == {"door": expected}


def test_active_cameras_with_a_source_are_pulled_and_nothing_else(
    harness: SourcePathsHarness,
) -> None:
    harness.camera()
    harness.camera("off", status="inactive")
    harness.storage.cameras.add(
        name="x", owner="alice", created_at=harness.clock.now(), path="pushes", status="active"
    )
    harness.source_paths.sweep()
    assert harness.server.configured == {"all_others": "publisher", "door": URL}
    assert (harness.sampled("sources_wanted"), harness.sampled("sources_set")) == (1, 1)
    assert ("door" in harness.pulled, "off" in harness.pulled, "pushes" in harness.pulled) == (
        True,
        True,
        False,
    )


def test_what_is_as_it_should_be_is_left_alone(harness: SourcePathsHarness) -> None:
    harness.camera()
    for _ in range(3):
        harness.source_paths.sweep()
    assert harness.server.told == [("pull", "door")]


def test_several_api_roles_do_not_disturb_each_others_paths(harness: SourcePathsHarness) -> None:
    harness.names.found = {"cam.lan": ["10.0.0.8", "10.0.0.7"]}
    harness.camera(url="rtsp://cam.lan/x")
    other = harness.another()
    for found in (["10.0.0.8", "10.0.0.7"], ["10.0.0.7", "10.0.0.6"]):
        harness.names.found = {"cam.lan": found}
        harness.source_paths.sweep()
        other.sweep()
        harness.clock.advance(FRESH_S)
    assert harness.server.told == [("pull", "door")]
    assert harness.server.configured["door"] == URL


def test_a_name_that_moves_is_followed(harness: SourcePathsHarness) -> None:
    harness.names.found = {"cam.lan": ["10.0.0.7"]}
    harness.camera(url="rtsp://cam.lan/x")
    harness.source_paths.sweep()
    harness.names.found = {"cam.lan": ["10.0.0.9"]}
    harness.after(FRESH_S)
    assert harness.server.configured["door"] == "rtsp://10.0.0.9/x"


def test_a_media_server_that_was_restarted_has_its_paths_back(harness: SourcePathsHarness) -> None:
    harness.camera()
    harness.camera("gate", "rtsp://10.0.0.8/x")
    harness.source_paths.sweep()
    harness.server.restart()
    harness.source_paths.sweep()
    assert harness.server.configured["door"] == URL
    assert harness.server.configured["gate"] == "rtsp://10.0.0.8/x"


@pytest.mark.parametrize("how", ["removed", "deactivated", "source dropped", "moved"])
def test_a_path_that_is_no_longer_wanted_goes_after_a_while(
    harness: SourcePathsHarness, how: str
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    match how:
        case "removed":
            harness.storage.cameras.remove(camera.id)
        case "deactivated":
            harness.storage.cameras.update(camera.id, status="inactive")
        case "source dropped":
            harness.storage.cameras.update(camera.id, drop_source=True)
        case _:
            harness.storage.cameras.update(camera.id, path="gate")
    harness.source_paths.sweep()
    assert "door" in harness.server.configured, "its recorder ends the last segment"
    harness.after(LEAVE_S)
    assert "door" not in harness.server.configured
    assert ("gate" in harness.server.configured) is (how == "moved")
    assert harness.storage.sources.paths_set() == ({"gate"} if how == "moved" else set())


def test_a_restarted_role_removes_the_paths_that_its_predecessor_has_set(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    harness.storage.cameras.remove(camera.id)
    harness.source_paths = harness.another()
    harness.source_paths.sweep()
    harness.after(LEAVE_S)
    assert harness.server.configured == {"all_others": "publisher"}


def test_what_an_operator_has_configured_is_left_alone(harness: SourcePathsHarness) -> None:
    theirs = {"all_others": "publisher", "roof": "rtsp://10.9.9.9/y", "~^x": "publisher"}
    harness.server.configured = dict(theirs)
    camera = harness.camera()
    harness.source_paths.sweep()
    harness.storage.cameras.remove(camera.id)
    harness.source_paths.sweep()
    harness.after(LEAVE_S)
    assert harness.server.configured == theirs


def test_credentials_are_opened_for_the_media_server_alone(harness: SourcePathsHarness) -> None:
    harness.encrypt(harness.camera())
    harness.source_paths.sweep()
    assert harness.server.configured["door"] == "rtsp://viewer:geheim@10.0.0.7/x"
    assert "geheim" not in repr(harness.server.paths())


@pytest.mark.parametrize("fault", ["another camera's", "an unknown key", "no key"])
def test_credentials_that_cannot_be_opened_are_said_so_and_change_nothing(
    harness: SourcePathsHarness, fault: str
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    harness.encrypt(camera, key=OLD if fault == "an unknown key" else NEW)
    if fault == "another camera's":
        harness.encrypt(camera, for_=UUID(int=9))
    if fault == "no key":
        harness.source_paths = harness.another(keys=())
    harness.source_paths.sweep()
    assert harness.server.configured["door"] == URL
    assert harness.server.told == [("pull", "door")]


def test_credentials_of_an_older_key_are_encrypted_anew_at_the_start(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.encrypt(camera, key=OLD)
    harness.another(keys=(NEW, OLD)).sweep()
    stored = harness.storage.sources.get(camera.id)
    assert stored is not None
    assert stored.encrypted is not None
    found = CredentialCipher([NEW]).decrypt(camera.id, stored.encrypted)
    assert found == CameraCredentials("viewer", "geheim")


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["10.0.0.7", "169.254.169.254"], ["10.0.0.2"], ["203.0.113.7"]]
)
def test_a_name_that_turns_into_what_is_not_allowed_is_pulled_no_longer(
    harness: SourcePathsHarness, found: list[str]
) -> None:
    harness.names.found = {"cam.lan": ["10.0.0.7"]}
    harness.camera(url="rtsp://cam.lan/x")
    harness.source_paths.sweep()
    harness.names.found = {"cam.lan": found}
    harness.after(FRESH_S)
    harness.after(LEAVE_S)
    assert "door" not in harness.server.configured
    assert harness.faults() == {"not_allowed": 1}
    assert harness.sampled("sources_set") == 0


def test_a_row_that_nobody_judged_is_judged(harness: SourcePathsHarness) -> None:
    harness.camera("a", "rtsp://127.0.0.1/x")
    harness.camera("all_others", "rtsp://10.0.0.8/x")
    harness.camera("b", "rtsp://10.0.0.9/$MTX_QUERY")
    harness.source_paths.sweep()
    assert harness.server.configured == {"all_others": "publisher"}
    assert harness.faults() == {"not_allowed": 1, "invalid": 2}


def test_a_name_server_that_is_away_stops_no_camera(harness: SourcePathsHarness) -> None:
    harness.names.found = {"cam.lan": ["10.0.0.7"]}
    harness.camera(url="rtsp://cam.lan/x")
    harness.source_paths.sweep()
    harness.names.found = {}
    harness.after(FRESH_S)
    harness.server.restart()
    harness.after(FAILED_S)
    assert harness.server.configured["door"] == URL, "what it was last counts"


def test_a_role_that_never_resolved_the_name_leaves_the_path_as_it_is(
    harness: SourcePathsHarness,
) -> None:
    harness.names.found = {"cam.lan": ["10.0.0.7"]}
    harness.camera(url="rtsp://cam.lan/x")
    harness.source_paths.sweep()
    harness.names.found = {}
    harness.source_paths = harness.another(registry := CollectorRegistry())
    harness.source_paths.sweep()
    harness.after(LEAVE_S)
    assert harness.server.configured["door"] == URL
    unresolved = {"reason": "unresolved"}
    assert registry.get_sample_value("streamwarden_source_faults", unresolved) == 1


def test_while_postgres_is_away_paths_are_mended_and_none_removed(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    harness.storage.cameras.remove(camera.id)
    harness.storage.down = True
    harness.server.restart()
    harness.source_paths.sweep()
    harness.after(LEAVE_S)
    assert harness.server.configured["door"] == URL
    harness.storage.down = False
    harness.source_paths.sweep()
    harness.after(LEAVE_S)
    assert "door" not in harness.server.configured


def test_a_path_that_is_on_its_way_out_stays_while_postgres_is_away(
    harness: SourcePathsHarness,
) -> None:
    camera = harness.camera()
    harness.source_paths.sweep()
    harness.storage.cameras.remove(camera.id)
    harness.source_paths.sweep()
    harness.storage.down = True
    harness.after(LEAVE_S)
    assert harness.server.configured["door"] == URL
    harness.storage.down = False
    harness.source_paths.sweep()
    assert "door" not in harness.server.configured


def test_a_role_that_has_read_nothing_yet_touches_no_path(harness: SourcePathsHarness) -> None:
    harness.storage.down = True
    with pytest.raises(StorageUnavailable):
        harness.source_paths.sweep()
    assert harness.server.told == []


def test_a_cameras_trouble_is_logged_once_and_its_end_too(harness: SourcePathsHarness) -> None:
    harness.camera()
    harness.server.refuses = {"door"}
    with capture_logs() as logs:
        for _ in range(3):
            harness.source_paths.sweep()
        harness.server.refuses = set()
        for _ in range(3):
            harness.source_paths.sweep()
    said = [(one["event"], one.get("why")) for one in logs]
    assert said == [
        ("source_not_set", "refused"),
        ("source_path_set", None),
        ("source_set_again", None),
    ]


def test_one_path_that_is_refused_keeps_no_other_from_being_set(
    harness: SourcePathsHarness,
) -> None:
    harness.camera("a")
    harness.camera("b", "rtsp://10.0.0.8/x")
    harness.server.refuses = {"a", "b"}
    harness.source_paths.sweep()
    assert harness.faults() == {"refused": 2}
    harness.server.refuses = {"a"}
    harness.source_paths.sweep()
    assert "b" in harness.server.configured
    assert harness.faults() == {"refused": 1}


def test_a_media_server_that_is_away_is_no_bug(harness: SourcePathsHarness) -> None:
    harness.camera()
    harness.server.away = True
    with pytest.raises(Unavailable):
        harness.source_paths.sweep()
    harness.server.away = False
    harness.source_paths.sweep()
    assert "door" in harness.server.configured


def test_secrets_in_addresses_of_an_earlier_version_are_encrypted_and_still_sent(
    harness: SourcePathsHarness,
) -> None:
    whole = "rtsp://10.0.0.7/user=admin&password=geheim&channel=1"
    camera = harness.storage.cameras.add(
        name="x", owner="alice", created_at=EPOCH, path="cam/xm", source=Source(url=whole)
    )
    harness.source_paths.sweep()
    kept = harness.storage.sources.get(camera.id)
    assert kept is not None
    assert kept.url == "rtsp://10.0.0.7/user=admin&password=***&channel=1"
    assert b"geheim" not in (kept.encrypted or b"")
    assert harness.server.configured["cam/xm"] == whole
    told = list(harness.server.told)
    harness.source_paths.sweep()
    assert harness.server.told == told, "nothing is set again"


def test_a_path_is_not_set_for_a_camera_that_has_left_it_meanwhile(
    harness: SourcePathsHarness,
) -> None:
    """While names are resolved: the path may be another camera's, and was just emptied."""
    camera = harness.storage.cameras.add(
        name="x", owner="alice", created_at=EPOCH, path="cam/old",
        source=Source(url="rtsp://camera.example/x"),
    )  # fmt: skip
    harness.names.found["camera.example"] = ["10.0.0.7"]
    resolve = harness.names.resolve

    def slowly(name: str) -> Collection[str]:
        harness.storage.cameras.update(camera.id, path="cam/new")
        return resolve(name)

    harness.names.resolve = slowly  # type: ignore[method-assign]
    harness.source_paths = harness.another()
    harness.source_paths.sweep()
    assert "cam/old" not in harness.server.configured
    harness.source_paths.sweep()
    assert harness.server.configured["cam/new"] == "rtsp://10.0.0.7/x"
