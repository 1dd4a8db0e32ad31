from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from streamwarden.actors.messages import RecorderState
from streamwarden.actors.status import StatusRegistry
from tests.unit.actors.stage import CAMERA, at
from tests.unit.supervision.by_hand import HandClock


def test_what_was_never_wanted_is_stopped() -> None:
    status = StatusRegistry(HandClock()).get(CAMERA)
    assert (status.status, status.run, status.since) == (RecorderState.STOPPED, 0, at(0))
    assert status.segment_seconds is None


def test_an_incarnation_that_was_replaced_shows_nothing_any_more() -> None:
    board = StatusRegistry(HandClock())
    old = board.take_over(CAMERA)
    old.put(replace(old.last(), run=1))
    new = board.take_over(CAMERA)
    old.put(replace(old.last(), run=2))
    assert board.get(CAMERA).run == 1
    new.put(replace(new.last(), run=3))
    assert board.get(CAMERA).run == 3


def test_a_removed_camera_is_not_put_back_by_a_late_word() -> None:
    board = StatusRegistry(HandClock())
    entry = board.take_over(CAMERA)
    status = replace(entry.last(), run=1)
    entry.put(status)
    board.remove(CAMERA)
    entry.put(status)
    assert board.all() == []


def test_all_are_listed_by_camera() -> None:
    board = StatusRegistry(HandClock())
    cameras = sorted(uuid4() for _ in range(5))
    for camera in reversed(cameras):
        entry = board.take_over(camera)
        entry.put(entry.last())
    assert [status.camera_id for status in board.all()] == cameras
