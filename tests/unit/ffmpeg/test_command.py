from __future__ import annotations

import pytest

from streamwarden.ffmpeg.command import ENVIRONMENT, recording_argv
from streamwarden.ffmpeg.stream_tracks import SoundWay, StreamTracks
from tests.unit.ffmpeg.run_order import SampleOrder

FRAGMENTS = (
    "movflags=+frag_keyframe+empty_moov+default_base_moof"
    ":frag_duration=1000000:flush_packets=1:write_prft=wallclock"
    ":max_interleave_delta=500000"
)


def test_the_whole_command_line() -> None:
    url = "rtsp://127.0.0.1:8554/cam/1?token=t"
    assert recording_argv("/usr/bin/ffmpeg", SampleOrder(run=12, url=url, segment_seconds=15)) == [
        *["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--", "/usr/bin/ffmpeg"],
        *["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"],
        *["-protocol_whitelist", "rtsp,rtsps,rtp,tcp,tls"],
        *["-analyzeduration", "1000000", "-fpsprobesize", "0"],
        *["-rtsp_transport", "tcp", "-timeout", "15000000"],
        *["-i", url],
        *["-map", "0:v:0", "-c:v", "copy", "-map", "0:a:0?", "-c:a", "copy"],
        *["-max_interleave_delta", "500000"],
        *["-f", "segment", "-segment_time", "15", "-reset_timestamps", "1"],
        *["-segment_list", "pipe:1", "-segment_list_type", "csv", "-segment_format", "mp4"],
        "-segment_format_options",
        FRAGMENTS,
        "r12-%06d.mp4",
        *["-map", "0:a:0", "-c:a", "copy", "-bsf:a", r"noise=drop=gte(n\,10)"],
        *["-flush_packets", "1", "-f", "framecrc", "pipe:1"],
    ]


@pytest.mark.parametrize("audio", list(SoundWay))
def test_the_video_is_copied_whatever_becomes_of_the_audio(audio: SoundWay) -> None:
    argv = " ".join(recording_argv("ffmpeg", SampleOrder(audio=audio)))
    assert "-map 0:v:0 -c:v copy" in argv
    recorded, _, beside = argv.partition("r1-%06d.mp4")
    assert ("0:a:0?" in recorded) is (audio in {SoundWay.COPY, SoundWay.AAC})
    assert ("-c:a aac -b:a 64k" in recorded) is (audio is SoundWay.AAC)
    assert ("framecrc" in beside) is (audio in {SoundWay.COPY, SoundWay.LISTEN})


def test_a_patient_run_outlasts_ten_minutes_between_key_frames() -> None:
    argv = recording_argv("ffmpeg", SampleOrder(patient=True))
    assert int(argv[argv.index("-timeout") + 1]) > 600_000_000


def test_no_sample_entry_is_asked_for_with_which_ffmpeg_9_drops_parameter_sets() -> None:
    argv = recording_argv("ffmpeg", SampleOrder(tracks=StreamTracks("H265", None)))
    assert "-tag:v" not in argv


@pytest.mark.parametrize(
    ("codec", "way"),
    [
        *[(codec, SoundWay.COPY) for codec in ("MPEG4-GENERIC", "mpeg4-generic", "opus", "MPA")],
        *[(codec, SoundWay.AAC) for codec in ("PCMA", "PCMU", "G722", "G726-32", "L16", "L24")],
        *[(codec, SoundWay.AAC) for codec in ("speex", "FLAC", "AC3", "")],
        (None, SoundWay.NONE),
    ],
)
def test_what_every_browser_plays_is_copied_and_all_else_encoded(
    codec: str | None, way: SoundWay
) -> None:
    assert StreamTracks("H264", codec).sound_way is way


def test_an_audio_choice_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'mp3'"):
        recording_argv("ffmpeg", SampleOrder(audio="mp3"))


def test_a_longer_probe_is_given_in_microseconds() -> None:
    argv = recording_argv("ffmpeg", SampleOrder(probe_s=2.5))
    assert argv[argv.index("-analyzeduration") + 1] == "2500000"


def test_what_would_record_nothing_or_overwrite_is_not_asked_for() -> None:
    argv = " ".join(recording_argv("ffmpeg", SampleOrder()))
    for option in ("-progress", "nobuffer", "strftime", "wallclock_as_timestamps", "-y "):
        assert option not in argv


def test_the_environment_is_ours_alone() -> None:
    assert set(ENVIRONMENT) == {"TZ", "AV_LOG_FORCE_NOCOLOR", "PATH"}
