"""Readers of what an attacker may write, each with inputs for it and the errors that it may raise.

A target raises nothing but what its reader's docstring names, and ends in time: that is the whole claim.
``test_readers.py`` tries each shortly; ``make fuzz`` for as long as wanted, under a limit of memory.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jwt
from hypothesis import strategies as st
from pydantic import ValidationError

from streamwarden.actors.wanted_streams import WantedStreams
from streamwarden.auth.jwts import (
    ALGORITHMS,
    JwksInvalid,
    TokenInvalid,
    parse_jwks,
    unverified_claims,
    unverified_expiry,
)
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.stream_tokens import (
    StreamAction,
    StreamTokenRefused,
    StreamTokens,
    stated_claims,
)
from streamwarden.auth.users import Unauthenticated, UserTokens
from streamwarden.clock import rfc3339
from streamwarden.errors import InvalidInput, StreamwardenError
from streamwarden.evidence.export_proof import read_proof
from streamwarden.evidence.seals import decode_entries, read_seal
from streamwarden.evidence.statements import Damaged, parse_signed
from streamwarden.ffmpeg.exit_causes import RunEnd, classify, launch_failure, message
from streamwarden.ffmpeg.run import SegmentListReader
from streamwarden.ffmpeg.sampling import PacketReader, describe_tracks
from streamwarden.http.api.camera_routes import NewCamera
from streamwarden.http.models import Model, Timestamp
from streamwarden.http.validation import parse_json
from streamwarden.mediamtx import control_api
from streamwarden.mediamtx.control_api import MediaServerUnavailable
from streamwarden.mediamtx.rtsp_client import (
    Login,
    NotDescribed,
    _Connection,
    _control,
    _description,
    _Dialogue,
    parse_camera_url,
    tracks_of,
)
from streamwarden.mediamtx.sessions import token_in_query
from streamwarden.mediamtx.source_urls import parse_source
from streamwarden.model import Cause
from streamwarden.mp4.boxes import BoxReader, NotFragmentedMp4, read_trailer
from streamwarden.mp4.formats import format_at_end, formats_in
from streamwarden.mp4.fragments import FragmentScan, PartBuilder, init_bytes, summarise
from streamwarden.mp4.picture import newest_key_frame
from streamwarden.mp4.sound_offset import sound_changes
from streamwarden.mp4.structure import read_structure
from streamwarden.paths import decode_owner, parse_camera_id, parse_live, parse_stored
from streamwarden.recordings.deletion_log import rows_of
from streamwarden.recordings.deletion_rules import CONFIRMED_FILE, STATE_FILE, DeletionRulesFile
from streamwarden.recordings.gap_ledger import decode_ledger
from streamwarden.recordings.root_identity import read_id
from streamwarden.storage.journal import Journal
from streamwarden.storage.pool import decode_cursor
from streamwarden.workers import SerialExecutor, WorkerPool
from tests.fakes.manual_time import ManualClock
from tests.unit.mp4 import box_writer as boxes

GOLDEN: Final = Path(__file__).parents[2] / "golden"
KEY: Final = "0123456789abcdef" * 4
Strategy = st.SearchStrategy[Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A reader: its name, its inputs, and the call, which lets only unexpected errors out."""

    name: str
    inputs: Strategy
    read: Callable[[Any], object]


def _as_text(data: bytes) -> str:
    return data.decode("latin-1")


# Inputs


@st.composite
def mutated(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """A sample in which a few places are changed, cut, doubled or filled."""
    content = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        match draw(st.integers(0, 5)):
            case 0:
                content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                content[at : at + 4] = draw(st.sampled_from(_WORDS))
            case 2:
                del content[at : at + draw(st.integers(1, 64))]
            case 3:
                content[at:at] = content[at : at + draw(st.integers(1, 256))] * 2
            case 4:
                content[at:at] = draw(st.binary(max_size=16))
            case _:
                content[at : at + 8] = draw(st.sampled_from(_LONGS))
    return bytes(content)


_WORDS = (
    *(b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\x08", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"),
    *(b"moov", b"moof", b"mdat", b"traf", b"trun", b"tfhd", b"tfdt", b"mfra", b"trak", b"stsd"),
    *(b"null", b"1e99", b"-1,\n", b"\r\n\r\n", b"\0\0\0\0", b"[[[[", b'":{"', b"9999"),
)
_LONGS = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\0\0\0\1" * 2,
    b"99999999",
    b"\\ud800\\u",
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999-12:00", "2026-01-01"])
    | st.datetimes().map(datetime.isoformat)
    | st.uuids().map(str)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NESTED: Final = (b"[" * 100_000, b'{"a":' * 50_000, b"[" * 990 + b"]" * 990)


@st.composite
def altered(draw: st.DrawFn, samples: Sequence[object]) -> bytes:
    """JSON of a sample in which some values are others, missing, or more."""
    value = json.loads(json.dumps(draw(st.sampled_from(samples))))
    for _ in range(draw(st.integers(0, 4))):
        at = value
        while isinstance(at, dict | list) and at:
            keys = sorted(at) if isinstance(at, dict) else range(len(at))
            key: Any = draw(st.sampled_from(list(keys)))
            inner = at[key]
            if isinstance(inner, dict | list) and inner and draw(st.booleans()):
                at = inner
                continue
            match draw(st.integers(0, 3)):
                case 0:
                    del at[key]
                case 1 if isinstance(at, list):
                    at.extend(at[:20])
                case _:
                    at[key] = draw(values)
            break
    return json.dumps(value).encode()


def json_like(*samples: object) -> Strategy:
    """JSON near the samples, any JSON, and bytes that are none."""
    written = [json.dumps(sample).encode() for sample in samples]
    return (
        altered(samples)
        | mutated(written)
        | values.map(lambda value: json.dumps(value).encode())
        | st.sampled_from(NESTED)
        | st.binary(max_size=64)
    )


# Tokens

_CLAIMS: Final = {
    "sub": "u1", "aud": "streamwarden", "exp": 2_000_000_000, "nbf": 0, "iat": 0, "roles": ["admin"],
    "action": "read", "use": "view", "path": "p", "jti": "j", "camera": "c", "grants": {"a": []},
}  # fmt: skip


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(header: bytes, claims: bytes) -> str:
    body = f"{_part(header)}.{_part(claims)}"
    hashed = jwt.get_algorithm_by_name("HS256").sign(body.encode(), KEY.encode())
    return f"{body}.{_part(hashed)}"


tokens = st.text(max_size=80) | st.builds(
    _signed,
    json_like({"alg": "HS256", "typ": "JWT", "kid": "k1"}),
    json_like(_CLAIMS, _CLAIMS | {"aud": "rtsp"}, _CLAIMS | {"aud": "recordings"}),
)
_users = UserTokens(KEY, audience="streamwarden", roles_claim="roles", clock=ManualClock())
_streams = StreamTokens(parse_keys(f"k1:{KEY}"), ManualClock())
_plays = PlayTokens(parse_keys(f"k1:{KEY}"), ManualClock())


def read_token(token: str) -> None:
    """A token, wherever one is taken."""
    with suppress(Unauthenticated):
        _users.verify(token)
    with suppress(StreamTokenRefused):
        _streams.verify(token, path="p", action=StreamAction.READ)
    with suppress(Unauthenticated):
        _plays.verify(token)
    with suppress(TokenInvalid):
        unverified_claims(token)
    _streams.recall(token)
    stated_claims(token)
    unverified_expiry(token)
    token_in_query(f"token={token}&x=%")


def read_jwks(document: bytes) -> None:
    """An identity provider's keys."""
    with suppress(JwksInvalid):
        parse_jwks(document, ALGORITHMS)


# Evidence


def read_statement(content: bytes) -> None:
    """A seal or a proof."""
    with suppress(Damaged):
        signed = parse_signed(content)
        with suppress(Damaged):
            read_seal(signed)
        read_proof(signed)


def read_entries(content: bytes) -> None:
    """The entries of a seal."""
    with suppress(Damaged):
        decode_entries(content)


# Files of the record root


def in_a_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Write the input into a file first."""

    def reading(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "input"
            path.write_bytes(content)
            return read(path)

    return reading


def read_journal(path: Path) -> None:
    """A journal: every line is taken once, and it ends."""
    lines = path.read_bytes().count(b"\n")
    journal = Journal(path)
    try:
        taken = 0
        while (batch := journal.take(3)).lines:
            taken += batch.lines
            for row in batch.entries:
                assert all(getattr(row, name) is not NotImplemented for name in row.__slots__)
                assert row.started_at.tzinfo is not None
            journal.done(batch)
        assert taken == lines
    finally:
        journal.close()


def read_state(path: Path) -> None:
    """The program's own files: its ledger, wishes, rules and id."""
    content = path.read_bytes()
    with suppress(ValueError):
        decode_ledger(content)
    list(rows_of(content))
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        (state / STATE_FILE).write_bytes(content)
        (state / CONFIRMED_FILE).write_bytes(content)
        rules = DeletionRulesFile(state)
        rules.read()
        rules.take_confirmed()
    WantedStreams(path, _IDLE).all()


_IDLE: Final = SerialExecutor(WorkerPool("fuzz", threads=1))
_STAMP: Final = "2026-03-01T12:00:00.000Z"
_STATE: Final = (
    {
        "gap": {"id": "0" * 32, "started_at": _STAMP, "cause": Cause.INTERNAL.value},
        "covered_until": _STAMP,
        "last_segment": {"started_at": _STAMP, "ended_at": _STAMP, "bytes": 1},
        "closed": [{"id": "0" * 32, "started_at": _STAMP, "ended_at": _STAMP, "cause": "internal"}],
        "clock": {"boot_id": "b", "offset_s": 0.5, "since": _STAMP, "restarted": True, "reach": _STAMP,
                  "entries": [], "twice": [[_STAMP, _STAMP]]},
    },
    [{"camera_id": "0" * 32, "owner": "o", "segment_seconds": 30, "since": _STAMP}],
    [{"reason": "clock", "value": 1.0, "waited_s": 1.0}],
    {
        "clock": {"at": _STAMP, "low": _STAMP, "since": _STAMP, "boottime_s": 1.0, "boot_id": "b",
                  "slack_s": 1.0, "departure": {"ahead_s": 1.0, "since": _STAMP, "waited_s": 1.0,
                  "seen": True}, "misdated": [{"from": _STAMP, "to": _STAMP, "ahead_s": 1.0}]},
        "keep_for_s": 60.0, "total_bytes": 1, "camera_bytes": None,
        "waiting": [{"reason": "clock", "value": 1.0, "waited_s": 1.0}], "released": _STAMP,
    },
)  # fmt: skip


def read_name(name: str) -> None:
    """A name on disk, and the cursor and id in an address."""
    parse_live(name)
    parse_camera_id(name)
    parse_stored("2026-03-01", name)
    parse_stored(name, "120000.000Z-r1-0.mp4")
    for read in (decode_owner, decode_cursor):
        with suppress(ValueError, StreamwardenError):
            read(name)


def read_root_id(path: Path) -> None:
    """The id of a record root."""
    state = path.parent / ".streamwarden"
    state.mkdir()
    path.rename(state / "root-id")
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        read_id(fd, "root-id")
    finally:
        os.close(fd)


# Media

_FRAGMENTS: Final = (
    boxes.header() + boxes.fragment(boxes.run([40, 40])) + boxes.fragment(boxes.run([20])),
    boxes.header(sound=False, version=1) + boxes.timed_fragment(0, boxes.run([40] * 5)),
    boxes.header()
    + boxes.fragment(boxes.run([40]))
    + boxes.fragment(boxes.run([10]), id_=boxes.AUDIO)
    + boxes.trailer({boxes.VIDEO: [0, 40], boxes.AUDIO: [0]}),
    boxes.header() + boxes.fragment(boxes.run_by_default(3), default=5),
)


def read_mp4(path: Path) -> None:
    """A segment, by every reader of segments."""
    for read in (summarise, formats_in):
        with suppress(NotFragmentedMp4):
            read(path)
    fd, size = os.open(path, os.O_RDONLY), path.stat().st_size
    try:
        init_bytes(fd)
        newest_key_frame(fd)
        with suppress(NotFragmentedMp4):
            read_trailer(fd, size)
        with suppress(NotFragmentedMp4):
            list(PartBuilder().feed(FragmentScan().advance(fd, size)))
        with suppress(NotFragmentedMp4):
            file = BoxReader(fd)
            found = read_structure(file, size)
            format_at_end(file, found)
            sound_changes(file, found)
    finally:
        os.close(fd)


# FFmpeg's output

_LINES: Final = (
    b"r1-000000.mp4,0.000000,30.000000\nr1-000001.mp4,30.000000,60.1\n",
    (
        b"#tb 0: 1/90000\n#media_type 0: video\n#codec_id 0: h264\n#dimensions 0: 640x360\n"
        b"0, 0, 0, 3600, 12345, 0x12345678\n0, 3600, NOPTS, 3600, 1, 0x1, F=0x0\n"
    ),
    (
        b"  Stream #0:0: Video: h264 (High), yuv420p, 640x360, 25 fps\n"
        b"  Stream #0:1: Audio: pcm_alaw, 8000 Hz, mono, s16, 64 kb/s\n[rtsp @ 0x1] error 401\n"
    ),
    b"setpriv: x\nNo space left on device\nPermission denied\nConnection refused\n",
)


def read_output(content: bytes) -> None:
    """What FFmpeg writes: its list, its packets, its messages."""
    half = len(content) // 2
    segments, packets = SegmentListReader(1), PacketReader()
    for chunk in (content[:half], content[half:], b"\n"):
        segments.feed(chunk)
        packets.feed(chunk)
    for track in packets.tracks:
        assert track.seconds is not None
        assert track.jumps_s() is not None
        track.stood_still_s()
        track.reordered()
        track.key_frames_s()
        assert track.per_second is None or track.per_second >= 0
        assert track.bits_per_second is None or track.bits_per_second >= 0
    text = content.decode("utf-8", "replace")
    describe_tracks(text)
    launch_failure(text)
    end = RunEnd(
        exit_code=1, stderr=text, wrote_media=False, asked_to_stop=False, killed=None, waited_s=1.0,
        answer_wait_s=15.0,
    )  # fmt: skip
    if (cause := classify(end)) is not None:
        message(cause, end)


# Cameras' answers


class _Socket:
    """A camera's end of a connection: ``answer`` in pieces, then the end."""

    def __init__(self, answer: bytes) -> None:
        self._pieces = [answer[:7], answer[7:500], answer[500:]]

    def recv(self, _most: int) -> bytes:
        while self._pieces:
            if piece := self._pieces.pop(0):
                return piece
        return b""

    def sendall(self, data: bytes) -> None:
        assert data.count(b"\r\n\r\n") == 1, "an answer has put a line into our request"

    def settimeout(self, _s: float) -> None:
        pass


_URL: Final = "rtsp://camera.example/live"
_SDP: Final = (
    b"v=0\r\no=- 0 0 IN IP4 0\r\ns=x\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\n"
    b"a=rtpmap:96 H264/90000\r\na=control:track1\r\nm=audio 0 RTP/AVP 8\r\n"
)
_ANSWERS: Final = (
    b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Base: rtsp://x/\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_SDP), _SDP),
    (
        b'RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm="a", nonce="b", qop="auth", algorithm=MD5\r\n'
        b'WWW-Authenticate: Basic realm="a\\"b"\r\n\r\nRTSP/1.0 200 OK\r\n\r\n'
    ),
    b"RTSP/1.0 302 Moved\r\nLocation: rtsp://u:p@[::1]:99999/x\r\n\r\n",
)


def read_rtsp(answer: bytes) -> None:
    """A camera's answers to DESCRIBE, and its session description."""
    connection: Any = _Socket(answer)
    with suppress(NotDescribed):
        dialogue = _Dialogue(_Connection(connection, 1e12), Login("u", "p"), [])
        found = dialogue.ask("DESCRIBE", _URL)
        text = _description(found)
        tracks_of(text)
        _control(_URL, found, text)


def read_url(text: str) -> None:
    """A camera's URL, as it is typed or redirected to."""
    for read in (parse_camera_url, parse_source):
        with suppress(InvalidInput):
            read(text)


def read_control(content: bytes) -> None:
    """MediaMTX's lists."""
    with suppress(MediaServerUnavailable):
        body = control_api._object(content)
        list(control_api._read("rtspsessions", body))
        for item in control_api._items(body):
            control_api._state_of(item)


# Requests


class _Times(Model):
    at: Timestamp


def read_body(content: bytes) -> None:
    """A JSON body."""
    with suppress(InvalidInput):
        value = parse_json(content)
        for model in (NewCamera, _Times):
            with suppress(ValidationError, InvalidInput):
                model.model_validate(value)


def read_time(value: object) -> None:
    """A time in a body or query; what is taken is written in the same way."""
    with suppress(ValidationError):
        at = _Times.model_validate({"at": value}).at
        assert isinstance(value, str), "taken, though the document says text"
        assert _Times.model_validate({"at": rfc3339(at)}).at == at.replace(
            microsecond=at.microsecond // 1000 * 1000
        )


times = st.builds(
    lambda at, zone: f"{at.isoformat()}{zone}",
    st.datetimes(),
    st.sampled_from(["Z", "+00:00", "-12:00", "+14:00", "+23:59", "-23:59", ""]),
)

SEALS: Final = tuple(
    path.read_bytes() for path in sorted(GOLDEN.glob("*")) if path.suffix in {".seal", ".proof"}
)
ENTRIES: Final = tuple(path.read_bytes() for path in sorted(GOLDEN.glob("*.entries")))
JOURNAL: Final = (GOLDEN / "journal.jsonl").read_bytes()
_SESSIONS: Final = {
    "pageCount": 1,
    "items": [{"id": "a", "state": "read", "path": "p", "query": "token=x", "created": _STAMP,
               "ready": True, "readyTime": _STAMP, "source": {"type": "rtspSource"}}],
}  # fmt: skip
_JWK: Final = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
               "kid": "a", "use": "sig", "key_ops": ["verify"]}  # fmt: skip
_RSA: Final = {"kty": "RSA", "n": "AQAB" * 80, "e": "AQAB", "kid": "b"}
_BODY: Final = {"name": "Yard", "path": "yard", "source_url": "rtsp://a/b", "at": _STAMP}

TARGETS: Final = (
    Target("token", tokens, read_token),
    Target("jwks", json_like({"keys": [_JWK, _RSA]}), read_jwks),
    Target("seal", mutated(SEALS) | st.binary(max_size=99), read_statement),
    Target("entries", mutated(ENTRIES) | json_like({"kind": "gap"}), read_entries),
    Target("journal", mutated([JOURNAL, JOURNAL * 30]) | json_like({}), in_a_file(read_journal)),
    Target("state", json_like(*_STATE), in_a_file(read_state)),
    Target("root id", st.binary(max_size=80), in_a_file(read_root_id)),
    Target("name", st.text(max_size=60) | st.from_regex(r"[r0-9.Z~-]{1,40}\.mp4"), read_name),
    Target("mp4", mutated(_FRAGMENTS), in_a_file(read_mp4)),
    Target("output", mutated(_LINES) | st.binary(max_size=200), read_output),
    Target("rtsp", mutated(_ANSWERS) | st.binary(max_size=200), read_rtsp),
    Target("url", st.text(max_size=60) | mutated([_URL.encode()]).map(_as_text), read_url),
    Target("control", json_like(_SESSIONS), read_control),
    Target("body", json_like(_BODY), read_body),
    Target("time", times | values, read_time),
)  # fmt: skip
