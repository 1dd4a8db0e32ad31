from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth import revocation as rules
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList, DeniedUse
from streamwarden.auth.stream_tokens import StreamAction, StreamTokens
from streamwarden.mediamtx.hook import HookOutcome, check
from streamwarden.model import Denial, TimeRange
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import KEY, NOON

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
OTHER = UUID("22222222-2222-3333-4444-555555555555")
PATH = "alice/door"
SECOND = timedelta(seconds=1)


class DenialHarness:
    """Tokens of every kind, issued now, and a list of what is denied."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        keys = parse_keys(f"k1:{KEY}")
        self.tokens = StreamTokens(keys, self.clock)
        self.play = PlayTokens(keys, self.clock)
        self.denied = DenialList(self.clock)
        self.denied.read([])

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def issue(self, *, sub: str = "bob", path: str = PATH, camera: UUID = CAMERA) -> dict[str, str]:
        hour = timedelta(hours=1)
        recorded = TimeRange(self.now - hour, self.now)
        return {
            "record": self.tokens.sign_record(camera, path, ttl_s=300).token,
            "view": self.tokens.sign_view(sub, path, ttl_s=300).token,
            "publish": self.tokens.sign_publish(sub, path, ttl_s=300).token,
            "live": self.play.sign(sub, camera, live=True, recorded=None, ttl_s=300).token,
            "recordings": self.play.sign(
                sub, camera, live=False, recorded=recorded, ttl_s=300
            ).token,
        }

    def good(self, tokens: dict[str, str], *, path: str = PATH) -> set[str]:
        return {use for use, token in tokens.items() if self._is_good(use, token, path)}

    def _is_good(self, use: str, token: str, path: str) -> bool:
        if use in {"live", "recordings"}:
            return not self.denied.denies_playing(self.play.verify(token), DeniedUse(use))
        return self.hook(use, token, path) is HookOutcome.ALLOWED

    def hook(self, use: str, token: str, path: str = PATH) -> HookOutcome:
        action = "publish" if use == "publish" else "read"
        body = {"action": action, "path": path, "protocol": "rtsp", "token": token}
        return check(self.tokens, body, denials=self.denied).outcome


def _withdrawing(action: str) -> Callable[[datetime], list[Denial]]:
    return lambda at: rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=[action], at=at)


ALL = {"record", "view", "publish", "live", "recordings"}
Revoke = Callable[[datetime], list[Denial]]
EVENTS: list[tuple[str, Revoke, set[str]]] = [
    ("retired", lambda at: rules.camera_retired(CAMERA, PATH, at), {"recordings"}),
    ("path", lambda at: rules.path_changed(PATH, at), {"live", "recordings"}),
    ("stopped", lambda at: rules.stopped(PATH, at), ALL - {"record"}),
    ("links", lambda at: rules.links_withdrawn(PATH, at), ALL - {"publish"}),
    ("blocked", lambda at: rules.user_blocked("bob", at), {"record"}),
    ("owner", lambda at: rules.owner_changed(CAMERA, PATH, at=at), set()),
    ("given", lambda at: rules.path_given(PATH, at), {"live", "recordings"}),
    *(
        (
            action,
            _withdrawing(action),
            ALL - lost,
        )
        for action, lost in {
            "view": {"view", "live"},
            "recordings": {"recordings"},
            "publish": {"publish"},
            "control": set(),
            "nonsense": set(),
        }.items()
    ),
]


@pytest.mark.parametrize(("event", "left"), [(e, left) for _, e, left in EVENTS])
def test_each_revocation_denies_what_was_held_and_nothing_else(
    event: Revoke, left: set[str]
) -> None:
    harness = DenialHarness()
    held = harness.issue()
    of_carol = harness.issue(sub="carol")
    elsewhere = harness.issue(path="alice/other", camera=OTHER)
    users_own = event(harness.now)[:1] and event(harness.now)[0].sub != ""

    assert harness.good(held) == ALL
    harness.denied.add(event(harness.now))

    assert harness.good(held) == left
    assert harness.good(of_carol) == (ALL if users_own else left)
    blocked_everywhere = (
        {"record"} if left == {"record"} and event(harness.now)[0].path == "" else ALL
    )
    assert harness.good(elsewhere, path="alice/other") == blocked_everywhere
    harness.clock.advance(0.001)
    assert harness.good(harness.issue()) == ALL, "what is signed afterwards is good"


def test_a_denied_token_is_refused_for_just_that() -> None:
    harness = DenialHarness()
    token = harness.issue()["view"]
    harness.denied.add(rules.camera_retired(CAMERA, PATH, harness.now))
    assert harness.hook("view", token) is HookOutcome.REVOKED


def test_a_token_signed_on_an_older_permission_is_covered() -> None:
    """The request asked before the grant went, and signs after."""
    harness = DenialHarness()
    asked_at = harness.now
    harness.clock.advance(1)
    harness.denied.add(
        rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=["view"], at=harness.now)
    )
    harness.clock.advance(1)
    late = harness.tokens.sign_view("bob", PATH, ttl_s=60, asked_at=asked_at).token
    assert harness.hook("view", late) is HookOutcome.REVOKED


def test_while_a_user_is_blocked_nothing_of_theirs_counts_whenever_it_was_issued() -> None:
    harness = DenialHarness()
    harness.denied.set_blocked("bob", blocked=True)
    harness.clock.advance(10)
    assert harness.good(harness.issue()) == {"record"}
    assert harness.good(harness.issue(sub="carol")) == ALL
    harness.denied.set_blocked("bob", blocked=False)
    assert harness.good(harness.issue()) == ALL


def test_a_user_who_is_called_like_a_recorder_blocks_no_recording() -> None:
    harness = DenialHarness()
    name = f"recorder:{CAMERA}"
    harness.denied.set_blocked(name, blocked=True)
    harness.denied.add(rules.user_blocked(name, harness.now))
    assert "record" in harness.good(harness.issue())


def test_nobody_watches_while_it_is_unknown_what_is_denied_and_recording_goes_on() -> None:
    harness = DenialHarness()
    held = harness.issue()
    harness.denied = DenialList(harness.clock)
    assert harness.hook("view", held["view"]) is HookOutcome.DENIALS_UNKNOWN
    assert harness.good({use: held[use] for use in ("record", "publish")}) == {"record", "publish"}
    harness.denied.read([])
    assert harness.hook("view", held["view"]) is HookOutcome.ALLOWED


def test_a_rule_is_kept_for_as_long_as_a_token_that_it_covers_can_live() -> None:
    harness = DenialHarness()
    token = harness.tokens.sign_publish("bob", PATH, ttl_s=366 * 86_400).token
    harness.denied.add(rules.links_withdrawn(PATH, harness.now))
    harness.clock.advance(366 * 86_400 - 1)
    assert harness.denied.forget_expired() == 0
    assert harness.hook("publish", token) is HookOutcome.REVOKED
    harness.clock.advance(1)
    assert harness.denied.forget_expired() == 1
    assert len(harness.denied) == 0
    assert harness.hook("publish", token) is HookOutcome.EXPIRED


def test_a_rule_that_has_ended_is_not_taken_in() -> None:
    harness = DenialHarness()
    old = rules.stopped(PATH, harness.now - timedelta(days=2))
    harness.denied.add(old)
    assert len(harness.denied) == 0


MOMENTS = st.integers(0, 5).map(lambda n: ManualClock(NOON).now() + n * SECOND)


@st.composite
def some_rules(draw: st.DrawFn) -> Denial:
    at = draw(MOMENTS)
    return Denial(
        use="view",
        path=draw(st.sampled_from(["", "a", "b"])),
        sub=draw(st.sampled_from(["bob", "carol"])),
        issued_before=at,
        kicked_before=draw(st.sampled_from([None, at])),
        reason=draw(st.sampled_from(["x", "y"])),
        expires_at=at + timedelta(days=1),
    )


@given(st.lists(some_rules()), st.randoms())
def test_order_and_repetition_of_what_is_heard_do_not_matter(
    found: list[Denial], random: Random
) -> None:
    clock = ManualClock(NOON)
    one, other = DenialList(clock), DenialList(clock)
    one.add(found)
    shuffled = [*found, *found]
    random.shuffle(shuffled)
    for rule in shuffled:
        other.add([rule])
    tokens = StreamTokens(parse_keys(f"k1:{KEY}"), clock)
    for path in ("a", "b"):
        for sub in ("bob", "carol"):
            for late in range(7):
                asked = ManualClock(NOON).now() + late * SECOND
                token = tokens.sign_view(sub, path, ttl_s=60, asked_at=asked).token
                claims = tokens.verify(token, path=path, action=StreamAction.READ)
                assert one.denies(claims) == other.denies(claims)
                kicked, again = one.kick(claims), other.kick(claims)
                assert (kicked and kicked[0]) == (again and again[0])


def test_moments_only_go_forward_whatever_the_clock_does() -> None:
    harness = DenialHarness()
    seen = [harness.denied.moment()]
    for step_s in (0, 0, 3600, -7200, 0, 1):
        harness.clock.advance(step_s)
        seen.append(harness.denied.moment())
    harness.denied.add(rules.stopped(PATH, seen[-1] + timedelta(hours=1)))
    seen.append(harness.denied.moment())
    assert seen == sorted(set(seen))
    harness.clock.advance(86_400)
    assert harness.denied.moment() == harness.now


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_rules_for_the_same_tokens_the_later_one_counts(newest_first: bool) -> None:
    harness = DenialHarness()
    older = rules.links_withdrawn(PATH, harness.now)
    harness.clock.advance(10)
    token = harness.issue()["publish"]
    harness.clock.advance(10)
    newer = rules.links_withdrawn(PATH, harness.now)
    for rule in (newer, older) if newest_first else (older, newer):
        harness.denied.add(rule)
    assert harness.hook("publish", token) is HookOutcome.REVOKED
    claims = harness.tokens.recall(token)
    assert claims is not None
    assert harness.denied.kick(claims) == (newer[0].kicked_before, "link_withdrawn")
    assert harness.denied.kick_unknown(claims.use, PATH, harness.now) is not None


def test_a_clock_that_is_ahead_for_a_while_makes_no_revoked_token_good() -> None:
    harness = DenialHarness()
    token = harness.tokens.sign_publish("bob", PATH, ttl_s=366 * 86_400).token
    harness.denied.add(rules.links_withdrawn(PATH, harness.now))
    harness.clock.step_wall(400 * 86_400)
    assert harness.denied.forget_expired() == 0
    harness.clock.step_wall(-400 * 86_400)
    assert harness.hook("publish", token) is HookOutcome.REVOKED
