from __future__ import annotations

from uuid import UUID, uuid4

from streamwarden.actors.messages import RecorderState
from streamwarden.actors.status import RecorderStatus, StatusRegistry
from tests.fakes.manual_time import ManualClock
from tests.fakes.recording import FakeRecordingMetrics
from tests.unit.actors.recorder_harness import CAMERA, at


def test_what_was_never_wanted_is_stopped() -> None:
    status = StatusRegistry(ManualClock()).get(CAMERA)
    assert (status.status, status.run, status.since) == (RecorderState.STOPPED, 0, at(0))
    assert status.segment_seconds is None


def holder(registry: StatusRegistry, camera_id: UUID = CAMERA) -> RecorderStatus:
    """An incarnation's status; it has taken over the camera."""
    return RecorderStatus(
        camera_id=camera_id,
        registry=registry,
        metrics=FakeRecordingMetrics(),
        clock=ManualClock(),
    )


def test_an_incarnation_that_was_replaced_writes_no_status_any_more() -> None:
    registry = StatusRegistry(ManualClock())
    old = holder(registry)
    old.update(run=1)
    new = holder(registry)
    old.update(run=2)
    assert registry.get(CAMERA).run == 1
    new.update(run=3)
    assert registry.get(CAMERA).run == 3


def test_a_new_incarnation_goes_on_from_the_last_status() -> None:
    registry = StatusRegistry(ManualClock())
    holder(registry).update(run=7)
    assert holder(registry).shown.run == 7


def test_a_removed_camera_is_not_put_back_by_a_late_word() -> None:
    registry = StatusRegistry(ManualClock())
    status = holder(registry)
    status.update(run=1)
    registry.remove(CAMERA)
    status.update(run=2)
    assert registry.all() == []


def test_all_are_listed_by_camera() -> None:
    registry = StatusRegistry(ManualClock())
    cameras = sorted(uuid4() for _ in range(5))
    for camera in reversed(cameras):
        holder(registry, camera).update(run=1)
    assert [status.camera_id for status in registry.all()] == cameras
