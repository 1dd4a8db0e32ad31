from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.actors.spawning import AT_ONCE, DISK, Backoff, Losses, pause_s
from streamwarden.model import Cause

BACKOFF = Backoff(base_s=0.5, cap_s=30.0)
chances = st.floats(min_value=0, max_value=1)
ORDINARY = Cause.SOURCE_OFFLINE


@given(st.integers(min_value=1, max_value=10_000), chances)
def test_a_pause_is_between_half_of_its_length_and_all_of_it(losses: int, chance: float) -> None:
    longest = BACKOFF.pause_s(losses, lambda: 1.0)
    assert longest / 2 <= BACKOFF.pause_s(losses, lambda: chance) <= longest <= 30.0


def test_pauses_double_up_to_the_cap() -> None:
    pauses = [BACKOFF.pause_s(losses, lambda: 1.0) for losses in range(9)]
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_hundred_cameras_do_not_come_back_in_one_instant() -> None:
    chances_ = iter(number / 100 for number in range(100))
    pauses = sorted(BACKOFF.pause_s(20, lambda: next(chances_)) for _ in range(100))
    assert pauses[0] == 15.0
    assert pauses[-1] > 29.8
    assert max(later - sooner for sooner, later in pairwise(pauses)) < 0.2


def pauses_of(*lost: tuple[Cause, bool]) -> list[float]:
    losses, pauses = Losses(), []
    for cause, recorded in lost:
        losses = losses.add(cause, recorded=recorded)
        pauses.append(pause_s(cause, losses, backoff=BACKOFF, chance=lambda: 1.0))
    return pauses


def test_only_a_run_that_recorded_is_followed_at_once() -> None:
    assert pauses_of((ORDINARY, True), (ORDINARY, False), (ORDINARY, False)) == [0.0, 0.5, 1.0]
    assert pauses_of((ORDINARY, False), (ORDINARY, True)) == [0.5, 1.0]


def test_a_refused_token_is_tried_again_at_once_and_only_once() -> None:
    unauthorized = (Cause.UNAUTHORIZED, False)
    assert pauses_of(unauthorized, unauthorized, unauthorized) == [0.0, 1.0, 2.0]


def test_there_are_two_other_ways_with_the_audio() -> None:
    unsupported = (Cause.UNSUPPORTED_MEDIA, False)
    assert pauses_of(*[unsupported] * 4) == [0.0, 0.0, 2.0, 4.0]


@pytest.mark.parametrize("cause", sorted(DISK))
def test_the_disk_is_looked_at_every_two_seconds_however_often_it_refused(cause: Cause) -> None:
    assert set(pauses_of(*[(cause, False)] * 12)) == {2.0}


HURRIED = sorted(set(Cause) - {Cause.NO_KEY_FRAME})
"""Whatever may end a run at once; one that waits for a key frame has waited for it."""


@given(st.lists(st.sampled_from(HURRIED), min_size=10, max_size=40))
def test_whatever_takes_turns_comes_to_a_pause(causes: list[Cause]) -> None:
    pauses = pauses_of(*[(cause, False) for cause in causes])
    assert pauses.count(0.0) <= sum(AT_ONCE.values())


@given(st.lists(st.sampled_from(sorted(Cause)), max_size=60))
def test_what_is_remembered_of_losses_is_bounded(causes: list[Cause]) -> None:
    losses = Losses()
    for cause in causes:
        losses = losses.add(cause, recorded=False)
    assert len(losses.tried) <= sum(AT_ONCE.values()) + len(AT_ONCE)
