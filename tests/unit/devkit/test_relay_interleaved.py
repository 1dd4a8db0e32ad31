from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from streamwarden.devkit.relay.interleaved import (
    WholeFrames,
    renumbered,
    shifted,
    whole_frames,
    without_media,
)


def _frame(channel: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0x24, channel, len(payload)) + payload


def _rtp(timestamp: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 96, 7, timestamp, 1) + b"media"


def _sender_report(ntp: int, rtp: int) -> bytes:
    return struct.pack(">BBHIQIII", 0x80, 200, 6, 1, ntp, rtp, 0, 0)


_FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=6)


@given(_FRAMES, st.integers(0, 300))
def test_only_whole_frames_are_taken(frames: list[tuple[int, bytes]], cut: int) -> None:
    encoded = [_frame(*frame) for frame in frames]
    data = b"".join(encoded)[:cut]
    whole, size = 0, 0
    while whole < len(encoded) and size + len(encoded[whole]) <= len(data):
        size += len(encoded[whole])
        whole += 1
    rtcp = sum(channel % 2 for channel, _ in frames[:whole])
    assert whole_frames(data) == WholeFrames(size, whole - rtcp, rtcp)


def test_a_request_behind_the_frames_is_left_alone() -> None:
    frames = _frame(0, b"a") + _frame(1, b"b")
    assert whole_frames(frames + b"TEARDOWN") == WholeFrames(len(frames), 1, 1)


def test_frames_get_the_readers_channels_and_others_are_left_out() -> None:
    data = _frame(0, b"v") + _frame(1, b"r") + _frame(2, b"a")
    assert renumbered(data, {0: 4, 1: 5}) == _frame(4, b"v") + _frame(5, b"r")


def test_without_media_the_reports_remain() -> None:
    assert without_media(_frame(0, b"v") + _frame(1, b"r") + _frame(2, b"a")) == _frame(1, b"r")


def test_a_wrong_clock_moves_the_ntp_time_only() -> None:
    data = _frame(0, _rtp(5)) + _frame(1, _sender_report(10 << 32, 5))
    moved = _frame(0, _rtp(5)) + _frame(1, _sender_report(3610 << 32, 5))
    assert shifted(data, ntp_s=3600, rtp_ticks={}) == moved


def test_a_jump_moves_media_and_report_of_its_track_and_wraps() -> None:
    last = 2**32 - 1
    data = _frame(0, _rtp(last)) + _frame(1, _sender_report(9, last)) + _frame(2, _rtp(1))
    moved = _frame(0, _rtp(9)) + _frame(1, _sender_report(9, 9)) + _frame(2, _rtp(1))
    assert shifted(data, ntp_s=0, rtp_ticks={0: 10}) == moved


def test_packets_too_short_to_have_a_clock_are_passed_on() -> None:
    data = _frame(0, b"") + _frame(1, b"\x80\xc8") + _frame(1, _sender_report(1, 1)[:19])
    assert shifted(data, ntp_s=1, rtp_ticks={0: 1}) == data
