from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from streamwarden.auth import revocation as rules
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import (
    StreamAction,
    StreamClaims,
    StreamTokens,
    StreamUse,
    stated_claims,
)
from streamwarden.mediamtx.control_api import MediaSession
from streamwarden.mediamtx.sessions import SessionClaims, judge_session, token_in_query
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON, OTHER_KEY

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
PATH = "alice/door"


def a_session(
    created: datetime, *, state: str = "read", path: str = PATH, query: str = ""
) -> MediaSession:
    return MediaSession(
        kind="rtspsessions", id="s1", state=state, path=path, query=query, created=created
    )


class SessionHarness:
    """The values by which sessions are judged."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.tokens = StreamTokens(parse_keys(f"k1:{KEY}"), self.clock)
        self.claims = SessionClaims(self.clock, most=3)
        self.denied = DenialList(self.clock)
        self.denied.read([])

    def sign(self, use: str) -> str:
        if use == "record":
            return self.tokens.sign_record(CAMERA, PATH, ttl_s=60).token
        sign = self.tokens.sign_view if use == "view" else self.tokens.sign_publish
        return sign("bob", PATH, ttl_s=60).token

    def open(self, use: str, *, known: bool) -> MediaSession:
        """Open a session whose token is in its query, or was sent another way and noted."""
        token = self.sign(use)
        publishes = use == "publish"
        state = "publish" if publishes else "read"
        if known:
            action = StreamAction.PUBLISH if publishes else StreamAction.READ
            self.claims.note("s1", self.tokens.verify(token, path=PATH, action=action))
        query = "" if known else f"a=b&token={token}"
        return a_session(self.clock.now(), state=state, query=query)

    def why(self, session: MediaSession) -> str | None:
        claims, stated = self.claims.claims_of(session.id), None
        if claims is None and (token := token_in_query(session.query)) is not None:
            claims, stated = self.tokens.recall(token), stated_claims(token)
        kick = judge_session(session, claims, self.denied, self.clock.now(), stated=stated)
        return None if kick is None else kick.reason


@pytest.mark.parametrize("known", [True, False])
def test_a_view_session_ends_with_its_token_and_no_other_does(known: bool) -> None:
    harness = SessionHarness()
    view, record, publish = (
        harness.open(use, known=False) for use in ("view", "record", "publish")
    )
    if known:
        view = harness.open("view", known=True)
    assert harness.why(view) is None
    harness.clock.advance(59)
    assert harness.why(view) is None
    harness.clock.advance(1)
    assert harness.why(view) == "expired"
    if not known:
        assert [harness.why(one) for one in (record, publish)] == [None, None]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("use", ["view", "publish", "record"])
def test_a_retired_cameras_sessions_end_the_recorders_last(use: str, known: bool) -> None:
    harness = SessionHarness()
    session = harness.open(use, known=known)
    harness.denied.add(rules.camera_retired(CAMERA, PATH, harness.clock.now()))
    assert harness.why(session) == ("camera_retired" if use == "view" else None)
    harness.clock.advance(1.4)
    assert harness.why(session) == ("camera_retired" if use == "view" else None)
    harness.clock.advance(0.1)
    assert harness.why(session) == "camera_retired"


def test_a_recorder_and_a_camera_outlive_a_change_of_the_path() -> None:
    harness = SessionHarness()
    sessions = [harness.open(use, known=False) for use in ("view", "record", "publish")]
    harness.denied.add(rules.path_changed(PATH, harness.clock.now()))
    harness.clock.advance(10)
    assert [harness.why(one) for one in sessions] == ["path_changed", None, None]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("use", ["view", "publish", "record"])
@pytest.mark.parametrize("change", ["path_given", "owner_changed"])
def test_a_path_that_changes_hands_is_left_by_everybody_at_once(
    change: str, use: str, known: bool
) -> None:
    harness = SessionHarness()
    session = harness.open(use, known=known)
    harness.denied.add(
        rules.path_given(PATH, harness.clock.now())
        if change == "path_given"
        else rules.owner_changed(CAMERA, PATH, at=harness.clock.now())
    )
    assert harness.why(session) == change
    # The new camera's, or the new owner's: signed after the change.
    harness.clock.advance(120)
    harness.claims.keep(set(), asked_s=harness.clock.monotonic())
    assert harness.why(harness.open(use, known=known)) is None


@pytest.mark.parametrize("change", ["path_given", "owner_changed"])
@pytest.mark.parametrize("state", ["read", "publish"])
def test_also_by_whom_nothing_is_known(change: str, state: str) -> None:
    harness = SessionHarness()
    session = a_session(harness.clock.now(), state=state)
    at = harness.clock.now()
    found = (
        rules.path_given(PATH, at)
        if change == "path_given"
        else rules.owner_changed(CAMERA, PATH, at=at)
    )
    harness.denied.add(found)
    assert harness.why(session) == change
    assert harness.why(a_session(at + timedelta(seconds=1), state=state)) is None


def test_a_users_loss_never_ends_a_recorders_session() -> None:
    harness = SessionHarness()
    record, view = harness.open("record", known=False), harness.open("view", known=False)
    harness.denied.add(rules.user_blocked("bob", harness.clock.now()))
    harness.denied.set_blocked("bob", blocked=True)
    harness.clock.advance(5)
    assert (harness.why(record), harness.why(view)) == (None, "user_blocked")


def test_a_blocked_users_session_ends_also_if_it_was_opened_later() -> None:
    harness = SessionHarness()
    harness.denied.set_blocked("bob", blocked=True)
    harness.clock.advance(5)
    assert harness.why(harness.open("publish", known=True)) == "user_blocked"


def test_a_session_that_is_opened_after_the_rule_goes_on() -> None:
    harness = SessionHarness()
    harness.denied.add(rules.links_withdrawn(PATH, harness.clock.now()))
    harness.clock.advance(1)
    assert harness.why(harness.open("publish", known=False)) is None


@pytest.mark.parametrize("query", ["", "token=nonsense", "token=a&token=b", "&" * 100])
def test_a_reader_of_unknown_name_is_a_viewer_who_may_stay_an_hour(query: str) -> None:
    harness = SessionHarness()
    session = a_session(harness.clock.now(), query=query)
    harness.clock.advance(3599)
    assert harness.why(session) is None
    harness.clock.advance(1)
    assert harness.why(session) == "expired"


def test_a_session_of_unknown_name_ends_by_any_rule_that_could_mean_it() -> None:
    harness = SessionHarness()
    reader = a_session(harness.clock.now())
    publisher = a_session(harness.clock.now(), state="publish")
    elsewhere = a_session(harness.clock.now(), path="alice/other")
    gone = rules.grants_withdrawn(
        CAMERA, PATH, sub="carol", actions=["view", "publish"], at=harness.clock.now()
    )
    harness.denied.add(gone)
    whys = [harness.why(one) for one in (reader, publisher, elsewhere)]
    assert whys == ["grant_withdrawn", "grant_withdrawn", None]
    harness.denied.add(rules.user_blocked("dave", harness.clock.now()))
    assert harness.why(elsewhere) == "user_blocked"


def test_a_session_that_does_nothing_yet_is_left_alone() -> None:
    harness = SessionHarness()
    session = harness.open("view", known=False)
    harness.clock.advance(100)
    assert harness.why(a_session(session.created, state="idle", query=session.query)) is None


def test_the_session_claims_are_bounded_and_forget_what_is_gone() -> None:
    harness = SessionHarness()
    claims = harness.tokens.verify(harness.sign("view"), path=PATH, action=StreamAction.READ)
    for number in range(5):
        harness.claims.note(f"s{number}", claims)
    assert len(harness.claims) == 3
    assert harness.claims.claims_of("s1") is None
    assert harness.claims.claims_of("s4") == claims
    harness.claims.keep({"s3"}, asked_s=harness.clock.monotonic())
    assert len(harness.claims) == 3, "the hook is asked before a session is listed"
    harness.clock.advance(timedelta(minutes=2).total_seconds())
    harness.claims.keep({"s3"}, asked_s=harness.clock.monotonic())
    assert len(harness.claims) == 1


def claims_of(use: StreamUse, sub: str, path: str) -> StreamClaims:
    action = StreamAction.PUBLISH if use is StreamUse.PUBLISH else StreamAction.READ
    return StreamClaims(
        use=use,
        action=action,
        path=path,
        sub=sub,
        jti="1",
        kid="k1",
        issued_at=NOON,
        expires_at=NOON + timedelta(hours=1),
    )


def admitted(claims: SessionClaims, sub: str, path: str, *, tries: int = 300) -> list[str]:
    """Open sessions until one is refused; return their ids."""
    ids: list[str] = []
    for number in range(tries):
        session_id = f"{sub} {path} {number} {len(claims)}"
        if not claims.admit_view(session_id, claims_of(StreamUse.VIEW, sub, path)):
            break
        ids.append(session_id)
    return ids


def test_a_viewer_has_a_bound_on_a_path_and_one_on_all() -> None:
    claims = SessionClaims(ManualClock(NOON))
    assert len(admitted(claims, "guest", PATH)) == 16
    assert len(admitted(claims, "other", PATH)) == 16
    elsewhere = [admitted(claims, "guest", f"path {number}") for number in range(20)]
    assert sum(len(ids) for ids in elsewhere) == 256 - 16


def test_all_viewers_of_a_path_leave_the_recorder_its_places() -> None:
    claims = SessionClaims(ManualClock(NOON))
    opened = sum(len(admitted(claims, f"user {number}", PATH)) for number in range(20))
    assert opened == 90  # an older configuration has maxReaders: 100
    for number in range(20):
        claims.note(f"r{number}", claims_of(StreamUse.RECORD, "recorder:1", PATH))
    assert len(admitted(claims, "guest", "another")) == 16


def test_a_session_that_has_ended_leaves_its_place_at_the_next_list() -> None:
    clock = ManualClock(NOON)
    claims = SessionClaims(clock)
    ids = admitted(claims, "guest", PATH)
    clock.advance(2)
    claims.keep(set(ids), asked_s=clock.monotonic())
    assert admitted(claims, "guest", PATH) == []
    claims.keep(set(ids[:10]), asked_s=clock.monotonic())
    assert len(admitted(claims, "guest", PATH)) == 6


def test_a_session_that_is_being_opened_counts_though_it_is_not_listed_yet() -> None:
    clock = ManualClock(NOON)
    claims = SessionClaims(clock)
    asked_s = clock.monotonic()
    clock.advance(0.5)  # the list is on its way
    assert len(admitted(claims, "guest", PATH)) == 16
    claims.keep(set(), asked_s=asked_s)
    assert admitted(claims, "guest", PATH) == []


def test_without_lists_a_viewer_is_shut_out_for_a_minute_at_most() -> None:
    clock = ManualClock(NOON)
    claims = SessionClaims(clock)
    assert len(admitted(claims, "guest", PATH)) == 16
    clock.advance(61)
    assert len(admitted(claims, "guest", PATH)) == 16


def test_a_second_call_for_an_open_session_is_no_second_session() -> None:
    claims = SessionClaims(ManualClock(NOON))
    ids = admitted(claims, "guest", PATH)
    assert claims.admit_view(ids[0], claims_of(StreamUse.VIEW, "guest", PATH))


def test_two_tokens_in_a_query_say_nothing() -> None:
    harness = SessionHarness()
    record, view = harness.sign("record"), harness.sign("view")
    harness.denied.add(rules.stopped(PATH, harness.clock.now()))
    harness.clock.advance(61)
    session = a_session(harness.clock.now(), query=f"token={record}&token={view}")
    assert harness.why(session) is None, "a viewer of unknown name, who came just now"


# An API restart forgets what the hook allowed; a rotated ring can verify no older token.

RINGS = {
    "same": f"k1:{KEY}",
    "gone": f"k2:{OTHER_KEY}",
    "dated": f"k2:{OTHER_KEY},k1:{KEY}@2020-01-01",
}


def after_restart(harness: SessionHarness, ring: str) -> None:
    """The next API process: no claims, another ring."""
    harness.claims = SessionClaims(harness.clock)
    harness.tokens = StreamTokens(parse_keys(RINGS[ring]), harness.clock)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("use", ["record", "publish"])
def test_no_key_that_is_gone_ends_a_recorder_or_a_camera(use: str, ring: str) -> None:
    harness = SessionHarness()
    session = harness.open(use, known=False)
    after_restart(harness, ring)
    harness.clock.advance(100 * 3600)
    assert harness.why(session) is None


@pytest.mark.parametrize("ring", RINGS)
def test_a_viewer_ends_with_the_token_whatever_its_key(ring: str) -> None:
    harness = SessionHarness()
    session = harness.open("view", known=False)
    after_restart(harness, ring)
    harness.clock.advance(59)
    assert harness.why(session) is None
    harness.clock.advance(1)
    assert harness.why(session) == "expired"


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("use", ["record", "view", "publish"])
def test_what_is_revoked_ends_whatever_its_key(use: str, ring: str) -> None:
    harness = SessionHarness()
    session = harness.open(use, known=False)
    after_restart(harness, ring)
    harness.denied.add(rules.camera_retired(CAMERA, PATH, harness.clock.now()))
    harness.clock.advance(2)
    assert harness.why(session) == "camera_retired"


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("use", ["record", "view", "publish"])
def test_another_users_loss_ends_nobodys_session_whatever_its_key(use: str, ring: str) -> None:
    harness = SessionHarness()
    session = harness.open(use, known=False)
    after_restart(harness, ring)
    harness.denied.add(rules.user_blocked("carol", harness.clock.now()))
    assert harness.why(session) is None


def test_stated_times_prolong_nothing_and_escape_no_rule() -> None:
    harness = SessionHarness()
    created = harness.clock.now()
    harness.clock.advance(10 * 86_400)
    token = harness.tokens.sign_view("bob", PATH, ttl_s=30 * 86_400).token
    session = a_session(created, query=f"token={token}")
    after_restart(harness, "gone")
    assert harness.why(session) == "expired"
    harness.denied.add(rules.links_withdrawn(PATH, created))
    later = harness.tokens.sign_publish("bob", PATH, ttl_s=60).token
    harness.tokens = StreamTokens(parse_keys(f"k3:{KEY}"), harness.clock)
    publisher = a_session(created, state="publish", query=f"token={later}")
    assert harness.why(publisher) == "link_withdrawn"


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("other", ["publish", "elsewhere"])
def test_a_token_of_another_action_or_path_says_nothing_of_a_session(other: str, ring: str) -> None:
    harness = SessionHarness()
    if other == "publish":
        token = harness.tokens.sign_publish("friend", PATH, ttl_s=30 * 86_400).token
    else:
        token = harness.tokens.sign_view("friend", "friend/yard", ttl_s=30 * 86_400).token
    session = a_session(harness.clock.now(), query=f"token={token}")
    after_restart(harness, ring)
    gone = rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=["view"], at=harness.clock.now())
    harness.clock.advance(3600)
    assert harness.why(session) == "expired"
    harness.denied.add(gone)
    assert harness.why(session) == "grant_withdrawn"


def test_the_first_claims_of_an_id_stay() -> None:
    harness = SessionHarness()
    session = harness.open("record", known=True)
    token = harness.tokens.sign_view("mallory", PATH, ttl_s=1).token
    theirs = harness.tokens.verify(token, path=PATH, action=StreamAction.READ)
    harness.claims.note(session.id, theirs)
    harness.clock.advance(30)
    harness.claims.keep({session.id}, asked_s=harness.clock.monotonic())
    harness.claims.note(session.id, theirs)
    harness.clock.advance(3600)
    assert harness.why(session) is None
