"""Desired streams and their history, over Postgres and in memory."""

from __future__ import annotations

from uuid import uuid4

from streamwarden.model import Camera, WantedPeriod
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import a_camera, at


def want(storage: Storage, camera: Camera, moment: float = 0) -> int:
    return storage.streams.want(camera, requested_by="alice", at=at(moment)).after.epoch


def periods(storage: Storage, camera: Camera) -> list[WantedPeriod]:
    return storage.periods.in_range(camera.id, at(-1000), at(1000))


def period(camera: Camera, start: float, end: float | None) -> WantedPeriod:
    ended_at = None if end is None else at(end)
    return WantedPeriod(camera_id=camera.id, started_at=at(start), ended_at=ended_at)


def test_nothing_is_wanted_at_first(storage: Storage) -> None:
    assert storage.streams.get(uuid4()) is None
    assert storage.streams.all() == []
    assert storage.streams.unwant(uuid4(), requested_by="alice", at=at(0)) is None
    assert storage.streams.claim(uuid4(), "node-1") is False


def test_a_first_desired_state_has_epoch_one_and_opens_a_period(storage: Storage) -> None:
    camera = a_camera()

    change = storage.streams.want(camera, requested_by="bob", at=at(0))

    assert change.before is None
    assert change.after == storage.streams.get(camera.id)
    assert (change.after.epoch, change.after.wanted, change.after.owner) == (1, True, "alice")
    assert periods(storage, camera) == [period(camera, 0, None)]


def test_a_repeated_desired_state_is_a_new_epoch_of_the_same_period(storage: Storage) -> None:
    camera = a_camera()
    first = storage.streams.want(camera, requested_by="bob", at=at(0))

    second = storage.streams.want(camera, requested_by="bob", at=at(5))

    assert second.before == first.after
    assert second.after.epoch == 2
    assert periods(storage, camera) == [period(camera, 0, None)]


def test_an_unwanted_stream_stays_listed_and_closes_its_period(storage: Storage) -> None:
    camera = a_camera()
    want(storage, camera)

    unwanted = storage.streams.unwant(camera.id, requested_by="bob", at=at(10))

    assert unwanted is not None
    assert (unwanted.wanted, unwanted.epoch, unwanted.requested_by) == (False, 2, "bob")
    assert storage.streams.all() == [unwanted]
    assert periods(storage, camera) == [period(camera, 0, 10)]


def test_unwanting_twice_changes_nothing(storage: Storage) -> None:
    camera = a_camera()
    want(storage, camera)
    first = storage.streams.unwant(camera.id, requested_by="bob", at=at(10))

    assert storage.streams.unwant(camera.id, requested_by="eve", at=at(20)) == first
    assert periods(storage, camera) == [period(camera, 0, 10)]


def test_a_clock_set_back_makes_no_period_of_negative_length(storage: Storage) -> None:
    camera = a_camera()
    want(storage, camera, moment=100)

    storage.streams.unwant(camera.id, requested_by="alice", at=at(50))

    assert periods(storage, camera) == [period(camera, 100, 100)]


def test_a_first_desired_state_put_back_is_an_unwanted_row_without_a_period(
    storage: Storage,
) -> None:
    camera = a_camera()
    change = storage.streams.want(camera, requested_by="alice", at=at(0))

    assert storage.streams.put_back(change, at=at(1)) is True

    desired = storage.streams.get(camera.id)
    assert desired is not None
    assert (desired.wanted, desired.epoch) == (False, 2)
    assert periods(storage, camera) == []


def test_a_desired_state_put_back_to_wanted_keeps_its_period_and_requester(
    storage: Storage,
) -> None:
    camera = a_camera()
    before = storage.streams.want(camera, requested_by="alice", at=at(0)).after
    change = storage.streams.want(camera, requested_by="bob", at=at(5))

    assert storage.streams.put_back(change, at=at(6)) is True

    desired = storage.streams.get(camera.id)
    assert desired is not None
    assert (desired.wanted, desired.requested_by, desired.changed_at) == (
        True,
        "alice",
        before.changed_at,
    )
    assert desired.epoch == 3
    assert periods(storage, camera) == [period(camera, 0, None)]


def test_a_desired_state_put_back_to_unwanted_keeps_the_earlier_history(storage: Storage) -> None:
    camera = a_camera()
    want(storage, camera)
    storage.streams.unwant(camera.id, requested_by="alice", at=at(10))
    change = storage.streams.want(camera, requested_by="bob", at=at(20))

    storage.streams.put_back(change, at=at(21))

    assert periods(storage, camera) == [period(camera, 0, 10)]


def test_a_desired_state_that_was_changed_since_is_not_put_back(storage: Storage) -> None:
    camera = a_camera()
    change = storage.streams.want(camera, requested_by="alice", at=at(0))
    want(storage, camera, moment=1)

    assert storage.streams.put_back(change, at=at(2)) is False

    desired = storage.streams.get(camera.id)
    assert desired is not None
    assert desired.wanted is True
    assert periods(storage, camera) == [period(camera, 0, None)]


def test_the_node_that_records_a_stream_outlasts_its_next_epoch(storage: Storage) -> None:
    camera = a_camera()
    want(storage, camera)

    assert storage.streams.claim(camera.id, "node-1") is True
    want(storage, camera)

    desired = storage.streams.get(camera.id)
    assert desired is not None
    assert (desired.node, desired.epoch) == ("node-1", 2)


def test_periods_are_found_by_overlap_and_forgotten_by_age(storage: Storage) -> None:
    camera = a_camera()
    for start in (0, 100, 200):
        want(storage, camera, moment=start)
        storage.streams.unwant(camera.id, requested_by="alice", at=at(start + 10))
    want(storage, camera, moment=300)

    found = storage.periods.in_range(camera.id, at(105), at(200))
    assert found == [period(camera, 100, 110)]
    assert storage.periods.camera_ids() == [camera.id]
    assert storage.periods.drop_before(at(150)) == 2
    assert periods(storage, camera) == [period(camera, 200, 210), period(camera, 300, None)]
