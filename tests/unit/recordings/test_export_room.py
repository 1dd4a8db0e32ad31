"""The disk space of exports, and how users share it."""

from __future__ import annotations

import pytest

from streamwarden.recordings.export_room import ExportRoom

MB = 1_000_000


def room(*, free: int, held: int, reserve: int = 100 * MB) -> ExportRoom:
    return ExportRoom(free_bytes=free, reserve_bytes=reserve, held_bytes=held)


@pytest.mark.parametrize(
    ("free", "held", "total"),
    [
        (100 * MB, 0, 50 * MB),  # a disk at its reserve
        (60 * MB, 40 * MB, 50 * MB),
        (500 * MB, 0, 450 * MB),
        (30 * MB, 0, 0),  # somebody else's files took what is kept
    ],
)
def test_exports_take_half_of_the_reserve_and_what_is_free_beyond(
    free: int, held: int, total: int
) -> None:
    assert room(free=free, held=held).total_bytes == total


def test_no_user_leaves_the_next_one_nothing() -> None:
    at_reserve = room(free=100 * MB, held=0)
    taken = 0
    for _ in range(10):
        share = at_reserve.share_bytes(taken)
        assert share > 0
        taken += share
    assert taken < at_reserve.total_bytes


def test_only_the_share_of_the_reserve_is_spared() -> None:
    within, beyond = room(free=60 * MB, held=40 * MB), room(free=20 * MB, held=80 * MB)
    assert (within.spared_bytes, within.beyond_bytes) == (40 * MB, 0)
    assert (beyond.spared_bytes, beyond.beyond_bytes) == (50 * MB, 30 * MB)
