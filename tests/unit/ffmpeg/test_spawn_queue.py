from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.ffmpeg.watcher import SpawnQueue, TokenBucket
from tests.unit.ffmpeg.run_order import SampleOrder


def _taken(spawn_rate: TokenBucket, now: float) -> int:
    return sum(1 for _ in iter(lambda: spawn_rate.take(now), False))


def test_a_burst_goes_at_once_and_then_one_an_interval() -> None:
    spawn_rate = TokenBucket(interval_s=0.2, burst=4)
    assert _taken(spawn_rate, 10.0) == 4
    assert spawn_rate.wait_s(10.0) == pytest.approx(0.2)
    assert _taken(spawn_rate, 10.1999) == 0
    assert _taken(spawn_rate, 10.2001) == 1
    assert _taken(spawn_rate, 10.6002) == 2


def test_a_long_rest_saves_up_no_more_than_the_burst() -> None:
    spawn_rate = TokenBucket(interval_s=0.2, burst=4)
    assert _taken(spawn_rate, 0.0) == 4
    assert _taken(spawn_rate, 10_000.0) == 4


@given(
    st.floats(0.01, 5),
    st.integers(1, 10),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_stretch_of_time_sees_more_than_the_pace(
    interval_s: float, burst: int, pauses: list[float]
) -> None:
    spawn_rate, now, taken = TokenBucket(interval_s=interval_s, burst=burst), 100.0, 0
    for pause in pauses:
        now += pause
        taken += spawn_rate.take(now)
    assert taken <= burst + (now - 100.0) / interval_s + 1e-6


@given(st.floats(0.01, 5), st.integers(1, 5))
def test_after_the_wait_the_pace_allows_one(interval_s: float, burst: int) -> None:
    spawn_rate = TokenBucket(interval_s=interval_s, burst=burst)
    _taken(spawn_rate, 1.0)
    assert spawn_rate.take(1.0 + spawn_rate.wait_s(1.0) + 1e-6)


@pytest.mark.parametrize(("interval_s", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_pace_that_never_allows_one_is_refused(interval_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match="interval_s"):
        TokenBucket(interval_s=interval_s, burst=burst)


@pytest.fixture
def cameras() -> tuple[object, object]:
    return object(), object()


def test_orders_leave_in_order_as_the_pace_allows(cameras: tuple[object, object]) -> None:
    one, other = cameras
    queue: SpawnQueue[object] = SpawnQueue(TokenBucket(interval_s=1.0, burst=2))
    assert queue.wait_s(5.0) is None
    for camera, run in ((one, 1), (other, 1), (one, 2)):
        queue.add(camera, SampleOrder(run=run))
    assert queue.wait_s(5.0) == 0.0
    assert [(c, o.run) for c, o in queue.due(5.0)] == [(one, 1), (other, 1)]
    assert queue.wait_s(5.5) == pytest.approx(0.5)
    assert [o.run for _, o in queue.due(6.0)] == [2]
    assert queue.wait_s(7.0) is None


def test_only_the_order_that_is_meant_is_dropped(cameras: tuple[object, object]) -> None:
    one, other = cameras
    queue: SpawnQueue[object] = SpawnQueue(TokenBucket(interval_s=1.0, burst=9))
    for camera in (one, other):
        for run in (1, 2):
            queue.add(camera, SampleOrder(run=run))
    assert queue.drop(one, 1)
    assert not queue.drop(one, 1)
    queue.drop_all(other)
    assert [(c, o.run) for c, o in queue.due(5.0)] == [(one, 2)]
