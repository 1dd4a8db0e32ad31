from __future__ import annotations

import pytest

from streamwarden.recordings.camera_shares import Beyond, most_beyond


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ({}, None),
        ({"a": 10}, None),
        ({"a": 0, "b": 0}, None),
        ({"a": 100, "b": 100, "c": 100}, None),
        ({"a": 100, "b": 104}, None),
        ({"a": 100, "b": 300}, Beyond("b", 100)),
        ({"a": 10, "b": 300, "c": 290}, Beyond("b", 100)),
        ({"small": 1, "smaller": 0, "flood": 998}, Beyond("flood", 665)),
        ({"a": 1, "b": 0}, Beyond("a", 1)),
    ],
)
def test_the_camera_furthest_beyond_its_share_gives_down_to_it(
    taken: dict[str, int], expected: Beyond[str] | None
) -> None:
    assert most_beyond(taken) == expected


def test_only_what_is_beyond_the_share_goes() -> None:
    """A disk of 1,000: three cameras of 200, and one that floods it."""
    taken = {"a": 200, "b": 200, "c": 200, "flood": 0}
    for _ in range(2_000):
        taken["flood"] += 8
        for camera in "abc":
            taken[camera] += 1
        while (needed := sum(taken.values()) - 1_000) > 0:
            if (beyond := most_beyond(taken)) is not None:
                taken[beyond.camera] -= min(needed, beyond.excess)
            else:
                taken[max("abc", key=taken.__getitem__)] -= (
                    needed  # the oldest is not the flooder's
                )
        assert min(taken[camera] for camera in "abc") >= 200
    assert max(taken.values()) <= 1_000 / 4 * 1.1
