from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.errors import TooManyRequests
from streamwarden.http.rate_limit import WINDOW_S, RateLimit, RateLimits
from tests.fakes.manual_time import ManualClock


def taken(rate: RateLimit, key: str, calls: int) -> int:
    return sum(rate.take(key) == 0 for _ in range(calls))


def test_a_minutes_worth_may_come_at_once_and_comes_back_evenly() -> None:
    clock = ManualClock()
    rate = RateLimit(60, now=clock.monotonic)
    assert taken(rate, "a", 100) == 60
    clock.advance(0.999)
    assert taken(rate, "a", 5) == 0
    clock.advance(0.002)
    assert taken(rate, "a", 5) == 1
    clock.advance(WINDOW_S)
    assert taken(rate, "a", 100) == 60


def test_one_key_takes_nothing_from_another() -> None:
    rate = RateLimit(5, now=ManualClock().monotonic)
    assert taken(rate, "a", 9) == 5
    assert taken(rate, "b", 9) == 5


def test_who_is_refused_is_told_when_the_next_call_is_allowed() -> None:
    clock = ManualClock()
    rate = RateLimit(6, now=clock.monotonic)
    taken(rate, "a", 6)
    wait_s = rate.take("a")
    assert wait_s == pytest.approx(10.0)
    clock.advance(wait_s)
    assert rate.take("a") == 0


@given(st.integers(1, 1000), st.lists(st.floats(0, 30), max_size=60))
def test_no_pattern_of_calls_gets_more_than_twice_the_rate_in_any_minute(
    per_minute: int, pauses_s: list[float]
) -> None:
    clock = ManualClock()
    rate = RateLimit(per_minute, now=clock.monotonic)
    allowed: list[float] = []
    for pause_s in pauses_s:
        clock.advance(pause_s)
        allowed += [clock.monotonic()] * taken(rate, "a", per_minute // 10 + 1)
    for at in allowed:
        assert sum(at <= other < at + WINDOW_S for other in allowed) <= 2 * per_minute


def test_memory_is_bounded_and_who_finds_no_room_shares_one_limit() -> None:
    clock = ManualClock()
    rate = RateLimit(2, now=clock.monotonic, most_keys=100)
    assert all(rate.take(str(number)) == 0 for number in range(100))
    assert [rate.take(f"late {number}") == 0 for number in range(5)] == [True, True] + [False] * 3
    assert len(rate) <= 101
    assert taken(rate, "7", 5) == 1  # whoever has a place keeps it
    clock.advance(2 * WINDOW_S)
    assert taken(rate, "new", 5) == 2
    assert len(rate) == 1


def test_threads_together_get_no_more_than_one_would() -> None:
    rate, results = RateLimit(100, now=ManualClock().monotonic), list[int]()
    threads = [
        threading.Thread(target=lambda: results.append(taken(rate, "a", 50))) for _ in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(results) == 100


def test_each_kind_of_call_has_its_own_limit_and_says_when_to_come_again() -> None:
    rates = RateLimits(connects=1, signings=2, failed_sign_ins=1, now=ManualClock().monotonic)
    rates.call("connect", "alice")
    rates.call("sign", "alice")
    rates.call("sign", "alice")
    rates.call("connect", "bob")
    for rated in ("connect", "sign"):
        with pytest.raises(TooManyRequests) as caught:
            rates.call(rated, "alice")
        assert caught.value.retry_after_s in {30, 60}


def test_what_was_much_work_counts_as_more_calls() -> None:
    clock = ManualClock()
    rates = RateLimits(
        connects=1, signings=1, failed_sign_ins=1, heavy=60, shares=1, now=clock.monotonic
    )
    rates.call("heavy", "guest")
    rates.charge("heavy", "guest", 100)  # beyond the minute's: the next has to wait for that
    with pytest.raises(TooManyRequests) as caught:
        rates.call("heavy", "guest")
    assert 40 <= caught.value.retry_after_s <= 43
    rates.call("heavy", "owner")
    clock.advance(43)
    rates.call("heavy", "guest")


def test_addresses_of_one_ipv6_network_share_their_failures() -> None:
    rates = RateLimits(connects=1, signings=1, failed_sign_ins=2, now=ManualClock().monotonic)
    rates.failed_sign_in("2001:db8:1:2::1")
    rates.failed_sign_in("2001:db8:1:2:ffff::9")
    with pytest.raises(TooManyRequests):
        rates.failed_sign_in("2001:db8:1:2::77")
    rates.failed_sign_in("2001:db8:1:3::1")
