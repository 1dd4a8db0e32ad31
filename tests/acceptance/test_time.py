"""Clocks that are wrong: the server's is set, the camera's is off, the time stamps jump."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from streamwarden.app.api_role import ApiRole
from streamwarden.app.streaming_role import StreamingRole
from streamwarden.cli.environment import load_settings
from streamwarden.clock import Clock, to_milliseconds
from streamwarden.ffmpeg.jobs import decode
from streamwarden.recordings import reconcile
from streamwarden.recordings.verify import VerifyOptions
from tests.acceptance.faults import (
    BreakableInstallation,
    breakable_installation,
    instant,
    missing_pictures,
    none,
    pictures,
    rows_and_files,
)
from tests.acceptance.footage import file_of, moment, stored_files
from tests.acceptance.pressure import waited_s
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

HOUR_S = 3600.0
DAY = timedelta(days=1)


class SetClock(Clock):
    """The machine's clocks, the wall clock of which can be set. Any thread."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return to_milliseconds(datetime.now(UTC) + self.ahead)

    def monotonic(self) -> float:
        return time.monotonic()


class TimedInstallation:
    """Both roles in this process, by a clock that the test sets."""

    def __init__(self, site: BreakableInstallation, clock: SetClock) -> None:
        self.site = site
        self.clock = clock

    def recordings(self, camera: CameraUser) -> list[Item]:
        """Return all of it, also what is dated ahead of the clock."""
        now = self.clock.now()
        return camera.recordings(**{"from": _text(now - 2 * DAY), "to": _text(now + DAY)})

    def segments(self, camera: CameraUser) -> list[Item]:
        """Return the segments in the order of their recording."""
        found = [item for item in self.recordings(camera) if item["kind"] == "segment"]
        return sorted(found, key=lambda s: (s["run"], s["started_at"]))

    def await_segments(self, camera: CameraUser, count: int, *, run: int) -> list[Item]:
        """Wait for ``count`` segments of a run."""

        def look() -> list[Item] | None:
            found = [s for s in self.segments(camera) if s["run"] == run]
            return found if len(found) >= count else None

        return wait_for(f"{count} segments of run {run}", look)

    def findings(self, camera: CameraUser) -> list[str]:
        """Return what ``recordings verify`` says of all times."""
        scope = VerifyOptions(
            to=max(self.clock.now(), datetime.now(UTC)) + DAY,
            decode=lambda path: decode(self.site.ffmpeg, path),
        )
        with self.site.database() as database:
            cameras = [UUID(camera.camera_id)]
            found = reconcile.verify(self.site.record_root, database, cameras, scope)
            return [str(finding.as_json()) for finding in found]


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory, ffmpeg: str) -> Iterator[TimedInstallation]:
    folder = tmp_path_factory.mktemp("time")
    with breakable_installation(folder, ffmpeg) as site, ExitStack() as running:
        clock, failures = SetClock(), list[str]()
        settings = load_settings(None, site.environment)
        api = ApiRole(settings, clock=clock, on_failure=failures.append)
        api.start()
        running.callback(api.stop, 3.0)
        streaming = StreamingRole(settings, clock=clock, on_failure=failures.append)
        streaming.start()
        running.callback(streaming.stop, 10.0)
        wait_for("the tables", lambda: _migrated(site))
        yield TimedInstallation(site, clock)
        assert failures == []


def _migrated(site: BreakableInstallation) -> bool:
    key = "/api/v1/settings/video_segment_seconds"
    return site.admin.put(key, {"value": 2}).status == 200


@pytest.fixture(autouse=True)
def _right_again(timed: TimedInstallation) -> Iterator[None]:
    yield
    timed.clock.ahead = timedelta()


def check_lengths_and_order(segments: Sequence[Item]) -> None:
    for segment in segments:
        assert moment(segment["ended_at"]) >= moment(segment["started_at"]), segment
        assert segment["media_seconds"] > 0
    for earlier, later in pairwise(segments):
        if earlier["run"] == later["run"]:
            assert earlier["ended_at"] == later["started_at"], (earlier, later)


def check_pictures(timed: TimedInstallation, camera: CameraUser, ahead_s: dict[int, float]) -> None:
    """Check that each segment's pictures were taken when it says, by the clock of its run."""
    for segment in timed.segments(camera):
        first, last = moment(segment["started_at"]), moment(segment["ended_at"])
        file = file_of(timed.site.folder_of(camera), segment)
        taken = pictures(timed.site.ffmpeg, file, near=first)
        ahead = timedelta(seconds=ahead_s[segment["run"]])
        most_s = 1 + waited_s(first - ahead, last - ahead)
        assert abs((first - ahead - taken[0]).total_seconds()) < most_s, segment
        assert abs((last - ahead - taken[-1]).total_seconds()) < most_s, segment


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_is_set_by_an_hour_costs_no_picture_and_no_file(
    timed: TimedInstallation, by_s: float
) -> None:
    site = timed.site
    camera = site.recorded_camera()
    run = camera.status()["run"]
    timed.clock.ahead = timedelta(seconds=by_s)
    timed.await_segments(camera, 2, run=run + 1)
    site.settle(camera)
    segments = timed.segments(camera)
    check_lengths_and_order(segments)
    assert len(stored_files(site.folder_of(camera))) == len(segments)
    none("missing", missing_pictures(site, camera))
    check_pictures(timed, camera, {run: 0, run + 1: by_s})
    none("verify", timed.findings(camera))
    gaps = [item for item in timed.recordings(camera) if item["kind"] == "gap"]
    steps = [gap for gap in gaps if gap["cause"] != "starting"]
    assert [gap["cause"] for gap in steps] == (["clock_step"] if by_s > 0 else [])
    for gap in steps:
        length = moment(gap["ended_at"]) - moment(gap["started_at"])
        assert abs(length.total_seconds() - by_s) < 5


def test_the_hour_that_comes_twice_is_recorded_once_after_the_other(
    timed: TimedInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        turn = datetime(2025, 10, 26, 1, 0, tzinfo=UTC)  # 03:00 there becomes 02:00
        timed.clock.ahead = turn - timedelta(seconds=8) - instant()
        camera = timed.site.recorded_camera()
        wait_for("the turn", lambda: _after(timed, camera, turn))
        timed.site.settle(camera)
    finally:
        monkeypatch.undo()
        time.tzset()
    segments = timed.segments(camera)
    check_lengths_and_order(segments)
    assert {segment["run"] for segment in segments} == {1}
    none("file without a row", _unknown(timed, camera, segments))
    none("verify", timed.findings(camera))


def _after(timed: TimedInstallation, camera: CameraUser, turn: datetime) -> bool:
    return any(moment(s["started_at"]) > turn for s in timed.segments(camera))


def _unknown(timed: TimedInstallation, camera: CameraUser, segments: Sequence[Item]) -> list[str]:
    folder = timed.site.folder_of(camera)
    rows = {file_of(folder, segment) for segment in segments}
    return [str(file) for file in stored_files(folder) if file not in rows]


def test_a_cameras_own_clock_decides_nothing(timed: TimedInstallation) -> None:
    """One camera's clock is an hour off; the other's runs away by a second every half second."""
    site = timed.site
    off, drifting = site.camera(), site.camera()
    for camera in (off, drifting):
        site.publish(camera)
        site.await_published(camera)
    site.fault(off, sender_clock_shift_s=HOUR_S)
    with _drift(site, drifting):
        for camera in (off, drifting):
            assert camera.connect().status == 200
        # Sender reports come every few seconds; the first ones are what moves a clock.
        for camera in (off, drifting):
            camera.await_segments(5)
    site.check_account(off, drifting)
    for camera in (off, drifting):
        assert camera.status()["respawns"] == 0
        check_lengths_and_order(timed.segments(camera))
        check_pictures(timed, camera, {1: 0})


class _drift:  # noqa: N801 - used as a function is
    """Move a camera's clock on, further and further, on a thread of its own."""

    def __init__(self, site: BreakableInstallation, camera: CameraUser) -> None:
        self._site, self._camera = site, camera
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera-drift")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        shift_s = 0.0
        while not self._over.wait(0.5):
            shift_s += 1.0
            self._site.fault(self._camera, sender_clock_shift_s=shift_s)


@pytest.mark.parametrize("jump_s", [5000.0, -5000.0])
def test_time_stamps_that_jump_make_no_file_of_another_time(
    timed: TimedInstallation, jump_s: float
) -> None:
    site = timed.site
    camera = site.recorded_camera()
    jumped = instant()
    site.fault(camera, timestamp_jump_s=jump_s)
    wait_for("a segment from after the jump", lambda: _since(timed, camera, jumped))
    site.settle(camera)
    check_lengths_and_order(timed.segments(camera))
    for segment in timed.segments(camera):
        wall = moment(segment["ended_at"]) - moment(segment["started_at"])
        assert wall.total_seconds() < 30, segment
    none("verify", site.findings(camera))
    none("file without a row", rows_and_files(camera, site.folder_of(camera)))


def _since(timed: TimedInstallation, camera: CameraUser, at: datetime) -> bool:
    late = [s for s in timed.segments(camera) if moment(s["started_at"]) > at]
    return len(late) >= 2
