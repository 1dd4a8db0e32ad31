"""Where cameras may be: private networks where nothing is set, special addresses only if they are meant."""

from __future__ import annotations

import pytest

from streamwarden.config.settings import PRIVATE_NETWORKS
from streamwarden.mediamtx.source_urls import SourceNotAllowed, SourceTargets, SourceUnresolved
from tests.fakes.sources import FakeNames

OWN = ("mediamtx", "10.0.0.2", "postgres")
NAMES = {
    "cam.lan": ["10.0.0.7"],
    "two.lan": ["fd00::7", "10.0.0.9", "10.0.0.8"],
    "half.lan": ["10.0.0.7", "127.0.0.1"],
    "rebound.lan": ["169.254.169.254"],
    "public.example": ["203.0.113.7"],
    "mapped.lan": ["::ffff:127.0.0.1"],
    "mediamtx": ["10.0.0.3"],
    "alias-of-mediamtx": ["10.0.0.3"],
    "odd.lan": ["no address"],
    "empty.lan": [],
}


def targets(*allowed: str) -> SourceTargets:
    return SourceTargets(allowed or PRIVATE_NETWORKS, OWN, FakeNames(dict(NAMES)).resolve)


@pytest.mark.parametrize(
    ("allowed", "host", "addresses"),
    [
        ((), "10.0.0.7", ("10.0.0.7",)),
        ((), "172.31.255.254", ("172.31.255.254",)),
        ((), "192.168.1.1", ("192.168.1.1",)),
        ((), "fd12::7", ("fd12::7",)),
        ((), "::ffff:10.0.0.7", ("10.0.0.7",)),
        ((), "cam.lan", ("10.0.0.7",)),
        ((), "two.lan", ("10.0.0.8", "10.0.0.9", "fd00::7")),
        (("203.0.113.0/24",), "203.0.113.7", ("203.0.113.7",)),
        (("203.0.113.0/24",), "public.example", ("203.0.113.7",)),
        (("public.example",), "public.example", ("203.0.113.7",)),
        (("0.0.0.0/0",), "203.0.113.7", ("203.0.113.7",)),
        (("127.0.0.1",), "127.0.0.1", ("127.0.0.1",)),
        (("127.0.0.0/8",), "127.0.0.9", ("127.0.0.9",)),
        (("::1",), "::1", ("::1",)),
        (("169.254.0.0/16",), "rebound.lan", ("169.254.169.254",)),
        (("10.0.0.2",), "10.0.0.2", ("10.0.0.2",)),
        (("10.0.0.2/32",), "10.0.0.2", ("10.0.0.2",)),
        (("10.0.0.3",), "alias-of-mediamtx", ("10.0.0.3",)),
    ],
)
def test_what_is_listed_is_allowed(
    allowed: tuple[str, ...], host: str, addresses: tuple[str, ...]
) -> None:
    assert targets(*allowed).addresses(host) == addresses


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ((), "203.0.113.7"),
        ((), "8.8.8.8"),
        ((), "2606:4700::1"),
        ((), "100.64.0.1"),
        ((), "public.example"),
        # This machine, its neighbours on the wire, nobody in particular.
        ((), "127.0.0.1"),
        ((), "127.8.8.8"),
        ((), "0.0.0.0"),  # noqa: S104 - refused, not bound
        ((), "169.254.169.254"),
        ((), "224.0.0.1"),
        ((), "255.255.255.255"),
        ((), "::"),
        ((), "::1"),
        ((), "fe80::1"),
        ((), "ff02::1"),
        ((), "::ffff:127.0.0.1"),
        ((), "::127.0.0.1"),
        ((), "64:ff9b::7f00:1"),
        ((), "2002:7f00:1::"),
        ((), "fd00:ec2::254"),
        ((), "half.lan"),
        ((), "rebound.lan"),
        ((), "mapped.lan"),
        # A wide network does not mean a special address in it, nor does a name.
        (("0.0.0.0/0",), "127.0.0.1"),
        (("::/0",), "::1"),
        (("::/0",), "fe80::1"),
        (("half.lan",), "half.lan"),
        (("127.0.0.2",), "127.0.0.1"),
        # The program's own, by address, by name, by another name.
        ((), "10.0.0.2"),
        ((), "mediamtx"),
        ((), "postgres"),
        ((), "alias-of-mediamtx"),
        (("10.0.0.0/30",), "10.0.0.2"),
        (("127.0.0.1",), "10.0.0.7"),
    ],
)
def test_anything_else_is_refused(allowed: tuple[str, ...], host: str) -> None:
    with pytest.raises(SourceNotAllowed) as refused:
        targets(*allowed).addresses(host)
    assert refused.value.field == "source_url"
    assert "STREAMWARDEN_SOURCE_NETWORKS" in str(refused.value)


@pytest.mark.parametrize("host", ["unknown.lan", "odd.lan", "empty.lan"])
def test_a_name_that_turns_into_nothing_is_said_so(host: str) -> None:
    with pytest.raises(SourceUnresolved):
        targets().addresses(host)
