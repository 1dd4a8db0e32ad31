"""A disk that is really full: its cause shows, it recovers by itself, and nothing indexed is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.recordings import reconcile
from streamwarden.recordings.verify import VerifyOptions
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import Installation, database_with_password
from tests.acceptance.program import programs
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for
from tests.small_disk import SmallDisk, small_disk

MIB = 1024**2
DISK_BYTES = 64 * MIB
RESERVE_BYTES = 24 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        yield disk


@pytest.fixture
def small(
    request: pytest.FixtureRequest,
    disk: SmallDisk,
    tmp_path: Path,
    postgres_server: EmbeddedPostgres,
    ffmpeg: str,
) -> Iterator[Installation]:
    """Both roles, recording to the small disk; the reserve is the test's parameter."""
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    with pytest.MonkeyPatch.context() as patch, programs(tmp_path) as make:
        real = Installation.environ

        def environ(installation: Installation, database_url: str) -> dict[str, str]:
            return real(installation, database_url) | {
                "STREAMWARDEN_FREE_SPACE_RESERVE": str(request.param),
                "STREAMWARDEN_RETENTION_MIN": "0",
            }

        patch.setattr(Installation, "environ", environ)
        installation = Installation(disk.folder, make, database_url=url, ffmpeg=ffmpeg)
        try:
            installation.start()
            installation.admin.put("/api/v1/settings/video_segment_seconds", {"value": 1})
            yield installation
        finally:
            installation.close()


def recording(installation: Installation) -> CameraUser:
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    camera.connect()
    camera.await_status("running")
    camera.await_segments(3)
    return camera


def ids(camera: CameraUser) -> set[str]:
    return {segment["id"] for segment in camera.segments()}


def check_kept(installation: Installation, camera: CameraUser, before: set[str]) -> None:
    """Check that nothing of ``before`` is gone but what retention says that it has deleted."""
    gone = len(before - ids(camera))

    def said() -> bool:
        deleted = [
            int(event["segments"]) for event in installation.streaming.events("segments_expired")
        ]
        return gone <= sum(deleted)

    wait_for(f"word of {gone} deleted segments", said)


def verified(installation: Installation, camera: CameraUser) -> list[str]:
    camera.disconnect()
    camera.await_status("stopped")
    scope = VerifyOptions(to=datetime.now(UTC))

    def settled() -> list[str] | None:
        with installation.database() as database:
            root, camera_id = installation.record_root, UUID(camera.camera_id)
            found = list(reconcile.verify(root, database, [camera_id], scope))
            gaps = [one for one in found if one.kind == "gap_left_open"]
        return None if gaps else [str(one.as_json()) for one in found] or ["nothing"]

    return wait_for("the last rows in the index", settled)


@pytest.mark.slow
@pytest.mark.parametrize("small", ["0.00001 %"], indirect=True)
def test_a_full_disk_is_named_and_recording_comes_back_with_the_first_free_space(
    small: Installation, disk: SmallDisk
) -> None:
    # Any reserve has a few bytes of a full disk freed by deleting; this one asks for no more.
    camera = recording(small)
    before = ids(camera)
    disk.leave(0)
    gap = camera.await_gap(lambda gap: gap["cause"] == "disk_full")
    camera.await_status(lambda s: (s["last_error"] or {}).get("cause") == "disk_full")
    check_kept(small, camera, before)
    disk.empty()
    camera.await_status("running")
    newest = max(segment["run"] for segment in camera.segments())
    camera.await_segments(2, run_after=newest)
    after = camera.await_gap(lambda one: one["started_at"] == gap["started_at"] and one["ended_at"])
    assert after["cause"] == "disk_full"
    check_kept(small, camera, before)
    assert verified(small, camera) == ["nothing"]


@pytest.mark.slow
@pytest.mark.parametrize("small", [RESERVE_BYTES], indirect=True)
def test_at_the_reserve_recording_goes_on_by_deleting_the_oldest(
    small: Installation, disk: SmallDisk
) -> None:
    camera = recording(small)
    before = camera.await_segments(8)
    disk.leave(RESERVE_BYTES - sum(segment["bytes"] for segment in before[:2]))
    oldest = before[0]["id"]
    wait_for("the oldest to go", lambda: oldest not in ids(camera))
    run = camera.status()["run"]
    last = camera.segments()[-1]["ended_at"]
    wait_for(
        "more to be recorded",
        lambda: [one for one in camera.segments() if one["started_at"] >= last][2:],
    )
    assert camera.status()["run"] == run
    assert [gap for gap in camera.gaps() if gap["cause"] != "starting"] == []
    assert "recordings older than 30 days are deleted" in str(small.streaming.events("retention"))
    assert verified(small, camera) == ["nothing"]
