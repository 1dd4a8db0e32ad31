"""Pictures that are missing, or that nothing dates: each second is in the ledger or can be seen."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from streamwarden.devkit.odd_camera.oddities import Dropout, StampKind, Stamps
from tests.acceptance.footage import moment
from tests.acceptance.installation import OWNER
from tests.acceptance.odd_cameras import OddCameras
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

pytestmark = pytest.mark.slow


def check_sum(odd_cameras: OddCameras, camera: CameraUser) -> tuple[float, float]:
    """Check that nothing is found and that the day adds up; return recorded and missing seconds."""
    assert odd_cameras.findings(camera) == []
    days = odd_cameras.site.accounts(camera)
    assert days
    for day in days:
        assert abs(day.unaccounted_s) <= day.bound_s, day
        assert day.error_s <= 1
    return sum(day.recorded_s for day in days), sum(day.gap_s for day in days)


@pytest.mark.parametrize(("lost_s", "every_s"), [(2, 5), (1, 3)])
def test_pictures_that_a_camera_does_not_send_are_gaps(
    odd_cameras: OddCameras, lost_s: float, every_s: float
) -> None:
    _, camera = odd_cameras.record("small", dropout=Dropout(lost_s, every_s))

    def missing() -> list[Item]:
        return [gap for gap in camera.gaps() if gap["cause"] == "pictures_missing"]

    wait_for("two gaps", lambda: len(missing()) >= 2)
    gaps = missing()
    check_sum(odd_cameras, camera)
    for gap in gaps:
        length = moment(gap["ended_at"]) - moment(gap["started_at"])
        # The camera goes on with a key frame; there is one a second.
        assert timedelta(seconds=lost_s - 0.5) < length < timedelta(seconds=lost_s + 1.5)


def test_footage_whose_time_stamps_stand_still_is_found_where_it_was(
    odd_cameras: OddCameras,
) -> None:
    _, camera = odd_cameras.record("small", stamps=Stamps(StampKind.ZERO))
    camera.await_status("running")
    live = odd_cameras.site.record_root / OWNER / camera.camera_id / ".live"

    def written() -> bool:
        return sum(path.stat().st_size for path in live.glob("*.mp4")) > 400_000

    wait_for("eight seconds of pictures", written)
    recorded_s, gap_s = check_sum(odd_cameras, camera)
    assert recorded_s > 6
    assert gap_s < recorded_s


def test_a_program_that_is_paused_dates_nothing_wrong(odd_cameras: OddCameras) -> None:
    _, camera = odd_cameras.record("small")
    camera.await_segments(2)
    live = odd_cameras.site.record_root / OWNER / camera.camera_id / ".live"
    process = odd_cameras.site.streaming.process
    before = len(camera.segments())
    process.send_signal(signal.SIGSTOP)
    try:
        wait_for("four more files", lambda: len(list(live.glob("*.mp4"))) > 4)
    finally:
        process.send_signal(signal.SIGCONT)
    wait_for("their rows", lambda: len(camera.segments()) > before + 4)
    segments = camera.segments()
    check_sum(odd_cameras, camera)
    for one in segments:
        wall = moment(one["ended_at"]) - moment(one["started_at"])
        assert abs(wall.total_seconds() - one["media_seconds"]) < 0.7, one
