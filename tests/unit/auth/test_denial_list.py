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
from tests.unit.auth.hands import KEY, HeldClock

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
OTHER = UUID("22222222-2222-3333-4444-555555555555")
PATH = "alice/door"
SECOND = timedelta(seconds=1)


class Desk:
    """Tokens of every kind, issued now, and a list of what is denied."""

    def __init__(self) -> None:
        self.clock = HeldClock()
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
    (
        "owner",
        lambda at: rules.owner_changed(CAMERA, PATH, before="bob", at=at),
        {"record"},
    ),
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
    desk = Desk()
    held = desk.issue()
    of_carol = desk.issue(sub="carol")
    elsewhere = desk.issue(path="alice/other", camera=OTHER)
    users_own = event(desk.now)[:1] and event(desk.now)[0].sub != ""

    assert desk.good(held) == ALL
    desk.denied.add(event(desk.now))

    assert desk.good(held) == left
    assert desk.good(of_carol) == (ALL if users_own else left)
    blocked_everywhere = {"record"} if left == {"record"} and event(desk.now)[0].path == "" else ALL
    assert desk.good(elsewhere, path="alice/other") == blocked_everywhere
    desk.clock.pass_s(0.001)
    assert desk.good(desk.issue()) == ALL, "what is signed afterwards is good"


def test_a_denied_token_is_refused_for_just_that() -> None:
    desk = Desk()
    token = desk.issue()["view"]
    desk.denied.add(rules.camera_retired(CAMERA, PATH, desk.now))
    assert desk.hook("view", token) is HookOutcome.REVOKED


def test_a_token_signed_on_an_older_permission_is_covered() -> None:
    """The request asked before the grant went, and signs after."""
    desk = Desk()
    asked_at = desk.now
    desk.clock.pass_s(1)
    desk.denied.add(rules.grants_withdrawn(CAMERA, PATH, sub="bob", actions=["view"], at=desk.now))
    desk.clock.pass_s(1)
    late = desk.tokens.sign_view("bob", PATH, ttl_s=60, asked_at=asked_at).token
    assert desk.hook("view", late) is HookOutcome.REVOKED


def test_while_a_user_is_blocked_nothing_of_theirs_counts_whenever_it_was_issued() -> None:
    desk = Desk()
    desk.denied.set_blocked("bob", blocked=True)
    desk.clock.pass_s(10)
    assert desk.good(desk.issue()) == {"record"}
    assert desk.good(desk.issue(sub="carol")) == ALL
    desk.denied.set_blocked("bob", blocked=False)
    assert desk.good(desk.issue()) == ALL


def test_a_user_who_is_called_like_a_recorder_blocks_no_recording() -> None:
    desk = Desk()
    name = f"recorder:{CAMERA}"
    desk.denied.set_blocked(name, blocked=True)
    desk.denied.add(rules.user_blocked(name, desk.now))
    assert "record" in desk.good(desk.issue())


def test_nobody_watches_while_it_is_unknown_what_is_denied_and_recording_goes_on() -> None:
    desk = Desk()
    held = desk.issue()
    desk.denied = DenialList(desk.clock)
    assert desk.hook("view", held["view"]) is HookOutcome.DENIALS_UNKNOWN
    assert desk.good({use: held[use] for use in ("record", "publish")}) == {"record", "publish"}
    desk.denied.read([])
    assert desk.hook("view", held["view"]) is HookOutcome.ALLOWED


def test_a_rule_is_kept_for_as_long_as_a_token_that_it_covers_can_live() -> None:
    desk = Desk()
    token = desk.tokens.sign_publish("bob", PATH, ttl_s=366 * 86_400).token
    desk.denied.add(rules.links_withdrawn(PATH, desk.now))
    desk.clock.pass_s(366 * 86_400 - 1)
    assert desk.denied.forget_expired() == 0
    assert desk.hook("publish", token) is HookOutcome.REVOKED
    desk.clock.pass_s(1)
    assert desk.denied.forget_expired() == 1
    assert len(desk.denied) == 0
    assert desk.hook("publish", token) is HookOutcome.EXPIRED


def test_a_rule_that_has_ended_is_not_taken_in() -> None:
    desk = Desk()
    old = rules.stopped(PATH, desk.now - timedelta(days=2))
    desk.denied.add(old)
    assert len(desk.denied) == 0


MOMENTS = st.integers(0, 5).map(lambda n: HeldClock().now() + n * SECOND)


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
    clock = HeldClock()
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
                asked = HeldClock().now() + late * SECOND
                token = tokens.sign_view(sub, path, ttl_s=60, asked_at=asked).token
                claims = tokens.verify(token, path=path, action=StreamAction.READ)
                assert one.denies(claims) == other.denies(claims)
                kicked, again = one.kick(claims), other.kick(claims)
                assert (kicked and kicked[0]) == (again and again[0])


def test_moments_only_go_forward_whatever_the_clock_does() -> None:
    desk = Desk()
    seen = [desk.denied.moment()]
    for step_s in (0, 0, 3600, -7200, 0, 1):
        desk.clock.pass_s(step_s)
        seen.append(desk.denied.moment())
    desk.denied.add(rules.stopped(PATH, seen[-1] + timedelta(hours=1)))
    seen.append(desk.denied.moment())
    assert seen == sorted(set(seen))
    desk.clock.pass_s(86_400)
    assert desk.denied.moment() == desk.now


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_two_rules_for_the_same_tokens_the_later_one_counts(newest_first: bool) -> None:
    desk = Desk()
    older = rules.links_withdrawn(PATH, desk.now)
    desk.clock.pass_s(10)
    token = desk.issue()["publish"]
    desk.clock.pass_s(10)
    newer = rules.links_withdrawn(PATH, desk.now)
    for rule in (newer, older) if newest_first else (older, newer):
        desk.denied.add(rule)
    assert desk.hook("publish", token) is HookOutcome.REVOKED
    claims = desk.tokens.recall(token)
    assert claims is not None
    assert desk.denied.kick(claims) == (newer[0].kicked_before, "link_withdrawn")
    assert desk.denied.kick_unknown(claims.use, PATH, desk.now) is not None
