from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.errors import InvalidInput, Unavailable

OWN = "rtsp://mediamtx:8554"
NAMES = {
    "public": ("93.184.216.34", "2606:2800:220:1::1"),
    "inside": ("10.1.2.3",),
    "half": ("93.184.216.34", "10.1.2.3"),
    "loop": ("127.0.0.1",),
    "link": ("169.254.169.254",),
    "mapped": ("::ffff:127.0.0.1",),
    "any": ("0.0.0.0",),  # noqa: S104 - resolved to, not bound
    "six": ("fd00::7",),
    "nothing": (),
}


def resolve(name: str) -> Collection[str]:
    if name not in NAMES:
        raise OSError("no such name")
    return NAMES[name]


def targets(*allowed: str, own: str = OWN) -> RtspTargets:
    return RtspTargets(own, allowed, resolve)


def refused(url: str, *allowed: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        targets(*allowed).check(url)
    assert caught.value.field == "rtsp_url"
    return str(caught.value)


def test_the_media_server_is_allowed_whatever_its_name_resolves_to() -> None:
    targets().check("rtsp://mediamtx:8554/cam?token=x")
    targets(own="rtsp://127.0.0.1:8554").check("rtsp://127.0.0.1:8554/cam")
    targets(own="rtsps://inside").check("rtsps://inside:322/cam")


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://mediamtx/cam", "rtsp://mediamtx:22/cam", "rtsp://mediamtx:8554.evil/cam",
        "rtsp://other:8554/cam", "rtsp://public:8554/cam", "rtsp://127.0.0.1:8554/cam",
        "rtsp://[::1]:8554/cam", "rtsp://2130706433:8554/cam", "rtsp://0x7f.1:8554/cam",
        "rtsp://mediamtx.:8554/cam", "rtsp://mediamtx:0/cam", "rtsp://localhost:8554/cam",
    ],
)  # fmt: skip
def test_nothing_else_is_allowed_by_itself(url: str) -> None:
    assert "configured" in refused(url) or "port" in refused(url) or "URL" in refused(url)


@pytest.mark.parametrize("name", ["inside", "half", "loop", "link", "mapped", "any", "six"])
def test_an_allowed_name_that_turns_into_an_address_inside_is_refused(name: str) -> None:
    assert "turns into" in refused(f"rtsp://{name}:554/cam", name)


def test_an_allowed_name_with_public_addresses_is_allowed() -> None:
    targets("public").check("rtsp://public:554/cam")


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("inside", "10.0.0.0/8"),
        ("inside", "10.1.2.3"),
        ("half", "10.1.2.3:554"),
        ("six", "fd00::/8"),
    ],
)
def test_an_address_inside_is_allowed_where_it_is_listed_too(name: str, listed: str) -> None:
    targets(name, listed).check(f"rtsp://{name}:554/cam")


def test_a_listed_network_allows_its_addresses_and_no_name() -> None:
    targets("10.0.0.0/8").check("rtsp://10.9.9.9:8554/cam")
    assert "configured" in refused("rtsp://inside:554/cam", "10.0.0.0/8")
    assert "configured" in refused("rtsp://11.0.0.1:554/cam", "10.0.0.0/8")


@pytest.mark.parametrize("port", [554, 8554, 322, 8322])
def test_a_host_without_a_port_is_allowed_at_the_usual_ones(port: int) -> None:
    targets("public", "10.1.2.3").check(f"rtsp://public:{port}/cam")
    targets("10.1.2.3").check(f"rtsp://10.1.2.3:{port}/cam")
    for other in (22, 5432, 6379, 8083):
        refused(f"rtsp://public:{other}/cam", "public")
        refused(f"rtsp://10.1.2.3:{other}/cam", "10.1.2.3", "10.0.0.0/8")


def test_a_host_with_a_port_is_allowed_at_that_one() -> None:
    targets("public:7000", "[fd00::7]:7000").check("rtsp://public:7000/cam")
    targets("[fd00::7]:7000").check("rtsp://[fd00::7]:7000/cam")
    refused("rtsp://public:554/cam", "public:7000")


@pytest.mark.parametrize("name", ["nothing", "gone"])
def test_a_name_that_cannot_be_resolved_now_may_be_later(name: str) -> None:
    with pytest.raises(Unavailable):
        targets(name).check(f"rtsp://{name}:554/cam")


@given(st.ip_addresses())
def test_no_address_is_allowed_that_is_not_listed(address: object) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    refused(f"rtsp://{host}:8554/cam", "public")
