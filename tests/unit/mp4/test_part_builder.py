"""What of an open file is shown as one part."""

from __future__ import annotations

import pytest

from streamwarden.mp4.fragments import Fragment, PartBuilder


def _fragments(described: str) -> list[Fragment]:
    """``K1000 n500``: a fragment of 1 s that begins with a key frame, then half a second without."""
    found, at = [], 0
    for word in described.split():
        found.append(Fragment(at, at + 10, int(word[1:]), word[0] == "K"))
        at += 10
    return found


def _lengths(described: str, *, gop_ms: int = 0, finish: bool = False) -> list[int]:
    grouping = PartBuilder(gop_ms)
    groups = list(grouping.feed(_fragments(described)))
    if finish:
        groups += grouping.finish()
    assert [one.start for one in groups[1:]] == [one.end for one in groups[:-1]]
    return [one.media_ms for one in groups]


@pytest.mark.parametrize(
    ("described", "lengths"),
    [
        ("K1000 K1000 K1000", [1000, 1000, 1000]),
        ("K1000", []),
        ("K1000 n1000 K1000 n1000 K1000", [2000, 2000]),
        ("K400 K400 K400 K400 K400 K400", [1200, 1200]),
        (" ".join(["K1000", *["n1000"] * 9] * 2), [10_000, 10_000]),
        ("K1000 K960 n40 K1000", [1000, 1000, 1000]),
    ],
)
def test_a_part_lasts_from_key_frame_to_key_frame(described: str, lengths: list[int]) -> None:
    assert _lengths(described) == lengths


def test_what_was_learned_of_a_camera_ends_a_part_at_once() -> None:
    assert _lengths("K1000", gop_ms=1000) == [1000]


def test_a_longer_distance_between_key_frames_is_learned_without_a_hole() -> None:
    assert _lengths("K1000 n1000 K1000 n1000 K1000 n1000", gop_ms=1000) == [1000, 1000, 2000, 2000]


def test_what_is_left_of_a_finished_file_is_shown() -> None:
    assert _lengths("K1000 n300", gop_ms=5000, finish=True) == [1300]


def test_sound_alone_at_the_end_makes_no_part() -> None:
    assert _lengths("K1000 n0", gop_ms=1000, finish=True) == [1000]
