from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.actors.sound_plan import LONGEST_PAUSE_S, PAUSE_S, SoundPlan
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from streamwarden.model import Cause

COPY, AAC, LISTEN, NONE = SoundWay.COPY, SoundWay.AAC, SoundWay.LISTEN, SoundWay.NONE


def plan_of(sound: str | None) -> SoundPlan:
    plan = SoundPlan()
    plan.described(StreamTracks("H264", sound))
    return plan


@pytest.mark.parametrize(
    ("sound", "way"), [("MPEG4-GENERIC", COPY), ("OPUS", COPY), ("PCMA", LISTEN), (None, NONE)]
)
def test_a_first_run_never_waits_for_an_encoder(sound: str | None, way: SoundWay) -> None:
    assert plan_of(sound).way(0, beside=False) is way


def test_sound_that_is_encoded_joins_only_beside_a_run_that_heard_it() -> None:
    plan = plan_of("PCMA")
    assert plan.wait_s(LISTEN, 0) is None
    plan.judged(LISTEN, 1, flows=True)
    assert plan.wait_s(LISTEN, 1) == 0
    assert plan.way(1, beside=True) is AAC
    plan.judged(AAC, 3, flows=True)
    assert plan.wait_s(AAC, 3) is None
    # That run is lost: its successor stands alone and listens anew, whatever was heard before.
    assert plan.way(50, beside=False) is LISTEN
    assert plan.wait_s(LISTEN, 52) is None


def test_a_copied_track_that_is_silent_is_left_out_until_it_sounds() -> None:
    plan = plan_of("MPEG4-GENERIC")
    plan.judged(COPY, 2, flows=False)
    assert plan.wait_s(COPY, 2) == 0
    assert plan.way(2, beside=True) is LISTEN
    assert plan.way(3, beside=False) is LISTEN
    plan.judged(LISTEN, 100, flows=True)
    assert (plan.wait_s(LISTEN, 100), plan.way(100, beside=True)) == (0, COPY)


def test_an_attempt_that_fails_is_repeated_ever_more_rarely() -> None:
    plan, now, waits = plan_of("PCMA"), 0.0, []
    plan.judged(LISTEN, now, flows=True)
    for _ in range(9):
        assert plan.way(now, beside=True) is AAC
        plan.lost(AAC, Cause.TIMEOUT, now, recorded=False, beside=True)
        waits.append(wait_s := plan.wait_s(LISTEN, now) or 0.0)
        now += wait_s
    assert waits[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert waits[-1] == LONGEST_PAUSE_S


def test_a_microphone_that_comes_and_goes_causes_few_runs() -> None:
    """For a day it sounds for two seconds of every ten, which is over before its track is recorded."""
    plan, spawns = plan_of("MPEG4-GENERIC"), 0
    way = plan.way(0, beside=False)
    for now in range(0, 86_400, 10):
        plan.judged(way, now, flows=way is LISTEN)
        while plan.wait_s(way, now) == 0:
            way, spawns = plan.way(now, beside=True), spawns + 1
            plan.judged(way, now, flows=way is LISTEN and now % 20 == 0)
    assert spawns < 2 * (86_400 / LONGEST_PAUSE_S + 20)


def test_sound_that_was_recorded_for_long_is_tried_again_soon() -> None:
    plan = plan_of("MPEG4-GENERIC")
    for now in (0.0, 100.0, 300.0):
        plan.judged(COPY, now, flows=False)
    plan.judged(COPY, 1_000, flows=True)
    plan.judged(COPY, 9_000, flows=False)
    plan.judged(LISTEN, 9_001, flows=True)
    assert plan.wait_s(LISTEN, 9_001) == PAUSE_S - 1


def test_what_mp4_does_not_take_is_encoded_from_then_on() -> None:
    plan = plan_of("OPUS")
    plan.lost(COPY, Cause.UNSUPPORTED_MEDIA, 0, recorded=False, beside=False)
    assert plan.way(0, beside=False) is LISTEN
    plan.judged(LISTEN, 1, flows=True)
    assert plan.way(1, beside=True) is AAC


def test_a_crash_with_sound_is_followed_by_the_picture_alone() -> None:
    plan = plan_of("MPEG4-GENERIC")
    plan.judged(COPY, 0, flows=True)
    plan.lost(COPY, Cause.FFMPEG_CRASHED, 5, recorded=True, beside=False)
    assert plan.way(5, beside=False) is LISTEN
    plan.judged(LISTEN, 6, flows=True)
    assert plan.wait_s(LISTEN, 6) == PAUSE_S - 1


@pytest.mark.parametrize("cause", [Cause.SOURCE_OFFLINE, Cause.UNAUTHORIZED, Cause.DISK_FULL])
def test_a_loss_that_sound_cannot_have_caused_changes_nothing(cause: Cause) -> None:
    plan = plan_of("MPEG4-GENERIC")
    plan.lost(COPY, cause, 0, recorded=False, beside=False)
    assert plan.way(0, beside=False) is COPY


def test_a_stream_that_was_never_described_is_described_again() -> None:
    plan = SoundPlan()
    for now in range(5):  # a camera that is off: that says nothing of its sound
        plan.described(None)
        assert plan.way(now, beside=False) is NONE
    plan.recording(NONE, 5)
    assert plan.wait_s(NONE, 6) == PAUSE_S - 1
    plan.described(StreamTracks("H264", "PCMA"))
    assert plan.way(20, beside=True) is LISTEN


SUSPECTS = [Cause.TIMEOUT, Cause.FFMPEG_CRASHED, Cause.UNSUPPORTED_MEDIA]


@given(
    st.sampled_from(["MPEG4-GENERIC", "OPUS", "PCMA", "L16"]),
    st.lists(st.sampled_from(SUSPECTS), min_size=4, max_size=12),
)
def test_no_start_without_media_is_repeated_in_the_same_way(
    sound: str, causes: list[Cause]
) -> None:
    plan, ways = plan_of(sound), []
    for now, cause in enumerate(causes):
        way = plan.way(now, beside=False)
        ways.append(way)
        plan.lost(way, cause, now, recorded=False, beside=False)
    assert all(before is not after for before, after in pairwise(ways))
    assert AAC not in ways


def test_after_the_picture_alone_has_recorded_the_sound_is_listened_for_again() -> None:
    plan = plan_of("PCMA")
    plan.lost(LISTEN, Cause.TIMEOUT, 0, recorded=False, beside=False)
    assert plan.way(0, beside=False) is NONE
    wait_s = plan.wait_s(NONE, 1)
    assert wait_s == PAUSE_S - 1
    assert plan.way(PAUSE_S, beside=True) is LISTEN
    plan.recording(LISTEN, PAUSE_S)
    assert plan.way(PAUSE_S, beside=False) is LISTEN
