from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streamwarden.app.tree import Restarts, SupervisionTree
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.supervision import ChildSpec, Intensity, SupervisedActor, SupervisorSpec
from tests.fakes.manual_time import DEADLINE_S, ManualClock, ManualTimers


class Idle(SupervisedActor):
    """Does nothing, for as long as it may."""


def spec(*names: str) -> SupervisorSpec:
    children = tuple(ChildSpec(id=name, start=lambda link: Idle.start(link=link)) for name in names)
    return SupervisorSpec(limit=Intensity(intensity=5, period_s=60.0), children=children)


def test_each_of_the_trees_actors_is_shown_before_anything_happens_to_it() -> None:
    registry = CollectorRegistry()
    root = SupervisionTree(
        spec=spec("indexer", "retention"),
        timers=ManualTimers(),
        clock=ManualClock(),
        metrics=RecordingMetrics(registry),
        on_failure=pytest.fail,
    )
    assert root.wait_until_up(DEADLINE_S)
    assert root.stop(DEADLINE_S)
    for name in ("actor_restarts_total", "actor_abandoned_total", "actor_parked"):
        for actor in ("indexer", "retention"):
            labels = {"actor": actor, "camera": ""}
            assert registry.get_sample_value(f"streamwarden_{name}", labels) == 0


@pytest.mark.parametrize(("parked", "level"), [(True, "error"), (False, "info")])
def test_parking_is_an_error_and_its_end_is_none(*, parked: bool, level: str) -> None:
    registry = CollectorRegistry()
    with capture_logs() as logged:
        Restarts(RecordingMetrics(registry), actor="recorder").parked("cam", parked=parked)
    assert [line["log_level"] for line in logged] == [level]
    labels = {"actor": "recorder", "camera": "cam"}
    assert registry.get_sample_value("streamwarden_actor_parked", labels) == parked
