"""The provider's keys over time: fetched by their own thread, whatever the provider does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from streamwarden.auth import users
from streamwarden.auth.jwts import ALGORITHMS
from streamwarden.auth.keys import UnknownKey
from streamwarden.auth.users import (
    ASK_AGAIN_S,
    MAX_WAITING,
    IdentityProviderUnavailable,
    ProviderKeys,
)
from streamwarden.errors import Unavailable
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.provider_keys import document, jwk
from tests.unit.auth.signing_secrets import NOON

MAX_AGE_S = 3600.0
SOON_S = 30.0


class Provider:
    """Publishes what it is told to; counts how often it is asked."""

    def __init__(self, *kids: str) -> None:
        self.kids = kids
        self.broken: Exception | None = None
        self.asked = 0
        self.answering = threading.Event()
        self.answering.set()
        self.being_asked = threading.Event()

    def fetch(self) -> bytes:
        self.asked += 1
        self.being_asked.set()
        self.answering.wait(SOON_S)
        if self.broken is not None:
            raise self.broken
        return document(*(jwk("EdDSA", kid) for kid in self.kids))


@contextmanager
def kept(source: Provider, clock: ManualClock) -> Iterator[ProviderKeys]:
    keys = ProviderKeys(source.fetch, algorithms=ALGORITHMS, max_age_s=MAX_AGE_S, clock=clock)
    keys.start()
    try:
        yield keys
    finally:
        source.answering.set()
        keys.stop(SOON_S)


def eventually(look: Callable[[], bool]) -> None:
    for _ in range(int(SOON_S / 0.01)):
        if look():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not seen in time")


def knows(keys: ProviderKeys, kid: str) -> bool:
    try:
        return keys.find(kid).kid == kid
    except (UnknownKey, IdentityProviderUnavailable):
        return False


def test_a_published_key_is_found_as_soon_as_it_is_fetched() -> None:
    with kept(Provider("a"), ManualClock(NOON)) as keys:
        eventually(lambda: knows(keys, "a"))
        keys.check()


def test_a_key_that_is_new_at_the_provider_is_found_without_waiting_for_the_next_round() -> None:
    source, clock = Provider("a"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "a"))
        source.kids = ("b", "a")
        clock.advance(ASK_AGAIN_S)
        eventually(lambda: knows(keys, "b"))
        assert knows(keys, "a")


def test_a_key_that_the_provider_withdraws_is_forgotten_with_the_next_fetch() -> None:
    source, clock = Provider("a", "b"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "b"))
        source.kids = ("a",)
        clock.advance(ASK_AGAIN_S)
        eventually(lambda: not knows(keys, "asked for") and not knows(keys, "b"))


def test_made_up_kids_make_us_ask_the_provider_no_oftener_than_every_ten_seconds() -> None:
    source, clock = Provider("a"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "a"))
        for number in range(200):
            with pytest.raises(UnknownKey):
                keys.find(f"made up {number}")
        assert source.asked == 1
        clock.advance(ASK_AGAIN_S)
        for number in range(200):
            assert not knows(keys, f"made up again {number}")
        eventually(lambda: source.asked == 2)


@pytest.mark.parametrize(
    "broken", [Unavailable("away"), ValueError("a bug")], ids=["an outage", "a bug"]
)
def test_an_outage_is_survived_until_the_keys_are_too_old(broken: Exception) -> None:
    source, clock = Provider("a"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "a"))
        source.broken = broken
        clock.advance(MAX_AGE_S)
        assert knows(keys, "a")
        keys.check()
        clock.advance(1)
        with pytest.raises(IdentityProviderUnavailable):
            keys.find("a")
        with pytest.raises(IdentityProviderUnavailable):
            keys.check()
        source.broken = None
        clock.advance(ASK_AGAIN_S)
        eventually(lambda: knows(keys, "a"))


def test_a_document_without_a_usable_key_is_an_outage_and_costs_no_key() -> None:
    source, clock = Provider("a"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "a"))
        source.kids = ()
        clock.advance(ASK_AGAIN_S)
        assert not knows(keys, "other")
        eventually(lambda: source.asked >= 2)
        assert knows(keys, "a")


def test_a_provider_that_is_away_from_the_start_is_no_refusal_of_the_token() -> None:
    source = Provider("a")
    source.broken = Unavailable("away")
    with kept(source, ManualClock(NOON)) as keys, pytest.raises(IdentityProviderUnavailable):
        keys.find("a")


def test_a_provider_that_hangs_holds_a_request_a_second_and_only_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(users, "WAIT_S", SOON_S)  # so that those who wait surely still do
    source = Provider("a")
    source.answering.clear()
    with kept(source, ManualClock(NOON)) as keys:
        assert source.being_asked.wait(SOON_S)
        waiting = [threading.Thread(target=knows, args=(keys, "a")) for _ in range(MAX_WAITING)]
        for each in waiting:
            each.start()
        eventually(lambda: keys._waiting == MAX_WAITING)
        with pytest.raises(IdentityProviderUnavailable, match="being fetched") as caught:
            keys.find("a")
        assert caught.value.retry_after_s == 1
        source.answering.set()
        for each in waiting:
            each.join(SOON_S)
        assert knows(keys, "a")


def test_a_provider_that_hangs_is_not_waited_for_longer_than_a_second() -> None:
    source, clock = Provider("a"), ManualClock(NOON)
    with kept(source, clock) as keys:
        eventually(lambda: knows(keys, "a"))
        source.being_asked.clear()
        source.answering.clear()
        clock.advance(ASK_AGAIN_S)
        with pytest.raises(IdentityProviderUnavailable):
            keys.find("new")
        assert knows(keys, "a")  # what is known is answered at once


def test_stop_ends_the_thread() -> None:
    with kept(Provider("a"), ManualClock(NOON)) as keys:
        eventually(lambda: knows(keys, "a"))
    assert "identity-provider" not in {thread.name for thread in threading.enumerate()}
