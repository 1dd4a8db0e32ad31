"""Sources over fakes: names and cameras as a test says, and a wake that is counted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from streamwarden.config.settings import PRIVATE_NETWORKS
from streamwarden.http.api.camera_routes import Sources
from streamwarden.mediamtx.camera_source import CameraAnswer, SourcePlanner
from streamwarden.mediamtx.credentials import CredentialCipher
from streamwarden.mediamtx.source_urls import SourceTargets, SourceUrl
from tests.fakes.storage import FakeStorage

CIPHER = CredentialCipher([b"s" * 32])


@dataclass
class FakeNames:
    """A name server that a test fills; any other name is unknown."""

    found: dict[str, Collection[str]] = field(default_factory=dict)

    def resolve(self, name: str) -> Collection[str]:
        if name not in self.found:
            raise OSError("no such name")
        return self.found[name]


@dataclass
class FakeDoor:
    """What is at cameras' addresses, and who was asked."""

    says: CameraAnswer = CameraAnswer.RTSP
    asked: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, address: str, url: SourceUrl) -> CameraAnswer:
        self.asked.append((address, str(url)))
        return self.says


def a_planner(
    *,
    names: FakeNames | None = None,
    door: FakeDoor | None = None,
    cipher: CredentialCipher | None = CIPHER,
    pulls: bool = True,
    own: tuple[str, ...] = ("10.0.0.2", "postgres"),
) -> SourcePlanner:
    targets = SourceTargets(PRIVATE_NETWORKS, own, (names or FakeNames()).resolve)
    return SourcePlanner(cipher=cipher, targets=targets, ask=(door or FakeDoor()).ask, pulls=pulls)


def some_sources(
    storage: FakeStorage,
    *,
    planner: SourcePlanner | None = None,
    wake: Callable[[], None] = lambda: None,
) -> Sources:
    return Sources(table=storage.sources, planner=planner or a_planner(), wake=wake)
