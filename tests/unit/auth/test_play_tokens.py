"""Play tokens: what is believed, and that nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from streamwarden.auth import jwts
from streamwarden.auth.keys import SigningKey
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.users import Unauthenticated
from streamwarden.model import TimeRange
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON, OTHER_KEY

CAMERA = UUID("01234567-89ab-cdef-0123-456789abcdef")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def tokens(clock: ManualClock) -> PlayTokens:
    return PlayTokens([SigningKey("k1", KEY.encode())], clock)


def _forged(clock: ManualClock, *, secret: str = KEY, kid: str = "k1", **changes: object) -> str:
    now_s = int(clock.now().timestamp())
    claims: dict[str, object] = {
        "aud": "play",
        "camera": str(CAMERA),
        "live": True,
        "sub": "alice",
        "iat": now_s,
        "exp": now_s + 60,
        "jti": "j",
        "from": 0,
        "to": 1_000,
    }
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwts.encode(kept, secret.encode(), kid=kid)


def test_what_is_signed_is_read_again(tokens: PlayTokens, clock: ManualClock) -> None:
    stretch = TimeRange(clock.now() - timedelta(hours=1), clock.now() + timedelta(milliseconds=7))
    signed = tokens.sign("alice", CAMERA, live=False, recorded=stretch, ttl_s=60)
    claims = tokens.verify(signed.token)
    assert (claims.camera_id, claims.sub, claims.live) == (CAMERA, "alice", False)
    assert (claims.recorded, claims.expires_at) == (stretch, signed.expires_at)
    assert signed.token not in repr(signed)


def test_the_forger_of_these_tests_forges_well(tokens: PlayTokens, clock: ManualClock) -> None:
    assert tokens.verify(_forged(clock)).camera_id == CAMERA


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "rtsp"},
        {"aud": None},
        {"secret": OTHER_KEY},
        {"kid": "k2"},
        {"exp": 1},
        {"exp": None},
        {"camera": "no camera"},
        {"camera": None},
        {"camera": 7},
        {"live": None},
        {"sub": None},
        {"sub": ""},
        {"jti": None},
        {"from": None},
        {"to": None},
        {"to": "1000"},
        {"to": True},
        {"to": 10**30},
    ],
)
def test_a_token_with_one_thing_wrong_is_refused(
    tokens: PlayTokens, clock: ManualClock, changes: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        tokens.verify(_forged(clock, **changes))  # type: ignore[arg-type]  # wrong on purpose


def test_live_is_true_or_nothing(tokens: PlayTokens, clock: ManualClock) -> None:
    assert not tokens.verify(_forged(clock, live="yes")).live


def test_a_token_ends_on_its_second(tokens: PlayTokens, clock: ManualClock) -> None:
    signed = tokens.sign("alice", uuid4(), live=True, recorded=None, ttl_s=30)
    clock.advance(29.9)
    assert tokens.verify(signed.token).recorded is None
    clock.advance(0.1)
    with pytest.raises(Unauthenticated):
        tokens.verify(signed.token)


def test_a_time_range_contains_what_is_inside_and_tells_what_overlaps(clock: ManualClock) -> None:
    now = clock.now()

    def ends(start: float, end: float) -> tuple[datetime, datetime]:
        return now + timedelta(seconds=start), now + timedelta(seconds=end)

    hour = TimeRange(*ends(0, 3_600))
    assert hour.contains(hour.from_, hour.to)
    assert not hour.contains(*ends(-1, 10))
    assert not hour.contains(*ends(10, 3_601))
    assert hour.overlaps(now - timedelta(seconds=10), now + timedelta(seconds=1))
    assert not hour.overlaps(now - timedelta(seconds=10), now)
    assert not hour.overlaps(now + timedelta(hours=1), now + timedelta(hours=2))
