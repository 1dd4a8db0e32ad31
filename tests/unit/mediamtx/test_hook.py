from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.stream_tokens import Refusal, StreamTokens
from streamwarden.mediamtx.control_secret import ControlSecrets, control_secret
from streamwarden.mediamtx.hook import HookDecision, HookOutcome, check
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
TOKENS = StreamTokens(parse_keys(f"k1:{KEY}"), ManualClock(NOON))
RECORD = TOKENS.sign_record(CAMERA, "cam/1", ttl_s=60).token
VIEW = TOKENS.sign_view("u1", "cam/1", ttl_s=60).token
PUBLISH = TOKENS.sign_publish("u1", "cam/1", ttl_s=60).token
ELSEWHERE = TOKENS.sign_view("u1", "cam/2", ttl_s=60).token


def body(**fields: object) -> dict[str, object]:
    """Write what MediaMTX 1.20.1 sends, with the fields that the test is about."""
    whole: dict[str, object] = {
        "ip": "127.0.0.1",
        "user": "",
        "password": "",
        "token": "",
        "action": "read",
        "path": "cam/1",
        "protocol": "rtsp",
        "id": None,
        "query": "",
        "userAgent": "",
    }
    return whole | fields


def outcome(**fields: object) -> HookOutcome:
    decision = check(TOKENS, body(**fields))
    assert decision.allowed is (decision.outcome is HookOutcome.ALLOWED)
    assert (decision.claims is not None) is decision.allowed
    return decision.outcome


@pytest.mark.parametrize("protocol", ["rtsp", "rtsps", "webrtc", "hls"])
@pytest.mark.parametrize("token", [RECORD, VIEW])
def test_a_read_token_reads_over_each_protocol(protocol: str, token: str) -> None:
    assert outcome(protocol=protocol, token=token) is HookOutcome.ALLOWED


@pytest.mark.parametrize("protocol", ["rtsp", "rtsps", "webrtc"])
def test_a_publish_token_publishes(protocol: str) -> None:
    assert outcome(action="publish", protocol=protocol, token=PUBLISH) is HookOutcome.ALLOWED


@pytest.mark.parametrize(
    "fields",
    [
        {"token": VIEW},
        {"password": VIEW},
        {"user": "anyone", "password": VIEW},
        {"query": f"token={VIEW}"},
        {"query": f"a=b&token={VIEW}&c"},
        {"token": VIEW, "query": f"token={VIEW}"},
    ],
)
def test_a_token_is_found_where_mediamtx_puts_it(fields: dict[str, object]) -> None:
    assert outcome(**fields) is HookOutcome.ALLOWED


@pytest.mark.parametrize(
    "query", [f"token={VIEW}&token={VIEW}", f"token=&token={VIEW}", f"token={VIEW}&%74oken=x"]
)
@pytest.mark.parametrize("fields", [{}, {"token": VIEW}])
def test_a_query_that_names_the_token_twice_is_refused(
    query: str, fields: dict[str, object]
) -> None:
    assert outcome(query=query, **fields) is HookOutcome.AMBIGUOUS_TOKEN


@pytest.mark.parametrize("shown", ["token", "password"])
def test_another_token_in_the_query_than_the_one_that_lets_in_is_refused(shown: str) -> None:
    other = TOKENS.sign_view("bob", "alice/other", ttl_s=60).token
    both = {"token": VIEW, "password": VIEW} if shown == "password" else {"token": VIEW}
    assert outcome(query=f"token={VIEW}", **both) is HookOutcome.ALLOWED
    assert outcome(query=f"token={other}", **both) is HookOutcome.AMBIGUOUS_TOKEN
    assert outcome(token=VIEW, password=other) is HookOutcome.AMBIGUOUS_TOKEN


@pytest.mark.parametrize("query", ["", "a=b", "token=", "jwt=" + VIEW])
@pytest.mark.parametrize("user", ["", "anyone"])
def test_a_call_without_a_token_is_refused_as_the_first_of_two(query: str, user: str) -> None:
    assert outcome(query=query, user=user) is HookOutcome.NO_CREDENTIALS


def test_describe_and_setup_both_pass_with_one_token() -> None:
    describe = body(token=RECORD, id="connection", userAgent="")
    setup = body(token=RECORD, id="session", userAgent="Lavf")
    assert check(TOKENS, describe).allowed
    assert check(TOKENS, setup).allowed


@pytest.mark.parametrize("path", ["/cam/1", "cam/1/", "cam", "cam/10", "CAM/1", "", None, 7])
def test_another_path_is_refused(path: object) -> None:
    assert outcome(token=VIEW, path=path) is HookOutcome.WRONG_PATH


def test_a_token_of_another_camera_is_refused() -> None:
    assert outcome(token=ELSEWHERE) is HookOutcome.WRONG_PATH


def test_reading_is_no_publishing() -> None:
    assert outcome(action="publish", token=VIEW) is HookOutcome.WRONG_ACTION
    assert outcome(action="publish", token=RECORD) is HookOutcome.WRONG_ACTION
    assert outcome(action="read", token=PUBLISH) is HookOutcome.WRONG_ACTION


@pytest.mark.parametrize("protocol", ["rtmp", "srt", "moq", "", "RTSP", None, ["rtsp"]])
def test_other_protocols_are_refused(protocol: object) -> None:
    assert outcome(token=VIEW, protocol=protocol) is HookOutcome.PROTOCOL_DENIED
    assert (
        outcome(action="publish", token=PUBLISH, protocol=protocol) is HookOutcome.PROTOCOL_DENIED
    )


def test_nothing_publishes_over_hls() -> None:
    assert outcome(action="publish", protocol="hls", token=PUBLISH) is HookOutcome.PROTOCOL_DENIED


@pytest.mark.parametrize("action", ["playback", "api", "metrics", "pprof"])
def test_no_token_opens_mediamtx_itself(action: str) -> None:
    decision = check(TOKENS, body(action=action, token=VIEW, protocol=""))
    why = HookOutcome.ACTION_DENIED if action == "playback" else HookOutcome.WRONG_SECRET
    assert decision == HookDecision(allowed=False, action=action, outcome=why)


@pytest.mark.parametrize("action", ["", "READ", "write", None, 1, ["read"], {"read": 1}])
def test_an_unknown_action_is_refused_under_one_label(action: object) -> None:
    decision = check(TOKENS, body(action=action, token=VIEW))
    assert (decision.action, decision.outcome) == ("other", HookOutcome.ACTION_DENIED)


@pytest.mark.parametrize("wrong", [None, 7, True, [VIEW], {"token": VIEW}])
@pytest.mark.parametrize("field", ["token", "password", "query"])
def test_a_field_of_another_type_counts_as_empty(field: str, wrong: object) -> None:
    assert outcome(**{field: wrong}) is HookOutcome.NO_CREDENTIALS


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"query": "a=" + "x" * 8192}, HookOutcome.BAD_REQUEST),
        ({"query": "a=b&" * 40}, HookOutcome.BAD_REQUEST),
        ({"token": "x" * 2049}, HookOutcome.MALFORMED),
        ({"password": "x.y.z" * 100_000}, HookOutcome.MALFORMED),
    ],
)
def test_what_is_too_long_is_refused_unread(
    fields: dict[str, object], expected: HookOutcome
) -> None:
    assert outcome(**fields) is expected


def test_every_refusal_of_a_token_is_an_outcome() -> None:
    assert {HookOutcome(refusal.value) for refusal in Refusal} <= set(HookOutcome)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
LIKELY = st.sampled_from([*body(), "extra"])
CREDENTIAL = st.sampled_from([VIEW, PUBLISH, VIEW[:-1], f"token={VIEW}", f"token={VIEW}&token=%00"])


@given(st.dictionaries(st.text(), ANY_JSON))
def test_any_json_object_is_answered_and_allows_nothing(whole: dict[str, Any]) -> None:
    assert not check(TOKENS, whole).allowed


@given(st.dictionaries(LIKELY, ANY_JSON | CREDENTIAL))
def test_odd_values_in_a_real_call_are_answered(fields: dict[str, Any]) -> None:
    decision = check(TOKENS, body(**fields))
    assert decision.action in {"read", "publish", "playback", "api", "metrics", "pprof", "other"}
    if decision.allowed:
        assert decision.claims is not None
        assert decision.claims.path == body(**fields)["path"]
        assert decision.claims.action.value == body(**fields)["action"]


OLD, NEW = "old-internal-token-of-32-bytes!!", "new-internal-token-of-32-bytes!!"
CONTROL = ControlSecrets([OLD, NEW])


def control_outcome(**fields: object) -> HookOutcome:
    """What MediaMTX asks about its own interfaces: no path, no protocol, no id."""
    asked = body(**({"action": "api", "path": "", "protocol": ""} | fields))
    decision = check(TOKENS, asked, control=CONTROL)
    assert decision.allowed is (decision.outcome is HookOutcome.ALLOWED)
    assert decision.claims is None
    return decision.outcome


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
@pytest.mark.parametrize("internal_token", [OLD, NEW])
def test_the_control_api_is_opened_by_the_secret_of_each_internal_token(
    action: str, internal_token: str
) -> None:
    secret = control_secret(internal_token)
    assert control_outcome(action=action, token=secret) is HookOutcome.ALLOWED
    assert control_outcome(action=action, user="prometheus", password=secret) is HookOutcome.ALLOWED


@pytest.mark.parametrize("action", ["api", "metrics", "pprof"])
@pytest.mark.parametrize("token", [VIEW, RECORD, PUBLISH, OLD, "x", "\ud800", control_secret("")])
def test_nothing_else_opens_the_control_api(action: str, token: str) -> None:
    assert control_outcome(action=action, token=token) is HookOutcome.WRONG_SECRET
    assert control_outcome(action=action, password=token) is HookOutcome.WRONG_SECRET
    assert control_outcome(action=action) is HookOutcome.NO_CREDENTIALS
    query = f"token={control_secret(OLD)}"
    assert control_outcome(action=action, query=query) is HookOutcome.NO_CREDENTIALS
    two = {"token": control_secret(OLD), "password": token}
    assert control_outcome(action=action, **two) is HookOutcome.AMBIGUOUS_TOKEN


def test_without_an_internal_token_nothing_opens_the_control_api() -> None:
    asked = body(action="api", path="", protocol="", token=control_secret(""))
    assert not check(TOKENS, asked).allowed
    assert not check(TOKENS, asked, control=ControlSecrets([""])).allowed


def test_the_secret_opens_no_stream_and_no_playback() -> None:
    secret = control_secret(OLD)
    for action in ("read", "publish", "playback", "API", ""):
        assert not check(TOKENS, body(action=action, token=secret), control=CONTROL).allowed


def test_the_secret_is_what_openssl_makes_of_the_token() -> None:
    """``deploy/make-secrets`` and ``deploy/install`` compute it with openssl, for Prometheus."""
    assert (
        control_secret(f"{'abc'},later")
        == control_secret("abc")
        == "d31906399f96faa8d43035437d6c73b36408b02917d4ec96d5a6d77f063cac05"
    )
