"""One statement has one form, and nothing else is taken for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.evidence.export_proof import (
    ExportProof,
    NamedSeal,
    SignedChange,
    read_proof,
)
from streamwarden.evidence.seal_keys import SealKey
from streamwarden.evidence.seals import (
    NOTHING_BEFORE,
    Entry,
    GapEntry,
    SealDraft,
    SegmentEntry,
    WantedEntry,
    decode_entries,
    encode_entries,
    make_seal,
    ordered,
    read_seal,
)
from streamwarden.evidence.statements import Damaged, line_of, parse_signed, read_line, sign
from streamwarden.recordings.exports import PartOf

KEY = SealKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SealKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
CAMERA = UUID("01234567-89ab-cdef-0123-456789abcdef")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)

moments = st.integers(0, 10**9).map(lambda ms: NOON + timedelta(milliseconds=ms))
spans = st.tuples(moments, moments).map(sorted)
texts = st.text(st.characters(codec="utf-8"), max_size=40)
digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**53)
wanted_entries = spans.map(lambda span: WantedEntry(started_at=span[0], ended_at=span[1]))
gaps = st.builds(
    lambda span, id_, cause: GapEntry(id=id_, started_at=span[0], ended_at=span[1], cause=cause),
    *(spans, st.uuids(), texts),
)
segments = st.builds(
    lambda span, path, size, digest: SegmentEntry(
        path=path,
        started_at=span[0],
        ended_at=span[1],
        media_ms=size,
        size_bytes=size,
        digest=digest,
    ),
    *(spans, texts, numbers, st.none() | digests),
)
entry_lists = st.lists(st.one_of(wanted_entries, gaps, segments), max_size=6)


def stretch(entries: list[Entry]) -> SealDraft:
    return SealDraft(camera_id=CAMERA, from_=NOON, until=NOON, entries=entries, removed_until=None)


@given(entry_lists)
def test_entries_are_read_as_they_were_written(entries: list[Entry]) -> None:
    assert decode_entries(encode_entries(entries)) == ordered(entries)


@given(entry_lists, st.none() | moments, numbers)
def test_a_seal_is_read_as_it_was_signed(
    entries: list[Entry], removed_until: datetime | None, number: int
) -> None:
    made = make_seal(
        KEY, replace(stretch(entries), removed_until=removed_until), after=None, signed_at=NOON
    )
    assert read_seal(parse_signed(made.signed.encoded())) == made.seal
    assert made.signed.by(KEY.public)
    assert not made.signed.by(OTHER.public)
    after = replace(made.head, number=number)
    assert make_seal(KEY, stretch([]), after=after, signed_at=NOON).seal.number == number + 1


@given(entry_lists, st.data())
def test_any_altered_byte_of_a_seal_is_found(entries: list[Entry], data: st.DataObject) -> None:
    content = bytearray(
        make_seal(KEY, stretch(entries), after=None, signed_at=NOON).signed.encoded()
    )
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        signed = parse_signed(bytes(content))
    except Damaged:
        return
    assert not signed.by(KEY.public)


@given(entry_lists, st.data())
def test_entries_with_one_dropped_repeated_inserted_or_swapped_are_other_entries(
    entries: list[Entry], data: st.DataObject
) -> None:
    body = encode_entries(entries)
    lines = body.splitlines(keepends=True)
    extra = line_of(data.draw(segments).fields())
    changed = [
        *([*lines[:at], *lines[at + 1 :]] for at in range(len(lines))),
        *([*lines[:at], lines[at], *lines[at:]] for at in range(len(lines))),
        *([*lines[:at], extra, *lines[at:]] for at in range(len(lines) + 1)),
        *(
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
            for at in range(len(lines) - 1)
            if lines[at] != lines[at + 1]
        ),
    ]
    seal = make_seal(KEY, stretch(entries), after=None, signed_at=NOON)
    assert seal.body == body
    assert all(b"".join(one) != body for one in changed)


@given(entry_lists)
def test_a_proof_is_read_as_it_was_signed(entries: list[Entry]) -> None:
    proof = ExportProof(
        export_id=CAMERA,
        camera_id=CAMERA,
        from_=NOON,
        to=NOON,
        until=NOON,
        size_bytes=7,
        digest=bytes(32),
        entries=ordered(entries),
        seals=[NamedSeal(3, bytes(32))],
        key_id=KEY.key_id,
        signed_at=NOON,
        changes=[SignedChange(NOON, cut=True)],
        part=PartOf(CAMERA, 2, 3),
    )
    signed = parse_signed(sign(KEY, proof.fields()).encoded())
    assert read_proof(signed) == proof
    former = {**proof.fields(), "version": 1}
    del former["changes"], former["part"]
    read = read_proof(parse_signed(sign(KEY, former).encoded()))
    assert read == replace(proof, changes=(), part=None)
    with pytest.raises(Damaged):
        read_seal(signed)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_damaged(content: bytes) -> None:
    for read in (parse_signed, decode_entries, read_line):
        try:
            read(content)
        except Damaged:
            continue


def test_a_line_has_one_form() -> None:
    assert line_of({"b": 1, "a": "é\n"}) == '{"a":"é\\n","b":1}\n'.encode()
    refused = [
        '{"b":1,"a":1}\n',
        '{"a": 1}\n',
        '{"a":1}',
        '{"a":1,"a":1}\n',
        "[]\n",
        '{"a":1.0}\n ',
    ]
    for line in [*refused, '{"a":"\\u00e9"}\n', '{"a":"\\ud800"}\n', "nul\n", "[" * 100_000]:
        with pytest.raises(Damaged):
            read_line(line.encode())


def test_a_signature_has_one_spelling() -> None:
    first, second, _ = (
        make_seal(KEY, stretch([]), after=None, signed_at=NOON).signed.encoded().split(b"\n")
    )
    spellings = [second + b"=", b" " + second, second[:-1], second[:-3] + b"Z==", b""]
    for one in [spelling for spelling in spellings if spelling != second]:
        with pytest.raises(Damaged):
            parse_signed(first + b"\n" + one + b"\n")
    for content in (first, first + b"\n" + second, first + b"\n" + second + b"\n\n"):
        with pytest.raises(Damaged):
            parse_signed(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "streamwarden.export"),
        ("version", 2),
        ("version", True),
        ("number", -1),
        ("number", True),
        ("number", "0"),
        ("camera_id", str(CAMERA).upper()),
        ("previous", "00"),
        ("previous", "F" * 64),
        ("from", "2026-01-31T12:00:00Z"),
        ("from", None),
        ("until", "2026-01-31T13:00:00.000+01:00"),
        ("more", 1),
    ],
)
def test_a_field_that_is_not_as_it_should_be_is_refused(name: str, value: object) -> None:
    made = make_seal(KEY, stretch([]), after=None, signed_at=NOON)
    fields = {**json.loads(made.signed.statement), name: value}
    with pytest.raises(Damaged):
        read_seal(sign(KEY, fields))


def test_the_first_seal_follows_nothing_and_the_next_names_it() -> None:
    first = make_seal(KEY, stretch([]), after=None, signed_at=NOON)
    assert (first.seal.number, first.seal.previous) == (0, NOTHING_BEFORE)
    second = make_seal(KEY, stretch([]), after=first.head, signed_at=NOON)
    assert (second.seal.number, second.seal.previous) == (1, first.signed.hash)
