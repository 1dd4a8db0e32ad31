from __future__ import annotations

import threading

import pytest

from streamwarden.devkit.video_source import LoopedClip, RealCamera, TestPicture, source_from
from streamwarden.devkit.virtual_camera import RestartPauses, VirtualCamera
from streamwarden.errors import Unavailable


def test_pauses_double_up_to_their_cap() -> None:
    pauses = RestartPauses(first_s=0.5, most_s=5.0, jitter=lambda: 1.0)
    assert [pauses.pause_s(failures) for failures in (1, 2, 3, 4, 5, 500)] == [
        0.5,
        1.0,
        2.0,
        4.0,
        5.0,
        5.0,
    ]


def test_an_attempt_that_had_settled_starts_the_pauses_anew() -> None:
    pauses = RestartPauses(settled_s=3.0)
    assert pauses.failures_after(7, lasted_s=2.9) == 8
    assert pauses.failures_after(7, lasted_s=3.0) == 1


@pytest.mark.parametrize(("jitter", "pause_s"), [(0.0, 0.25), (0.5, 0.375), (1.0, 0.5)])
def test_jitter_takes_up_to_half_of_a_pause(jitter: float, pause_s: float) -> None:
    assert RestartPauses(first_s=0.5, jitter=lambda: jitter).pause_s(1) == pause_s


def test_a_refused_token_is_one_more_failed_attempt() -> None:
    asked = threading.Semaphore(0)

    def away() -> str:
        asked.release()
        raise Unavailable("the API is away")

    pauses = RestartPauses(first_s=0.01, most_s=0.01)
    with VirtualCamera("c", away, ffmpeg="/bin/false", pauses=pauses):
        assert all(asked.acquire(timeout=5) for _ in range(3))


def test_a_bug_in_the_callers_function_does_not_end_the_camera() -> None:
    asked = threading.Semaphore(0)

    def broken() -> str:
        asked.release()
        raise ZeroDivisionError

    pauses = RestartPauses(first_s=0.01, most_s=0.01)
    with VirtualCamera("c", broken, ffmpeg="/bin/false", pauses=pauses):
        assert all(asked.acquire(timeout=5) for _ in range(3))


def test_each_attempt_asks_for_a_new_url() -> None:
    urls: list[str] = []
    enough = threading.Event()

    def numbered() -> str:
        urls.append(f"rtsp://127.0.0.1:1/p?token={len(urls)}")
        if len(urls) >= 3:
            enough.set()
        return urls[-1]

    pauses = RestartPauses(first_s=0.01, most_s=0.01)
    with VirtualCamera("c", numbered, ffmpeg="/bin/false", pauses=pauses):
        assert enough.wait(5)
    assert len(set(urls)) == len(urls)


def test_stopping_before_starting_is_harmless() -> None:
    VirtualCamera("c", str, ffmpeg="/bin/false").stop()


def test_a_url_is_a_real_camera_and_anything_else_a_file() -> None:
    assert source_from("rtsp://user:pw@cam/1") == RealCamera("rtsp://user:pw@cam/1")
    assert isinstance(source_from("clip.mp4"), LoopedClip)


def test_a_real_cameras_password_is_in_no_repr() -> None:
    assert "pw" not in repr(source_from("rtsp://user:pw@cam/1"))


def test_a_bitrate_is_kept_constant_by_padding() -> None:
    arguments = TestPicture(bitrate_kbps=1000).arguments()
    assert "nal-hrd=cbr" in arguments
    assert "nal-hrd=cbr" not in TestPicture().arguments()
