from __future__ import annotations

import pytest

from streamwarden.auth.access import GRANTS, Action, Decision, decide, is_admin
from streamwarden.auth.users import User

OWNER, STRANGER = User("owner"), User("stranger")
ADMIN = User("boss", frozenset({"admin"}))
ALLOWED, DENIED, HIDDEN = Decision.ALLOWED, Decision.DENIED, Decision.HIDDEN

TABLE = [
    # who, granted, then what each action gets: SEE CONTROL VIEW RECORDINGS PUBLISH ADMIN
    (ADMIN, (), (ALLOWED,) * 6),
    (OWNER, (), (*(ALLOWED,) * 5, DENIED)),
    (STRANGER, (), (HIDDEN,) * 6),
    (STRANGER, ("nonsense", "admin", "see", ""), (HIDDEN,) * 6),
    (STRANGER, ("control",), (ALLOWED, ALLOWED, DENIED, DENIED, DENIED, DENIED)),
    (STRANGER, ("view",), (ALLOWED, DENIED, ALLOWED, DENIED, DENIED, DENIED)),
    (STRANGER, ("recordings",), (ALLOWED, DENIED, DENIED, ALLOWED, DENIED, DENIED)),
    (STRANGER, ("publish",), (ALLOWED, DENIED, DENIED, DENIED, ALLOWED, DENIED)),
    (STRANGER, tuple(GRANTS), (*(ALLOWED,) * 5, DENIED)),
    (User("stranger", frozenset({"Admin", "administrator"})), (), (HIDDEN,) * 6),
    (User("Owner"), (), (HIDDEN,) * 6),
]


@pytest.mark.parametrize(("user", "granted", "expected"), TABLE)
def test_who_may_do_what_follows_the_table(
    user: User, granted: tuple[str, ...], expected: tuple[Decision, ...]
) -> None:
    got = [decide(user, "owner", granted=frozenset(granted), action=each) for each in Action]
    assert tuple(got) == expected


def test_every_grant_allows_an_action_and_none_makes_an_admin() -> None:
    assert set(GRANTS.values()) == set(Action) - {Action.SEE, Action.ADMIN}


def test_only_the_exact_role_is_an_admin() -> None:
    assert is_admin(ADMIN)
    assert not is_admin(User("u", frozenset({"ADMIN"})))
