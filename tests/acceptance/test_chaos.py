"""Several cameras and random faults; at the end every wanted second is accounted for and nothing leaks.

``STREAMWARDEN_TEST_CHAOS_S`` is how long things are broken (60 s without it),
``STREAMWARDEN_TEST_CHAOS_SEED`` the seed, which is printed: the same seed breaks the same things in the
same order.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.acceptance.calls import Caller
from tests.acceptance.faults import (
    BreakableInstallation,
    breakable_installation,
    none,
    rows_and_files,
    started,
    unexplained_losses,
)
from tests.acceptance.footage import file_of, moment
from tests.acceptance.program import STOPS_WITHIN_S, await_gone, working_in
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import NotSeen, glimpse, wait_for

LASTS_S = float(os.environ.get("STREAMWARDEN_TEST_CHAOS_S", "60"))
SEED = int(os.environ.get("STREAMWARDEN_TEST_CHAOS_SEED", "740902"))
"""Always the same where nobody asks: a red run speaks of the change, and others look further."""
CAMERAS = 3
RECORDING_AGAIN = 0.6
"""How often a fault waits until the camera records; the others come on top of one another."""

SPARE_DESCRIPTORS, SPARE_THREADS = 6, 2
"""Connections and workers that come and go; a leak would grow with the number of faults."""


class Chaos:
    """Breaks things, and mends what does not come back by itself."""

    def __init__(
        self, site: BreakableInstallation, cameras: Sequence[CameraUser], seed: int
    ) -> None:
        self._site, self._cameras = site, cameras
        self._chance = random.Random(seed)  # noqa: S311 - chance that can be had again
        self.done: list[str] = []

    def break_something(self) -> None:
        """Commit one fault; those that do not mend themselves are mended once they have been noticed."""
        fault = self._chance.choice(self._faults)
        camera = self._chance.choice(self._cameras)
        if self._chance.random() < RECORDING_AGAIN:
            glimpse(lambda: camera.status()["status"] == "running", for_s=8)
        self.done.append(f"{datetime.now(UTC):%T.%f} {fault.__name__} {camera.camera_id}")
        fault(self, camera)

    def kill_streaming(self) -> None:
        """Kill the server itself, and start it again."""
        self.done.append(f"{datetime.now(UTC):%T.%f} kill_streaming")
        self._site.streaming.kill()
        self._site.start_streaming()

    def _recorder(self, camera: CameraUser) -> psutil.Process | None:
        return self._site.streaming.recorder(self._site.record_root, camera.camera_id)

    def _await_not_running(self, camera: CameraUser) -> None:
        # It may already be back.
        glimpse(lambda: camera.status()["status"] != "running", for_s=12)

    def kill_ffmpeg(self, camera: CameraUser) -> None:
        if (found := self._recorder(camera)) is not None:
            with suppress(psutil.NoSuchProcess):
                found.kill()

    def freeze_ffmpeg(self, camera: CameraUser) -> None:
        if (found := self._recorder(camera)) is not None:
            with suppress(psutil.NoSuchProcess):
                found.suspend()

    def kill_media_server(self, camera: CameraUser) -> None:
        self._site.relay.kill()
        self._await_not_running(camera)
        self._site.relay.start()

    def close_door(self, camera: CameraUser) -> None:
        control = Caller(self._site.relay.control_url, self._site.relay.control_headers)
        control.post("/devkit/listener", {"accepting": False})
        self.kill_ffmpeg(camera)
        self._await_not_running(camera)
        control.post("/devkit/listener", {"accepting": True})

    def reset_readers(self, camera: CameraUser) -> None:
        self._act("reset_readers", camera)

    def close_readers(self, camera: CameraUser) -> None:
        self._act("close_readers", camera)

    def reset_publisher(self, camera: CameraUser) -> None:
        self._act("reset_publisher", camera)

    def fall_silent(self, camera: CameraUser) -> None:
        kind = self._chance.choice(["media", "all"])
        with suppress(OSError, AssertionError):
            self._site.fault(camera, silence=kind)
        glimpse(lambda: camera.status()["status"] == "stalled", for_s=12)
        self._site.heal(camera)

    def answer_badly(self, camera: CameraUser) -> None:
        kind = self._chance.choice(["hang", "not_rtsp", "endless_headers", "absurd_sdp"])
        self._site.fault(camera, describe=kind)
        self.kill_ffmpeg(camera)
        self._await_not_running(camera)
        self._site.heal(camera)

    def kill_api(self, camera: CameraUser) -> None:
        self._site.api.kill()
        self.kill_ffmpeg(camera)
        self._site.start_api()

    def kill_postgres(self, _: CameraUser) -> None:
        self._site.postgres.kill()
        before = self._site.metric_value("index_journal_segments")
        glimpse(lambda: self._waiting() > before + CAMERAS, for_s=10)
        self._site.postgres.start()
        self._site.await_api()

    def _waiting(self) -> float:
        return self._site.metric_value("index_journal_segments")

    def restart_by_hand(self, camera: CameraUser) -> None:
        self._site.to_streaming.post(f"/streams/{camera.camera_id}/restart")

    def change_segment_length(self, _: CameraUser) -> None:
        self._site.set_segment_seconds(self._chance.choice([1, 2, 3]))

    def disconnect_and_connect(self, camera: CameraUser) -> None:
        assert camera.disconnect().status == 200
        assert camera.connect().status == 200

    def jump_time_stamps(self, camera: CameraUser) -> None:
        self._site.fault(camera, timestamp_jump_s=self._chance.choice([-3000.0, 3000.0]))

    def jump_pictures(self, camera: CameraUser) -> None:
        """The time stamps of the pictures jump, those of the sound do not."""
        self._site.fault(camera, picture_jump_s=self._chance.choice([-20.0, 4.0, 600.0]))

    def shift_senders_clock(self, camera: CameraUser) -> None:
        self._site.fault(camera, sender_clock_shift_s=self._chance.choice([-7200.0, 0.4, 86400.0]))

    def lose_sound(self, camera: CameraUser) -> None:
        """The sound is announced and falls silent; the pictures go on."""
        self._site.fault(camera, silence="sound")

    def drop_out(self, camera: CameraUser) -> None:
        """The network carries a part of what is sent, and breaks off with the rest in its queues."""
        with suppress(OSError, AssertionError):
            self._site.fault(camera, bytes_per_s=4_000.0)
        glimpse(lambda: camera.status()["status"] != "running", for_s=6)
        self._act("reset_readers", camera)
        self._site.heal(camera)

    def take_root_away(self, _: CameraUser) -> None:
        """The record root is gone for some seconds, as a disk that is unmounted and mounted again."""
        elsewhere = self._site.record_root.with_name("elsewhere")
        self._site.record_root.rename(elsewhere)
        try:
            glimpse(self._knows_that_root_is_gone, for_s=12)
        finally:
            elsewhere.rename(self._site.record_root)

    def _knows_that_root_is_gone(self) -> bool:
        errors = [camera.status()["last_error"] for camera in self._cameras]
        return any(error and error["cause"] == "record_root_missing" for error in errors)

    def pause_program(self, camera: CameraUser) -> None:
        """Stop the server for a while; FFmpeg goes on, and its list waits to be read."""
        live = self._site.folder_of(camera) / ".live"
        process = psutil.Process(self._site.streaming.pid)
        before = len(list(live.glob("*.mp4")))
        process.suspend()
        try:
            glimpse(lambda: len(list(live.glob("*.mp4"))) > before + 2, for_s=9)
        finally:
            process.resume()

    def _act(self, action: str, camera: CameraUser) -> None:
        self._site.fault(camera, actions=[action])

    _faults: tuple[Callable[[Chaos, CameraUser], None], ...] = (
        kill_ffmpeg, freeze_ffmpeg, kill_media_server, close_door, reset_readers, close_readers,
        reset_publisher, fall_silent, answer_badly, kill_api, kill_postgres, restart_by_hand,
        change_segment_length, disconnect_and_connect, jump_time_stamps,
        pause_program, jump_pictures, shift_senders_clock, lose_sound, drop_out, take_root_away,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, ffmpeg: str) -> Iterator[BreakableInstallation]:
    with breakable_installation(tmp_path, ffmpeg) as installation:
        yield started(installation)


def all_record(cameras: Sequence[CameraUser]) -> None:
    """Wait until each camera has stored a segment that began after this call."""
    began = datetime.now(UTC)

    def recorded(camera: CameraUser) -> bool:
        return any(moment(segment["started_at"]) > began for segment in camera.segments())

    for camera in cameras:
        wait_for("a new segment", partial(recorded, camera))


def held(site: BreakableInstallation) -> tuple[int, int]:
    """Return how many descriptors and threads the streaming role has."""
    process = psutil.Process(site.streaming.pid)
    return process.num_fds(), process.num_threads()


@pytest.mark.timeout(LASTS_S + 840)
def test_whatever_breaks_every_wanted_second_is_accounted_for(site: BreakableInstallation) -> None:
    faulthandler.cancel_dump_traceback_later()  # it lasts longer than what would look stuck
    print(f"STREAMWARDEN_TEST_CHAOS_SEED={SEED}")  # noqa: T201 - how to see it again
    cameras = site.recorded_cameras(CAMERAS)
    chaos = Chaos(site, cameras, SEED)
    chaos.kill_streaming()
    all_record(cameras)
    before = held(site)
    until = time.monotonic() + LASTS_S
    try:
        while time.monotonic() < until:
            chaos.break_something()
        site.heal()
        all_record(cameras)
        check_nothing_leaks(site, before)
        check_accounts(site, cameras)
    finally:
        print("\n".join(chaos.done))  # noqa: T201 - what was broken


def check_nothing_leaks(site: BreakableInstallation, before: tuple[int, int]) -> None:
    def quiet() -> bool:
        descriptors, threads = held(site)
        few = len(site.streaming.recorders(site.record_root)) == CAMERAS
        spare = before[0] + SPARE_DESCRIPTORS, before[1] + SPARE_THREADS
        return few and descriptors <= spare[0] and threads <= spare[1]

    try:
        wait_for("quiet", quiet)
    except NotSeen:
        raise NotSeen(f"before {before}, after {held(site)}") from None


def is_cut_off_picture(site: BreakableInstallation, camera: CameraUser, found: str) -> bool:
    """Return whether a finding is of a run's last file, in which a picture is damaged.

    A source that is reset in the middle of a picture has sent half of it, and that is recorded.
    """
    finding = json.loads(found)
    if finding["kind"] != "file_unreadable":
        return False
    last = {segment["run"]: segment for segment in camera.segments()}
    paths = [file_of(site.folder_of(camera), segment) for segment in last.values()]
    return site.record_root / finding["path"] in paths


def sums_that_differ(site: BreakableInstallation, camera: CameraUser) -> list[str]:
    """Return the days whose wanted seconds are not those with pictures and those of gaps."""
    days = site.accounts(camera)
    assert days, "no day was wanted"
    return [json.dumps(one.as_json()) for one in days if abs(one.unaccounted_s) > one.bound_s]


def check_accounts(site: BreakableInstallation, cameras: Sequence[CameraUser]) -> None:
    for camera in cameras:
        site.settle(camera)
    recorders = site.streaming.recorders(site.record_root)
    assert recorders == []
    for camera in cameras:
        found = [one for one in site.findings(camera) if not is_cut_off_picture(site, camera, one)]
        none("verify", found)
        none("sum", sums_that_differ(site, camera))
        none("file without a row", rows_and_files(camera, site.folder_of(camera)))
        none("loss unknown to the ledger", unexplained_losses(site, camera))
    tree = site.streaming.tree()
    site.streaming.process.send_signal(signal.SIGTERM)
    assert site.streaming.await_exit(STOPS_WITHIN_S) == 0
    await_gone(tree, within_s=1.0)
    assert working_in(site.record_root) == []
    assert (site.record_root / ".streamwarden" / "journal.jsonl").read_bytes() == b""
    for word in ("actor_restarted", "actor_abandoned", "actor_parked"):
        assert site.streaming.events(word) == []
