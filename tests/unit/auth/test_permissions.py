from __future__ import annotations

import timeit
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from streamwarden.auth.permissions import GRANTS, CameraAction, Decision, decide, is_admin
from streamwarden.auth.users import User
from streamwarden.model import Camera, Grant, TimeRange

OWNER, STRANGER = User("owner"), User("stranger")
ADMIN = User("boss", frozenset({"admin"}))
YES, NO, HID, OFF = Decision.ALLOWED, Decision.DENIED, Decision.HIDDEN, Decision.INACTIVE
NINE = datetime(2026, 5, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_camera(status: str = "active") -> Camera:
    return Camera(
        id=UUID(int=1), name="Door", path="door", owner="owner", status=status, created_at=NINE
    )


def granted_action(
    action: str, from_: datetime | None = None, until: datetime | None = None
) -> Grant:
    return Grant(user_sub="stranger", action=action, from_=from_, until=until)


ACTIONS = (
    CameraAction.SEE,
    CameraAction.CONTROL,
    CameraAction.CONNECT,
    CameraAction.VIEW,
    CameraAction.RECORDINGS,
    CameraAction.PUBLISH,
    CameraAction.WITHDRAW_LINKS,
    CameraAction.SHARE,
    CameraAction.ADMIN,
)

TABLE = [
    # who, granted, then for each of ACTIONS: while the camera is active, while it is inactive
    (ADMIN, (), (YES,) * 9, (YES, YES, OFF, OFF, YES, OFF, YES, YES, YES)),
    (OWNER, (), (*(YES,) * 8, NO), (YES, YES, OFF, OFF, YES, OFF, YES, YES, NO)),
    (STRANGER, (), (HID,) * 9, (HID,) * 9),
    (STRANGER, ("nonsense", "admin", "see", "connect", ""), (HID,) * 9, (HID,) * 9),
    (
        STRANGER,
        ("control",),
        (YES, YES, YES, NO, NO, NO, NO, NO, NO),
        (YES, YES, OFF, NO, NO, NO, NO, NO, NO),
    ),
    (
        STRANGER,
        ("view",),
        (YES, NO, NO, YES, NO, NO, NO, NO, NO),
        (YES, NO, NO, OFF, NO, NO, NO, NO, NO),
    ),
    (
        STRANGER,
        ("recordings",),
        (YES, NO, NO, NO, YES, NO, NO, NO, NO),
        (YES, NO, NO, NO, YES, NO, NO, NO, NO),
    ),
    (
        STRANGER,
        ("publish",),
        (YES, NO, NO, NO, NO, YES, NO, NO, NO),
        (YES, NO, NO, NO, NO, OFF, NO, NO, NO),
    ),
    (
        STRANGER,
        tuple(GRANTS),
        (*(YES,) * 6, NO, NO, NO),
        (YES, YES, OFF, OFF, YES, OFF, NO, NO, NO),
    ),
    (User("stranger", frozenset({"Admin", "administrator"})), (), (HID,) * 9, (HID,) * 9),
    (User("Owner"), (), (HID,) * 9, (HID,) * 9),
]


@pytest.mark.parametrize(("user", "granted", "active", "inactive"), TABLE)
def test_who_may_do_what_follows_the_table(
    user: User,
    granted: tuple[str, ...],
    active: tuple[Decision, ...],
    inactive: tuple[Decision, ...],
) -> None:
    given = [granted_action(name) for name in granted]
    for status, expected in (("active", active), ("inactive", inactive), ("odd", inactive)):
        camera = a_camera(status)
        got = [decide(user, camera, granted=given, action=each).decision for each in ACTIONS]
        assert tuple(got) == expected, status


def test_the_table_has_every_action() -> None:
    assert set(ACTIONS) == set(CameraAction)


def test_no_grant_makes_an_admin_or_lets_its_holder_share() -> None:
    allowed = {action for actions in GRANTS.values() for action in actions}
    assert not allowed & {CameraAction.ADMIN, CameraAction.SHARE}


def test_only_the_exact_role_is_an_admin() -> None:
    assert is_admin(ADMIN)
    assert not is_admin(User("u", frozenset({"ADMIN"})))


def test_a_window_limits_the_recordings_of_who_has_it_and_of_nobody_else() -> None:
    given = [granted_action("recordings", NINE, NINE + HOUR), granted_action("view")]

    def window(user: User, action: CameraAction = CameraAction.RECORDINGS) -> TimeRange | None:
        return decide(user, a_camera(), granted=given, action=action).window

    assert window(STRANGER) == TimeRange(NINE, NINE + HOUR)
    assert window(OWNER) is None
    assert window(ADMIN) is None
    assert window(STRANGER, CameraAction.VIEW) is None
    assert decide(
        STRANGER, a_camera(), granted=[granted_action("recordings")], action=CameraAction.RECORDINGS
    ) == (decide(OWNER, a_camera(), granted=[], action=CameraAction.RECORDINGS))


@pytest.mark.parametrize(
    ("from_", "until", "inside", "outside"),
    [
        (NINE, None, NINE + 100 * HOUR, NINE - HOUR),
        (None, NINE, NINE - 100 * HOUR, NINE),
        (NINE, NINE + HOUR, NINE, NINE + HOUR),
    ],
)
def test_a_window_may_be_open_at_an_end(
    from_: datetime | None, until: datetime | None, inside: datetime, outside: datetime
) -> None:
    given = [granted_action("recordings", from_, until)]
    window = decide(STRANGER, a_camera(), granted=given, action=CameraAction.RECORDINGS).window
    assert window is not None
    minute = timedelta(minutes=1)
    assert window.contains(inside, inside + minute)
    assert not window.contains(outside, outside + minute)


def test_what_was_recorded_for_a_former_owner_is_for_administrators_alone() -> None:
    camera = replace(a_camera(), owned_since=NINE)

    def window(
        user: User, from_: datetime | None = None, until: datetime | None = None
    ) -> TimeRange | None:
        given = [granted_action("recordings", from_, until)]
        return decide(user, camera, granted=given, action=CameraAction.RECORDINGS).window

    assert window(ADMIN) is None
    for mine in (window(OWNER), window(STRANGER), window(STRANGER, NINE - HOUR)):
        assert mine is not None
        assert mine.contains(NINE, NINE + 1000 * HOUR)
        assert not mine.contains(NINE - timedelta(seconds=1), NINE + HOUR)
    assert window(STRANGER, NINE - HOUR, NINE + HOUR) == TimeRange(NINE, NINE + HOUR)
    assert window(STRANGER, NINE + HOUR, None) != window(STRANGER)
    ended = window(STRANGER, NINE - 2 * HOUR, NINE - HOUR)
    assert ended is not None
    assert not ended.contains(NINE - 2 * HOUR, NINE - HOUR)
    assert ended.clip(TimeRange(NINE - 9 * HOUR, NINE + 9 * HOUR)) is None


def test_a_window_shows_what_lies_wholly_within_it() -> None:
    window = TimeRange(NINE, NINE + HOUR)
    second = timedelta(seconds=1)
    assert window.contains(NINE, NINE + HOUR)
    assert not window.contains(NINE - second, NINE + second)
    assert not window.contains(NINE + HOUR - second, NINE + HOUR + second)
    assert window.clip(TimeRange(NINE - HOUR, NINE + second)) == TimeRange(NINE, NINE + second)
    assert window.clip(TimeRange(NINE - HOUR, NINE)) is None


def test_a_decision_takes_microseconds() -> None:
    given = [granted_action(name) for name in GRANTS]
    loops = 2_000
    took_s = min(
        timeit.repeat(
            lambda: decide(STRANGER, a_camera(), granted=given, action=CameraAction.RECORDINGS),
            number=loops,
            repeat=5,
        )
    )
    # Measured: 3 microseconds. The bound of issue 5 is 50, for which a slow machine is no excuse.
    assert took_s / loops < 50e-6
