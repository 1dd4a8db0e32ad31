"""What FFmpeg lists of packets, and what is made of it."""

from __future__ import annotations

import pytest

from streamwarden.ffmpeg.sampling import PacketReader, PacketTrack

HEAD = """\
#software: Lavf60
#tb 0: 1/90000
#media_type 0: video
#codec_id 0: h264
#dimensions 0: 1920x1080
#sar 0: 0/1
#tb 1: 1/8000
#media_type 1: audio
#codec_id 1: pcm_alaw
#sample_rate 1: 8000
"""


def line(stream: int, dts: int, pts: int, size: int, *, key: bool = False) -> str:
    flags = "" if key else ", F=0x0"
    return f"{stream}, {dts:10}, {pts:10}, {3600:8}, {size:8}, 0x01234567{flags}\n"


def read(*lines: str, piece: int = 7) -> list[PacketTrack]:
    reader = PacketReader()
    data = (HEAD + "".join(lines)).encode()
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
    return list(reader.tracks)


def steady(count: int, *, key_every: int) -> list[str]:
    return [line(0, n * 3600, n * 3600, 1000, key=n % key_every == 0) for n in range(count)]


def test_rate_size_and_key_frames_of_a_steady_picture() -> None:
    picture, sound = read(*steady(101, key_every=50))
    assert (picture.kind, picture.codec, picture.width, picture.height) == (
        "video",
        "h264",
        1920,
        1080,
    )
    assert picture.per_second == pytest.approx(25)
    assert picture.bits_per_second == pytest.approx(25 * 8000)
    assert picture.key_frames_s() == pytest.approx([0, 2, 4])
    assert not picture.reordered()
    assert picture.jumps_s() == []
    assert (sound.codec, sound.packets, sound.per_second, sound.bits_per_second) == (
        "pcm_alaw",
        [],
        None,
        None,
    )


def test_pictures_that_are_shown_in_another_order_are_b_frames() -> None:
    order = [0, 3, 1, 2, 6, 4, 5]
    picture, _ = read(*(line(0, n * 3600, shown * 3600, 9) for n, shown in enumerate(order)))
    assert picture.reordered()
    assert picture.jumps_s() == []


@pytest.mark.parametrize("jump_s", [-60, 3600])
def test_a_jump_of_the_clock_is_seen_and_is_no_b_frame(jump_s: int) -> None:
    late = [line(0, n * 3600 + jump_s * 90_000, n * 3600 + jump_s * 90_000, 9) for n in range(5, 9)]
    picture, _ = read(*steady(5, key_every=5), *late)
    assert picture.jumps_s() == pytest.approx([jump_s], abs=0.1)
    assert not picture.reordered()


def test_a_clock_that_goes_back_stands_still() -> None:
    picture, _ = read(*steady(26, key_every=25), *[line(0, 90_000, 90_000, 9)] * 75)
    assert picture.stood_still_s() == pytest.approx(3, abs=0.1)
    assert picture.per_second == pytest.approx(25)
    assert read(*steady(26, key_every=25))[0].stood_still_s() < 0.1


def test_packets_of_unknown_time_count_for_their_key_frames_alone() -> None:
    picture, _ = read(line(0, -3600, -(2**63), 9), *steady(26, key_every=25))
    assert picture.per_second == pytest.approx(25)
    assert picture.key_frames_s() == pytest.approx([0, 1])
    assert picture.jumps_s() == []


def test_what_is_no_line_of_a_packet_is_passed_over() -> None:
    picture, _ = read("0, NOPTS, NOPTS, 0, 9, 0x0\n", "7, 0, 0, 0, 9, 0x0\n", "x" * 5000 + "\n",
                      "[info] hello\n", line(0, 0, 0, 9, key=True))  # fmt: skip
    assert len(picture.packets) == 1
    assert read()[0].seconds == 0


@pytest.mark.parametrize(
    "odd",
    [
        "#tb 0: 1/0\n", "#tb 0: 1/" + "9" * 500 + "\n", "#tb 0: \0/90000\n", "#dimensions 0: x360\n",
        "#tb 99999999: 1/1\n", "0, 0, " + "9" * 400 + ", 3600, 1, 0x1\n",
    ],
)  # fmt: skip
def test_a_line_that_ffmpeg_cannot_have_written_is_passed_over(odd: str) -> None:
    """A time base of 1/0 ended the probe with ZeroDivisionError."""
    (picture, _) = read(odd, *steady(50, key_every=25))
    assert (picture.width, picture.per_second, picture.seconds) == (1920, 25.0, 1.96)
    assert not picture.reordered()
