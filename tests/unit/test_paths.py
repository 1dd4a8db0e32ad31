from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamwarden.paths import (
    camera_folder,
    decode_owner,
    encode_owner,
    live_name,
    live_pattern,
    parse_live,
    parse_stored,
    stored_name,
)

CAMERA = UUID("11111111-2222-3333-4444-555555555555")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OWNERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
NASTY = [
    "..",
    ".",
    "/",
    "../../etc",
    "a/b",
    "a\0b",
    "%d",
    "~2E",
    ".live",
    ".streamwarden",
    "CON",
    "é",
    "-rf",
]


@pytest.mark.parametrize("owner", NASTY)
def test_a_nasty_owner_stays_in_its_folder(owner: str) -> None:
    folder = camera_folder(Path("/root"), owner, CAMERA)
    assert folder.parent.parent == Path("/root")
    assert Path("/root") in folder.resolve().parents
    assert not folder.parent.name.startswith(".")


@given(OWNERS)
def test_an_owner_comes_back_from_its_folder_name(owner: str) -> None:
    assume(len(owner.encode()) * 3 <= 255)
    assert decode_owner(encode_owner(owner)) == owner


@given(OWNERS)
def test_a_folder_name_holds_nothing_with_a_meaning(owner: str) -> None:
    assume(len(owner.encode()) * 3 <= 255)
    name = encode_owner(owner)
    assert not set(name) & set("%/\\.\0 \n*?[]{}$`'\"")
    assert name.isascii()


@given(OWNERS, OWNERS)
def test_two_owners_never_share_a_folder(one: str, other: str) -> None:
    assume(one != other and max(len(one.encode()), len(other.encode())) * 3 <= 255)
    assert encode_owner(one) != encode_owner(other)


@given(st.text(st.sampled_from("ab~2E_-.F0e"), max_size=12))
def test_only_a_name_that_is_given_is_read(name: str) -> None:
    try:
        owner = decode_owner(name)
    except ValueError:
        return
    assert encode_owner(owner) == name


@pytest.mark.parametrize("name", ["", ".", "~2e", "~41", "a~", "~", "~C3", "a\n", "~zz", "é"])
def test_a_name_that_is_never_given_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"folder name|decode"):
        decode_owner(name)


def test_a_folder_name_has_at_most_255_bytes() -> None:
    assert len(encode_owner("a" * 255)) == 255
    assert len(encode_owner("é" * 42)) == 252
    for owner in ("a" * 256, "é" * 43, ""):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            encode_owner(owner)


def test_an_owner_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_owner("\ud800")


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_live_name_comes_back_and_is_what_ffmpeg_makes_of_the_pattern(
    run: int, number: int
) -> None:
    assert parse_live(live_name(run, number)) == (run, number)
    assert live_pattern(run) % number == live_name(run, number)
    assert live_pattern(run).count("%") == 1


@pytest.mark.parametrize(
    "name",
    [
        "r1-1.mp4",
        "r01-000001.mp4",
        "r1-0000001.mp4",
        "r1-000001.mp4.new",
        "xr1-000001.mp4",
        "r٣-000001.mp4",
        "r1-000001.mp4\n",
        "ledger.json",
        f"r{'9' * 5000}-000001.mp4",
    ],
)
def test_a_strangers_live_file_is_nobodys(name: str) -> None:
    assert parse_live(name) is None


@given(
    st.integers(0, 32_500_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us)),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)
def test_a_stored_name_comes_back_to_the_millisecond(at: datetime, run: int, number: int) -> None:
    day, _, name = stored_name(at, run, number).partition("/")
    parsed = parse_stored(day, name)
    assert parsed is not None
    assert (parsed.run, parsed.number) == (run, number)
    assert timedelta(0) <= at - parsed.started_at < timedelta(milliseconds=1)
    assert parsed.started_at.utcoffset() == timedelta(0)


def test_a_stored_name_is_in_utc_whatever_zone_is_given() -> None:
    east = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert stored_name(east, 7, 3) == "2025-12-31/233000.000Z-r7-3.mp4"


def test_the_hour_that_summer_time_repeats_gives_two_names() -> None:
    zone = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    names = {stored_name(datetime(2026, 10, 25, 2, 30, tzinfo=z), 1, 0) for z in zone}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("day", "name"),
    [
        ("2026-1-5", "120000.000Z-r1-0.mp4"),
        ("2026-02-30", "120000.000Z-r1-0.mp4"),
        ("2026-01-05", "250000.000Z-r1-0.mp4"),
        ("2026-01-05", "120000.000Z-r01-0.mp4"),
        ("2026-01-05", "120000.000Z-r1-00.mp4"),
        ("2026-01-05", "120000.000Z-r1-0.mp4.part"),
        ("2026-01-05", "12٣000.000Z-r1-0.mp4"),
        (".live", "120000.000Z-r1-0.mp4"),
        ("2026-01-05", "r1-000000.mp4"),
    ],
)
def test_a_strangers_stored_file_is_nobodys(day: str, name: str) -> None:
    assert parse_stored(day, name) is None
