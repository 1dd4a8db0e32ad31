from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.http.rate_limit import Proxies, neighbourhood

PROXIES = Proxies(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours: its word is nothing
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the left is the client's own word
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.2.3.4, 127.0.0.1", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 10.8.8.8", "10.9.9.9"),  # all of them ours
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, <script>", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "10.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.1", "9.9.9.9," * 500 + "198.51.100.1", "10.0.0.1"),  # longer than any real chain
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_the_first_stranger_from_the_right(
    peer: str, forwarded_for: str, client: str
) -> None:
    assert PROXIES.client(peer, forwarded_for) == client


def test_without_trusted_proxies_the_header_is_nothing() -> None:
    assert Proxies().client("127.0.0.1", "198.51.100.1") == "127.0.0.1"


@given(st.text(max_size=300))
def test_no_header_makes_a_strangers_request_anybody_elses(forwarded_for: str) -> None:
    assert PROXIES.client("203.0.113.9", forwarded_for) == "203.0.113.9"


@given(st.text(max_size=300))
def test_whatever_a_client_sends_before_the_proxys_own_word_changes_nothing(sent: str) -> None:
    if len(sent) < 900:
        assert PROXIES.client("10.0.0.1", f"{sent}, 198.51.100.1") == "198.51.100.1"


@given(st.ip_addresses(v=6))
def test_the_neighbours_of_an_ipv6_address_are_its_64(address: object) -> None:
    found = neighbourhood(str(address))
    real = ip_address(str(address))
    mapped = getattr(real, "ipv4_mapped", None)
    assert found.endswith("/64") or mapped is not None
