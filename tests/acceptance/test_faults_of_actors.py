"""A bug in an actor, injected where it calls somebody: its runs go on and are adopted.

The streaming role runs in this process, as it does in the program; the API and all else apart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pykka
import pytest

from streamwarden.actors.indexer import SegmentIndexer
from streamwarden.actors.recorder import RecorderActor
from streamwarden.actors.segment_log import SegmentLog
from streamwarden.actors.spawning import Spawning
from streamwarden.actors.stream_manager import StreamManager
from streamwarden.app.streaming_role import StreamingRole
from streamwarden.cli.environment import load_settings
from streamwarden.clock import Clock
from streamwarden.ffmpeg import run as run_module
from streamwarden.supervision import tell
from tests.acceptance.calls import Caller
from tests.acceptance.faults import (
    BreakableInstallation,
    breakable_installation,
    labels,
    missing_pictures,
    none,
    rows_and_files,
)
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

_REPORTED = 4
"""So many segments of two seconds: FFmpeg sends a report of each track at least every 5 s."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Iterator[BreakableInstallation]:
    with breakable_installation(tmp_path_factory.mktemp("bugs"), ffmpeg) as installation:
        installation.start_api()
        failures: list[str] = []
        before = _threads()
        role = StreamingRole(
            load_settings(None, installation.environment), clock=Clock(), on_failure=failures.append
        )
        role.start()
        try:
            installation.shorten_segments()
            yield installation
        finally:
            role.stop(10.0)
        assert failures == []
        assert _threads() <= before


def _threads() -> set[str]:
    """The names of all threads but those of the cameras, which are no part of the product."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if not name.startswith(("camera-", "devkit-children"))}


@pytest.fixture
def camera(site: BreakableInstallation) -> CameraUser:
    return site.recorded_camera()


def actor(kind: type[pykka.Actor]) -> pykka.ActorRef[Any]:
    def look() -> pykka.ActorRef[Any] | None:
        found = pykka.ActorRegistry.get_by_class(kind)
        return found[0] if len(found) == 1 else None

    return wait_for(f"one {kind.__name__}", look)


class Bug(Exception):
    """A bug that nobody has thought of."""


@contextmanager
def bug_in(owner: type, name: str, *, after: bool) -> Iterator[threading.Event]:
    """Have a method raise once, before or after its work; the event is set once it works again."""
    method: Callable[..., object] = getattr(owner, name)
    struck, healed = threading.Event(), threading.Event()

    def broken(self: object, *args: object, **kwargs: object) -> object:
        if struck.is_set():
            healed.set()
            return method(self, *args, **kwargs)
        struck.set()
        if after:
            method(self, *args, **kwargs)
        raise Bug(f"{owner.__name__}.{name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, broken)
        yield healed


BUGS = (
    (SegmentLog, "stored", False),
    (SegmentLog, "store_first", True),
    (SegmentLog, "stored", True),
    (Spawning, "recorded", False),
)
"""Between a file in its place and its account; fewer than a recorder may fail before it is parked."""


def restarts(site: BreakableInstallation, kind: str, **others: str) -> float:
    return site.metric_value("actor_restarts_total", actor=kind, **others)


def check_nothing_was_lost(site: BreakableInstallation, camera: CameraUser, *, run: int) -> None:
    """Check that one run has recorded all of it."""
    assert (camera.status()["run"], camera.status()["respawns"]) == (run, 0)
    site.check_account(camera)
    assert [gap["cause"] for gap in camera.gaps()] == ["starting"]
    none("missing", missing_pictures(site, camera))


def test_a_bug_in_a_recorder_costs_no_picture(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run = camera.status()["run"]
    for owner, name, after in BUGS:
        before = restarts(site, "recorder", **labels(camera))
        with bug_in(owner, name, after=after) as healed:
            wait_for(f"{name} to work again", healed.is_set)
        assert restarts(site, "recorder", **labels(camera)) == before + 1
    camera.await_status("running")
    camera.await_segments(len(camera.segments()) + 2)
    check_nothing_was_lost(site, camera, run=run)


def test_a_bug_in_the_stream_manager_costs_no_picture(
    site: BreakableInstallation, camera: CameraUser
) -> None:
    run, before = camera.status()["run"], restarts(site, "stream_manager")
    first = actor(StreamManager)
    tell(first, object())
    wait_for("another incarnation", lambda: actor(StreamManager) != first)
    wait_for("its count", lambda: restarts(site, "stream_manager") == before + 1)
    camera.await_status("running")
    camera.await_segments(len(camera.segments()) + 2)
    check_nothing_was_lost(site, camera, run=run)


def test_a_bug_in_the_indexer_loses_no_row(site: BreakableInstallation, camera: CameraUser) -> None:
    run, before = camera.status()["run"], restarts(site, "indexer")
    for _ in range(2):
        first = actor(SegmentIndexer)
        tell(first, object())
        wait_for("another incarnation", lambda: actor(SegmentIndexer) != first)  # noqa: B023 - used at once
    with bug_in(SegmentIndexer, "_written", after=False):
        camera.await_segments(len(camera.segments()) + 2)
    assert restarts(site, "indexer") == before + 3
    check_nothing_was_lost(site, camera, run=run)


def test_a_recorder_that_fails_too_often_is_parked_and_the_others_record_on(
    site: BreakableInstallation,
) -> None:
    other, parked = site.recorded_cameras(2)
    run = other.status()["run"]
    internal = Caller(site.streaming_url, site.to_streaming.headers)

    def crash() -> bool:
        # One look at a time: a recorder that has just been started is the next to fail.
        for ref in pykka.ActorRegistry.get_by_class(RecorderActor):
            if str(ref._actor_weakref().link.child_id) == parked.camera_id:  # type: ignore[union-attr]
                tell(ref, object())
        return bool(parked.status()["status"] == "parked")

    wait_for("parked", crash)
    assert site.metric_value("actor_parked", actor="recorder", **labels(parked)) == 1
    assert site.metric_value("recorder_state", state="parked", **labels(parked)) == 1
    assert parked.status()["last_error"]["cause"] == "actor_parked"
    parked.await_gap(lambda gap: gap["cause"] == "actor_parked" and gap["ended_at"] is None)
    other.await_segments(len(other.segments()) + 1)
    assert internal.post(f"/streams/{parked.camera_id}/restart").status == 200
    parked.await_status("running")
    parked.await_segments(1, run_after=1)
    assert site.metric_value("actor_parked", actor="recorder", **labels(parked)) == 0
    site.check_account(parked)
    assert "actor_parked" in [gap["cause"] for gap in parked.gaps()]
    check_nothing_was_lost(site, other, run=run)


def test_pictures_that_ffmpeg_holds_back_are_stored_when_its_run_is_replaced(
    site: BreakableInstallation, camera: CameraUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bug of an actor's; here its patience can be shortened."""
    run = camera.status()["run"]
    camera.await_segments(_REPORTED)
    monkeypatch.setattr(run_module, "_OVERDUE_S", 4.0)
    site.fault(camera, picture_jump_s=3000)
    camera.await_segments(2, run_after=run)
    assert (camera.status()["run"], camera.status()["respawns"]) == (run + 1, 0)
    site.settle(camera)
    none("verify", site.findings(camera))
    none("file without a row", rows_and_files(camera, site.folder_of(camera)))
    # FFmpeg squeezes the time stamps of what it has held back: no picture is lost, but none can be found
    # at its time, so the ledger says that they are missing there.
    assert {gap["cause"] for gap in camera.gaps()} <= {"starting", "pictures_missing"}
    none("missing", missing_pictures(site, camera))
