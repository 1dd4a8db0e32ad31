"""What the actors of the streaming role are given: the settings, and what the last server left."""

from __future__ import annotations

import os
import pwd
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.app.resources import Resources
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.sandbox import Sandbox, ability
from streamwarden.recordings.record_root import RecordRoot
from tests.fakes.manual_time import ManualClock
from tests.integration.app.opened_resources import open_for_a_test
from tests.integration.ffmpeg.recording_listener import RecordingListener, eventually
from tests.unit.mp4 import box_writer as boxes

CAMERA = UUID(int=1)
SILENCE_S = 2.0


def test_a_camera_learns_once_until_when_the_last_server_was_alive(tmp_path: Path) -> None:
    last = RecordRoot(tmp_path)
    last.take()
    last.heartbeat()
    died_at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    os.utime(last.state / "alive", times=(died_at.timestamp(),) * 2)
    last.release()
    with ExitStack() as closing:
        files = open_for_a_test(tmp_path, closing, clock=Clock()).files.camera(CAMERA, "alice")
        assert [files.open(()).alive_until for _ in range(2)] == [died_at, None]


def test_the_account_of_ffmpeg_owns_the_folder_that_it_writes_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start FFmpeg under another account")
    with ExitStack() as closing:
        made = open_for_a_test(tmp_path, closing, clock=Clock(), ffmpeg_user="nobody")
        made.files.camera(CAMERA, "alice").open(())
    (folder,) = tmp_path.glob(f"*/{CAMERA}/.live")
    assert folder.stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert folder.parent.stat().st_uid == os.geteuid()


def silent_ffmpeg(folder: Path) -> Path:
    """A program that writes one fragment and falls silent."""
    media = folder / "media"
    media.write_bytes(boxes.header() + boxes.timed_fragment(0, [1000]))
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\ncp '{media}' r1-000000.mp4\nexec sleep 600\n")
    program.chmod(0o755)
    return program


def silent(made: Resources, clock: ManualClock) -> float:
    """Return after how many seconds of silence a run is stalled."""
    listener = RecordingListener()
    folder, _ = made.files.camera(CAMERA, "alice").next_run()
    runs = made.watcher.adopt(CAMERA, listener)
    runs.spawn(
        RunOrder(
            run=1, url="rtsp://none", segment_seconds=60, folder=folder, audio="copy", probe_s=1.0
        )
    )

    def after_a_moment(event: str) -> bool:
        clock.advance(0.02)
        return event in listener.names()

    assert eventually(lambda: after_a_moment("recording"))
    silent_since_s = clock.monotonic()
    assert eventually(lambda: after_a_moment("stalled"))
    return clock.monotonic() - silent_since_s


def test_a_run_is_stalled_after_the_set_time_of_silence(tmp_path: Path) -> None:
    clock = ManualClock()
    program = silent_ffmpeg(tmp_path)
    with ExitStack() as closing:
        made = open_for_a_test(
            tmp_path / "records", closing, clock=clock, ffmpeg=program, stall_after=SILENCE_S
        )
        assert silent(made, clock) < Settings().stall_after - 1


@pytest.mark.skipif(not ability().confines, reason="this kernel cannot confine a program")
def test_a_recorders_ffmpeg_is_started_in_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("private")
    program = tmp_path / "ffmpeg"
    looks = f"cat '{tmp_path}/key' /proc/{os.getpid()}/environ >>found 2>/dev/null"
    program.write_text(f"#!/bin/sh\n{looks}\necho >looked\nexec sleep 600\n")
    program.chmod(0o755)
    with ExitStack() as closing:
        made = open_for_a_test(
            tmp_path / "records",
            closing,
            clock=Clock(),
            sandbox=Sandbox(required=True),
            ffmpeg=program,
        )
        folder, _ = made.files.camera(CAMERA, "alice").next_run()
        made.watcher.adopt(CAMERA, RecordingListener()).spawn(
            RunOrder(
                run=1,
                url="rtsp://a/b",
                segment_seconds=60,
                folder=folder,
                audio="copy",
                probe_s=1.0,
            )
        )
        assert eventually((folder / "looked").exists)
        assert (folder / "found").read_bytes() == b""
