from __future__ import annotations

import math
from typing import Any

import pytest

from streamwarden.supervision import (
    INFINITY,
    ChildSpec,
    ChildType,
    Intensity,
    Link,
    Parking,
    SupervisorSpec,
)
from streamwarden.supervision._spec import (
    BRUTAL_KILL,
    InvalidSpec,
    Restart,
    RestartLog,
    Strategy,
    check_specs,
)
from tests.unit.supervision.harness import Ref


def nothing(link: Link) -> Ref:
    raise AssertionError(f"{link} must not be started")


def spec(**fields: Any) -> ChildSpec:  # noqa: ANN401 - wrong ones on purpose
    return ChildSpec(**{"id": "a", "start": nothing, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"id": ""},
        {"id": 7},
        {"start": "start"},
        {"restart": "prmanent"},
        {"type": "wrker"},
        {"shutdown_s": -0.1},
        {"shutdown_s": math.nan},
        {"shutdown_s": "5"},
    ],
)
def test_a_field_that_cannot_be_right_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec, match=next(iter(fields))):
        check_specs([spec(**fields)])


def test_what_is_no_specification_is_refused() -> None:
    wrong: Any = "camera"
    with pytest.raises(InvalidSpec, match="camera"):
        check_specs([wrong])


def test_one_id_twice_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="duplicate"):
        check_specs([spec(), spec(restart=Restart.TEMPORARY)])


@pytest.mark.parametrize("shutdown_s", [None, 0, 0.5, 5, BRUTAL_KILL, INFINITY])
@pytest.mark.parametrize("kind", list(ChildType))
@pytest.mark.parametrize("restart", list(Restart))
def test_every_sensible_specification_passes(
    shutdown_s: float | None, kind: ChildType, restart: Restart
) -> None:
    check_specs([spec(shutdown_s=shutdown_s, type=kind, restart=restart)])


def test_the_defaults_are_otps() -> None:
    assert spec().restart is Restart.PERMANENT
    assert spec().type is ChildType.WORKER
    assert spec().shutdown_within_s == 5.0
    assert spec(type=ChildType.SUPERVISOR).shutdown_within_s == INFINITY
    assert spec(type=ChildType.SUPERVISOR, shutdown_s=3).shutdown_within_s == 3
    assert SupervisorSpec().strategy is Strategy.ONE_FOR_ONE
    assert SupervisorSpec().limit == Intensity(intensity=1, period_s=5.0)


def test_a_supervisors_children_are_checked_before_anything_starts() -> None:
    with pytest.raises(InvalidSpec):
        SupervisorSpec(children=[spec(), spec(id="b", shutdown_s=-1)])


def test_an_unknown_strategy_is_refused() -> None:
    wrong: Any = "none_for_one"
    with pytest.raises(InvalidSpec, match="none_for_one"):
        SupervisorSpec(strategy=wrong)


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_parking_goes_with_one_for_one_only(strategy: Strategy) -> None:
    with pytest.raises(InvalidSpec, match="parking"):
        SupervisorSpec(strategy=strategy, parking=Parking())


@pytest.mark.parametrize("retry_after_s", [0, -1, math.nan, math.inf])
def test_a_parking_time_that_would_spin_or_never_end_is_refused(retry_after_s: float) -> None:
    with pytest.raises(ValueError, match="retry_after_s"):
        Parking(retry_after_s=retry_after_s)


@pytest.mark.parametrize("intensity", [-1, 1.5, math.inf])
def test_an_intensity_that_is_no_number_of_restarts_is_refused(intensity: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(ValueError, match="intensity"):
        Intensity(intensity=intensity)


@pytest.mark.parametrize("period_s", [0, -1, math.nan, math.inf])
def test_a_period_that_is_no_time_is_refused(period_s: float) -> None:
    with pytest.raises(ValueError, match="period_s"):
        Intensity(period_s=period_s)


def after(limit: Intensity, *moments: float) -> RestartLog:
    log = RestartLog(limit)
    for moment in moments:
        log = log.add(moment)
    return log


def test_no_restart_is_allowed_at_intensity_zero() -> None:
    assert not RestartLog(Intensity(0, 5)).exceeded
    assert after(Intensity(0, 5), 100.0).exceeded


@pytest.mark.parametrize(
    ("moments", "exceeded"),
    [
        ((0.0, 0.0), False),
        ((0.0, 0.0, 0.0), True),
        ((0.0, 2.5, 5.0), True),
        ((0.0, 2.5, 5.001), False),
        ((0.0, 5.001, 10.002, 15.003), False),
        ((0.0, 4.0, 6.0, 9.5), False),
        ((0.0, 4.0, 6.0, 9.5, 10.0), True),
    ],
)
def test_the_limit_is_passed_by_one_more_restart_within_the_period_both_ends_counted(
    moments: tuple[float, ...], exceeded: bool
) -> None:
    assert after(Intensity(2, 5.0), *moments).exceeded is exceeded


def test_the_log_is_bounded_by_the_intensity() -> None:
    assert len(after(Intensity(3, 1000.0), *map(float, range(500))).at) == 4
