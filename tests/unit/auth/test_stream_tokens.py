from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.keys import SigningKey, parse_keys
from streamwarden.auth.stream_tokens import (
    Refusal,
    StreamAction,
    StreamTokenRefused,
    StreamTokens,
    StreamUse,
    stated_claims,
)
from streamwarden.errors import ConfigError, InvalidInput, Unavailable
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON, OTHER_KEY, SECRET

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
NOW_S = int(ManualClock(NOON).now().timestamp())
READ, PUBLISH = StreamAction.READ, StreamAction.PUBLISH


def ring(keys: str = f"k1:{KEY}", clock: ManualClock | None = None) -> StreamTokens:
    return StreamTokens(parse_keys(keys), clock or ManualClock(NOON))


def refusal(
    tokens: StreamTokens, token: str, *, path: str = "p", action: StreamAction = READ
) -> Refusal:
    with pytest.raises(StreamTokenRefused) as refused:
        tokens.verify(token, path=path, action=action)
    return refused.value.reason


def signed(claims: dict[str, Any], *, key: str = KEY, kid: str | None = "k1") -> str:
    whole = {
        "aud": "rtsp",
        "action": "read",
        "use": "view",
        "path": "p",
        "sub": "u1",
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "jti": "j1",
    } | claims
    whole = {name: value for name, value in whole.items() if value != "absent"}
    return jwt.encode(whole, key, "HS256", headers={"kid": kid} if kid else None)


def test_each_use_signs_its_claims_of_the_contract() -> None:
    tokens = ring()
    record = tokens.verify(tokens.sign_record(CAMERA, "p", ttl_s=60).token, path="p", action=READ)
    view = tokens.verify(tokens.sign_view("u1", "p", ttl_s=60).token, path="p", action=READ)
    push = tokens.verify(tokens.sign_publish("u1", "p", ttl_s=60).token, path="p", action=PUBLISH)
    assert (record.use, record.sub) == (StreamUse.RECORD, f"recorder:{CAMERA}")
    assert (view.use, view.sub) == (StreamUse.VIEW, "u1")
    assert (push.use, push.sub) == (StreamUse.PUBLISH, "u1")


def test_a_token_on_the_wire_has_the_claims_of_the_contract_and_when_it_was_asked_for() -> None:
    token = ring().sign_view("u1", "a/b", ttl_s=60)
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert claims.pop("asked_at") == NOW_S
    assert claims == {
        "aud": "rtsp",
        "action": "read",
        "use": "view",
        "path": "a/b",
        "sub": "u1",
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "jti": token.jti,
    }
    assert jwt.get_unverified_header(token.token) == {"alg": "HS256", "kid": "k1", "typ": "JWT"}


def test_a_token_is_good_any_number_of_times() -> None:
    tokens = ring()
    token = tokens.sign_record(CAMERA, "p", ttl_s=60).token
    first = tokens.verify(token, path="p", action=READ)
    assert tokens.verify(token, path="p", action=READ) == first


def test_a_token_ends_at_the_very_second_that_it_names() -> None:
    clock = ManualClock(NOON)
    tokens = ring(clock=clock)
    token = tokens.sign_view("u1", "p", ttl_s=30)
    clock.wall = token.expires_at - timedelta(milliseconds=1)
    tokens.verify(token.token, path="p", action=READ)
    clock.wall = token.expires_at
    assert refusal(tokens, token.token) is Refusal.EXPIRED


@pytest.mark.parametrize("path", ["q", "p/", "/p", "P", "p/p", "", "p\n"])
def test_a_token_for_another_path_is_refused(path: str) -> None:
    tokens = ring()
    assert (
        refusal(tokens, tokens.sign_view("u1", "p", ttl_s=60).token, path=path)
        is Refusal.WRONG_PATH
    )


def test_a_read_token_does_not_publish_and_a_publish_token_does_not_read() -> None:
    tokens = ring()
    read = tokens.sign_view("u1", "p", ttl_s=60).token
    push = tokens.sign_publish("u1", "p", ttl_s=60).token
    assert refusal(tokens, read, action=PUBLISH) is Refusal.WRONG_ACTION
    assert refusal(tokens, push, action=READ) is Refusal.WRONG_ACTION


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "streamwarden"}, Refusal.WRONG_AUDIENCE),
        ({"aud": "absent"}, Refusal.BAD_CLAIMS),
        ({"exp": "absent"}, Refusal.BAD_CLAIMS),
        ({"exp": NOW_S - 1}, Refusal.EXPIRED),
        ({"sub": "absent"}, Refusal.BAD_CLAIMS),
        ({"jti": "absent"}, Refusal.BAD_CLAIMS),
        ({"iat": "absent"}, Refusal.BAD_CLAIMS),
        ({"use": "absent"}, Refusal.BAD_CLAIMS),
        ({"use": "publish"}, Refusal.BAD_CLAIMS),
        ({"use": ["view"]}, Refusal.BAD_CLAIMS),
        ({"action": "all"}, Refusal.BAD_CLAIMS),
        ({"path": ["p"]}, Refusal.BAD_CLAIMS),
        ({"path": "../p"}, Refusal.BAD_CLAIMS),
        ({"nbf": NOW_S + 1}, Refusal.NOT_YET_VALID),
    ],
)
def test_a_token_whose_claims_do_not_fit_is_refused(
    claims: dict[str, Any], reason: Refusal
) -> None:
    assert refusal(ring(), signed(claims)) is reason


def test_a_well_signed_token_of_these_tests_is_believed() -> None:
    assert ring().verify(signed({}), path="p", action=READ).jti == "j1"


@pytest.mark.parametrize("kid", [None, "k2", ""])
def test_a_token_of_an_unknown_key_is_refused(kid: str | None) -> None:
    assert refusal(ring(), signed({}, kid=kid)) is Refusal.UNKNOWN_KEY


def test_a_token_signed_with_the_users_secret_is_refused() -> None:
    assert refusal(ring(), signed({}, key=SECRET)) is Refusal.BAD_SIGNATURE


def test_a_key_does_not_vouch_for_another_keys_id() -> None:
    both = ring(f"k1:{KEY},k2:{OTHER_KEY}")
    assert refusal(both, signed({}, key=OTHER_KEY, kid="k1")) is Refusal.BAD_SIGNATURE


@given(st.text(st.characters(), max_size=300))
def test_any_text_is_refused(text: str) -> None:
    assert refusal(ring(), text) in {Refusal.MALFORMED, Refusal.UNKNOWN_KEY}


@given(st.integers(0, 600), st.data())
def test_a_token_with_one_character_changed_is_refused(place: int, data: st.DataObject) -> None:
    tokens = ring()
    token = signed({})
    place %= len(token)
    other = data.draw(st.sampled_from("ABCabc019-_.=").filter(lambda c: c != token[place]))
    with pytest.raises(StreamTokenRefused):
        tokens.verify(token[:place] + other + token[place + 1 :], path="p", action=READ)


@given(
    user=st.text(st.characters(), max_size=300),
    path=st.from_regex(r"[A-Za-z0-9_-]{1,8}(/[A-Za-z0-9_-]{1,8}){0,3}", fullmatch=True),
    ttl_s=st.integers(1, 31_536_000),
)
def test_what_is_signed_is_what_is_read(user: str, path: str, ttl_s: int) -> None:
    tokens = ring()
    try:
        token = tokens.sign_view(user, path, ttl_s=ttl_s)
    except InvalidInput:
        assert not 0 < len(user) <= 255 or not user.isprintable()
        return
    claims = tokens.verify(token.token, path=path, action=READ)
    assert (claims.sub, claims.path, claims.expires_at) == (user, path, token.expires_at)


@pytest.mark.parametrize(
    "path", ["", "/p", "p/", "a b", "a?b", "..", "a/../b", "p\n", "a%2Fb", "é"]
)
def test_no_token_is_signed_for_what_is_no_path(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ring().sign_view("u1", path, ttl_s=60)
    assert refused.value.field == "path"


def test_the_token_is_not_in_the_repr() -> None:
    token = ring().sign_view("u1", "p", ttl_s=60)
    assert token.token not in repr(token)
    assert KEY not in repr(parse_keys(f"k1:{KEY}"))


def test_the_first_key_signs_and_the_others_still_verify() -> None:
    old = ring(f"k1:{KEY}").sign_view("u1", "p", ttl_s=60).token
    rotated = ring(f"k2:{OTHER_KEY},k1:{KEY}")
    fresh = rotated.sign_view("u1", "p", ttl_s=60).token
    assert rotated.verify(old, path="p", action=READ).kid == "k1"
    assert rotated.verify(fresh, path="p", action=READ).kid == "k2"


def test_a_key_counts_through_its_last_day_and_no_longer() -> None:
    clock = ManualClock(datetime(2026, 11, 1, 23, 59, 59, tzinfo=UTC))
    tokens = ring(f"k1:{KEY}@2026-11-01,k2:{OTHER_KEY}", clock)
    token = signed({"exp": NOW_S + 86_400})
    tokens.verify(token, path="p", action=READ)
    clock.advance(1)
    assert refusal(tokens, token) is Refusal.KEY_EXPIRED


def test_a_key_that_would_not_outlive_the_token_leaves_it_to_one_that_does() -> None:
    tokens = ring(f"k1:{KEY}@2026-11-01,k2:{OTHER_KEY}")
    assert tokens.sign_view("u1", "p", ttl_s=60).token.split(".")[0] != ""
    day = tokens.sign_publish("u1", "p", ttl_s=86_400)
    assert tokens.verify(day.token, path="p", action=PUBLISH).kid == "k2"
    minute = tokens.sign_publish("u1", "p", ttl_s=60)
    assert tokens.verify(minute.token, path="p", action=PUBLISH).kid == "k1"


def test_a_token_never_claims_to_outlive_the_last_key() -> None:
    token = ring(f"k1:{KEY}@2026-11-01").sign_publish("u1", "p", ttl_s=31_536_000)
    assert token.expires_at == datetime(2026, 11, 2, tzinfo=UTC)


def test_nothing_is_signed_once_the_last_key_has_ended() -> None:
    clock = ManualClock(NOON)
    tokens = ring(f"k1:{KEY}@2026-11-01", clock)
    clock.advance(86_400)
    with pytest.raises(Unavailable):
        tokens.sign_view("u1", "p", ttl_s=60)


def test_a_start_without_a_valid_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="STREAM_TOKEN_KEYS"):
        ring(f"k1:{KEY}@2026-10-31")


def test_the_ends_of_the_keys_can_be_metered() -> None:
    tokens = ring(f"k1:{KEY}@2026-12-31,k2:{OTHER_KEY}")
    assert tokens.key_expiries() == {"k1": datetime(2027, 1, 1, tzinfo=UTC), "k2": None}


def test_a_bare_secret_gets_a_key_id_that_does_not_depend_on_its_place() -> None:
    (alone,) = parse_keys(KEY)
    assert parse_keys(f"k2:{OTHER_KEY}, {KEY}")[1] == alone
    assert re.fullmatch("[0-9a-f]{12}", alone.kid)
    assert alone.secret == KEY.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "k1:short",
        f"k1:{KEY}@2026-13-01",
        f"k1:{KEY}@9999-12-31",
        f"k1:{KEY}@tomorrow",
        f"k 1:{KEY}",
        f"k1:{KEY} {KEY}",
        f"k1:{KEY},k1:{OTHER_KEY}",
        f"k1:{KEY},k2:{KEY}",
        ",".join(f"k{n}:{KEY}{n}" for n in range(17)),
    ],
)
def test_unreadable_keys_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_keys(text)
    assert "STREAM_TOKEN_KEYS" in str(refused.value)
    assert KEY not in str(refused.value)
    assert "short" not in str(refused.value)


def test_a_token_is_recalled_by_a_key_past_its_day_and_stated_by_no_key_at_all() -> None:
    clock = ManualClock(NOON)
    token = StreamTokens(parse_keys(f"k1:{KEY}"), clock).sign_view("bob", "yard", ttl_s=60).token
    dated = StreamTokens(parse_keys(f"k2:{OTHER_KEY},k1:{KEY}@2020-01-01"), clock)
    with pytest.raises(StreamTokenRefused):
        dated.verify(token, path="yard", action=StreamAction.READ)
    recalled = dated.recall(token)
    assert recalled is not None
    assert (recalled.sub, recalled.path) == ("bob", "yard")
    assert StreamTokens(parse_keys(f"k2:{OTHER_KEY}"), clock).recall(token) is None
    assert stated_claims(token) == recalled


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
def test_any_text_states_nothing(text: str) -> None:
    assert stated_claims(text) is None


@pytest.mark.parametrize(
    "claim",
    [
        {"aud": "users"}, {"aud": None}, {"sub": ""}, {"sub": 7}, {"exp": 10**4_000}, {"exp": "1"},
        {"asked_at": True}, {"iat": None, "asked_at": None}, {"path": "a b"}, {"use": "publish"},
    ],
    ids=lambda claim: str(claim)[:40],
)  # fmt: skip
def test_what_states_another_kind_of_token_states_nothing(claim: dict[str, Any]) -> None:
    whole = {"aud": "rtsp", "sub": "bob", "use": "view", "action": "read", "path": "yard",
             "iat": NOW_S, "exp": NOW_S + 60, "jti": "x"}  # fmt: skip
    assert stated_claims(jwt.encode(whole, KEY, headers={"kid": "k1"})) is not None
    assert stated_claims(jwt.encode(whole | claim, KEY, headers={"kid": "k1"})) is None


KIDS = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
SECRETS = st.from_regex(r"[A-Za-z0-9+/=_.~-]{32,64}", fullmatch=True)
DAYS = st.none() | st.dates(datetime(1970, 1, 2).date(), datetime(9999, 12, 30).date())  # noqa: DTZ001 - only the day


@given(
    st.lists(
        st.tuples(KIDS, SECRETS, DAYS),
        min_size=1,
        max_size=5,
        unique_by=(lambda k: k[0], lambda k: k[1]),
    )
)
def test_keys_that_are_written_are_the_keys_that_are_read(keys: list[tuple[str, str, Any]]) -> None:
    text = ",".join(f"{kid}:{secret}" + (f"@{day}" if day else "") for kid, secret, day in keys)
    expected = tuple(
        SigningKey(
            kid,
            secret.encode(),
            day and datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1),
        )
        for kid, secret, day in keys
    )
    assert parse_keys(text) == expected
