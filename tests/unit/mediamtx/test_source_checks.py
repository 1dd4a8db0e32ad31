"""The checks of pulled cameras that give no stream: who is asked, how often, and what is shown of it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamwarden.mediamtx.source_checks import (
    AGAIN_AFTER_S,
    AT_ONCE,
    FIRST_AFTER_S,
    LOCKED_AFTER_S,
    WORDS,
    SourceAnswer,
    SourceAsker,
    SourceChecks,
    SourceTroubles,
)
from streamwarden.mediamtx.source_paths import SourcePaths
from streamwarden.mediamtx.source_urls import SourceTargets
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import CameraSource, SourceTrouble, Transport
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.fakes.path_states import FakePaths
from tests.fakes.recording import ManualWorkers

WRONG = SourceAnswer(trouble=SourceTrouble.LOGIN_WRONG)
OFF = SourceAnswer(trouble=SourceTrouble.UNREACHABLE)


class FakeSourcePaths(SourcePaths):
    """The rows that a test wants to have pulled, and the transports that were found."""

    def __init__(self) -> None:
        self.wanted: list[CameraSource] = []
        self.used: list[tuple[UUID, Transport]] = []

    def use(self, row: CameraSource, transport: Transport) -> None:
        self.used.append((row.camera_id, transport))


class ChecksHarness:
    """The checks over a fake media server, taken turn by turn."""

    def __init__(self) -> None:
        self.clock = ManualClock(EPOCH)
        self.server = FakePaths()
        self.paths = FakeSourcePaths()
        self.pool = ManualWorkers()
        self.troubles = SourceTroubles()
        self.registry = CollectorRegistry()
        self.asked: list[str] = []
        self.answer = OFF
        harness = self

        class Asker(SourceAsker):
            def find(self, row: CameraSource) -> SourceAnswer:
                harness.asked.append(row.path)
                if row.path == "broken":
                    raise RuntimeError(row.url)
                return harness.answer

        self.checks = SourceChecks(
            server=self.server,
            paths=self.paths,
            asker=Asker(targets=SourceTargets(()), cipher=None),
            troubles=self.troubles,
            clock=self.clock,
            metrics=SourceMetrics(self.registry),
            pool=self.pool,
        )

    def camera(self, path: str = "cam", host: str = "10.0.0.7") -> CameraSource:
        row = CameraSource(camera_id=uuid4(), path=path, status="active", url=f"rtsp://{host}/x")
        self.paths.wanted.append(row)
        self.server.ready(path, None)
        return row

    def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.checks.turn()

    def counted(self, trouble: SourceTrouble) -> float | None:
        return self.registry.get_sample_value(
            "streamwarden_source_troubles", {"reason": trouble.value}
        )


@pytest.fixture
def harness() -> ChecksHarness:
    return ChecksHarness()


def test_a_camera_whose_path_is_ready_is_never_asked(harness: ChecksHarness) -> None:
    harness.camera()
    harness.server.ready("cam", "10:00")
    for _ in range(20):
        harness.after(10.0)
    assert harness.asked == []


def test_a_reason_is_shown_counted_and_logged_until_the_path_is_ready(
    harness: ChecksHarness,
) -> None:
    row = harness.camera()
    harness.answer = WRONG
    harness.checks.turn()
    assert harness.asked == [], "a camera that is back at once needs no reason"
    with capture_logs() as logs:
        harness.after(FIRST_AFTER_S)
        assert harness.troubles.of(row.camera_id) is SourceTrouble.LOGIN_WRONG
        assert harness.counted(SourceTrouble.LOGIN_WRONG) == 1
        harness.server.ready("cam", "10:00")
        harness.after(1.0)
    assert harness.troubles.of(row.camera_id) is None
    assert harness.counted(SourceTrouble.LOGIN_WRONG) == 0
    assert [line["event"] for line in logs] == ["source_trouble", "source_trouble_ended"]
    assert row.url not in str(logs)


def test_a_camera_that_is_off_is_asked_less_and_less_often(harness: ChecksHarness) -> None:
    harness.camera()
    harness.checks.turn()
    for _ in range(600):
        harness.after(1.0)
    assert len(harness.asked) <= 1 + len(AGAIN_AFTER_S) + 600 / AGAIN_AFTER_S[-1]
    assert len(harness.asked) >= 10


def test_a_wrong_password_is_shown_seldom(harness: ChecksHarness) -> None:
    harness.camera()
    harness.answer = WRONG
    harness.checks.turn()
    for _ in range(int(LOCKED_AFTER_S) - 1):
        harness.after(1.0)
    assert harness.asked == ["cam"]


def test_a_camera_that_was_changed_is_asked_anew(harness: ChecksHarness) -> None:
    row = harness.camera()
    harness.answer = WRONG
    harness.checks.turn()
    harness.after(FIRST_AFTER_S)
    harness.paths.wanted[0] = replace(row, encrypted=b"another")
    harness.after(0.0)
    assert harness.troubles.of(row.camera_id) is None
    harness.answer = SourceAnswer()
    harness.after(FIRST_AFTER_S)
    assert harness.asked == ["cam", "cam"]
    harness.paths.wanted.clear()
    harness.after(60.0)
    assert harness.asked == ["cam", "cam"]


def test_one_camera_of_a_host_and_a_few_in_all_are_asked_at_once(harness: ChecksHarness) -> None:
    for number in range(3):
        harness.camera(f"same{number}", host="10.0.0.1")
    for number in range(2 * AT_ONCE):
        harness.camera(f"other{number}", host=f"10.0.1.{number}")
    harness.pool.hold()
    harness.checks.turn()
    harness.after(FIRST_AFTER_S)
    harness.after(1.0)
    assert harness.pool.waiting == AT_ONCE
    harness.pool.release()
    assert sum(path.startswith("same") for path in harness.asked) == 1
    for _ in range(9):
        harness.after(0.1)
    assert sorted(set(harness.asked)) == sorted(row.path for row in harness.paths.wanted)


def test_a_transport_that_was_found_is_handed_on(harness: ChecksHarness) -> None:
    row = harness.camera()
    harness.answer = SourceAnswer(transport=Transport.UDP)
    harness.checks.turn()
    harness.after(FIRST_AFTER_S)
    assert harness.paths.used == [(row.camera_id, Transport.UDP)]
    assert harness.troubles.of(row.camera_id) is None


def test_a_check_that_fails_holds_up_no_other_and_shows_no_address(
    harness: ChecksHarness,
) -> None:
    harness.camera("broken", host="geheim.lan")
    row = harness.camera("cam")
    harness.checks.turn()
    with capture_logs() as logs:
        harness.after(FIRST_AFTER_S)
    assert harness.troubles.of(row.camera_id) is SourceTrouble.UNREACHABLE
    assert "source_check_failed" in [line["event"] for line in logs]
    assert "geheim" not in str(logs)


def test_every_reason_has_its_words() -> None:
    assert set(WORDS) == set(SourceTrouble)
