"""The report of a probe: tracks, problems and notes of a sample."""

from __future__ import annotations

import pytest

from streamwarden.cli.probe_command import lines_of
from streamwarden.ffmpeg.sampling import (
    Packet,
    PacketTrack,
    Sample,
    TrackDescription,
    describe_tracks,
    sample_script,
)
from streamwarden.ffmpeg.stream_tracks import SoundWay
from streamwarden.mediamtx.rtsp_client import CameraUrl, Login, NotDescribed, SdpTrack, Trouble
from streamwarden.model import Cause
from streamwarden.probe.advice import TrackHandling
from streamwarden.probe.camera_probe import ProbeReport, ProbeSample, probe_camera, report

URL = CameraUrl("rtsp://192.0.2.7/a", Login("u", "SECRET"))
VIDEO = SdpTrack("video", "t0", "H264", 90_000)
AUDIO = SdpTrack("audio", "t1", "PCMA", 8000)
DATA = SdpTrack("application", "t2", "vnd.onvif.metadata", 90_000)


def picture(codec: str = "h264", *, key_every: int = 25, count: int = 126) -> PacketTrack:
    packets = [Packet(n * 3600, 1000, n % key_every == 0) for n in range(count)]
    return PacketTrack("video", codec, width=640, height=360, packets=packets)


def gone_back() -> PacketTrack:
    """As FFmpeg shows a clock that goes back: the time stands still from then on."""
    track = picture()
    track.packets += [Packet(track.packets[-1].pts, 1000, False)] * 60
    return track


def sound(codec: str = "pcm_alaw", *, count: int = 10) -> PacketTrack:
    return PacketTrack("audio", codec, packets=[Packet(n * 90, 9, True) for n in range(count)])


def probed(
    *tracks: PacketTrack,
    named: tuple[SdpTrack, ...] = (VIDEO,),
    audio: SoundWay | None = SoundWay.COPY,
    cause: Cause | None = None,
    profile: str | None = "High",
) -> ProbeReport:
    said = [TrackDescription(tracks[0].codec, profile, None, None)] if tracks else []
    sample = Sample(tracks=tracks, descriptions=said, cause=cause, audio=audio)
    return report(URL, ProbeSample(named, sample, 10.0))


def codes(found: ProbeReport) -> list[str]:
    return [finding.code for finding in (*found.problems, *found.notes)]


def test_a_good_camera_has_all_its_figures_and_nothing_wrong() -> None:
    found = probed(picture(), sound(), named=(VIDEO, AUDIO, DATA), audio=SoundWay.AAC)
    assert found.good
    assert codes(found) == []
    first, second, third = found.tracks
    assert (first.codec, first.profile, first.width, first.frames_per_second) == (
        "H.264",
        "High",
        640,
        25,
    )
    assert (first.key_frame_s, first.bits_per_second, first.b_frames) == (1, 200_000, False)
    assert [track.handling for track in found.tracks] == [
        TrackHandling.KEPT,
        TrackHandling.MADE_AAC,
        TrackHandling.LEFT_OUT,
    ]
    assert (second.codec, third.codec) == ("G.711 A-law", "ONVIF metadata")
    shown = "\n".join(lines_of(found))
    assert "H.264 High, 640x360, 25 frames/s, a key frame every 1 s, 200 kbit/s" in shown
    assert "SECRET" not in shown + repr(found)
    assert "every browser plays it" in shown


def test_which_browsers_play_it_is_told_to_scripts() -> None:
    for codec, browsers in (("h264", "all"), ("hevc", "some"), ("mjpeg", "none")):
        assert probed(picture(codec)).as_json()["browsers"] == browsers
    assert probed().as_json()["browsers"] is None


def test_a_certificate_that_nobody_vouches_for_is_a_problem() -> None:
    sample = Sample(tracks=[picture()], descriptions=[], cause=None, audio=SoundWay.COPY)
    found = report(URL, ProbeSample((VIDEO,), sample, 10.0, "self-signed certificate"))
    assert codes(found) == ["certificate"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (probed(named=(AUDIO,)), ["no_picture"]),
        (probed(), ["timeout"]),
        (probed(cause=Cause.SOURCE_OFFLINE), ["source_offline"]),
        (probed(picture(), cause=Cause.SOURCE_OFFLINE), ["broke_off"]),
        (probed(picture(key_every=1000, count=100)), []),
        (probed(PacketTrack("video", "h264", packets=picture().packets[1:20])), ["no_key_frame"]),
        (probed(picture(key_every=125)), ["rare_key_frames"]),
        (probed(picture("hevc")), ["some_browsers"]),
        (probed(picture("mjpeg", key_every=1)), ["no_browser"]),
        (probed(picture("vp8"), audio=None), ["unsupported_media", "no_browser"]),
        (probed(picture(), profile="High 4:2:2"), ["no_browser"]),
        (probed(gone_back()), ["time_jumps"]),
        (probed(picture(), sound(count=0), named=(VIDEO, AUDIO)), ["silent_sound"]),
        (probed(picture(), sound("aac"), named=(VIDEO, AUDIO)), ["no_sound_in_preview"]),
    ],
)
def test_each_fault_has_its_word(found: ProbeReport, expected: list[str]) -> None:
    assert codes(found) == expected


def test_only_the_first_picture_is_recorded() -> None:
    found = probed(picture(), picture(), named=(VIDEO, VIDEO))
    assert [track.handling for track in found.tracks] == [
        TrackHandling.KEPT,
        TrackHandling.LEFT_OUT,
    ]


@pytest.mark.parametrize("trouble", list(Trouble))
def test_a_camera_that_is_not_reached_is_told_with_what_to_do(trouble: Trouble) -> None:
    def ask(_: CameraUrl) -> str:
        raise NotDescribed(trouble, "rtsp://198.51.100.1/x")

    found = probe_camera(URL, ffmpeg="/nowhere", seconds=1, ask=ask)
    assert [finding.code for finding in found.problems] == [trouble.value]
    assert found.problems[0].advice
    assert "SECRET" not in "\n".join(lines_of(found))


BANNERS = """\
Input #0, concat, from 'pipe:0':
  Stream #0:0: Video: h264 (Constrained Baseline), yuv420p(progressive), 640x360, 15 fps, 15 tbr
  Stream #0:1: Audio: aac (LC), 16000 Hz, mono, fltp
  Stream #0:2: Audio: pcm_alaw, 8000 Hz, mono, s16, 64 kb/s
  Stream #0:3(und): Video: hevc (hev1 / 0x31766568), yuv420p(tv)
Output #0, framecrc, to 'pipe:1':
  Stream #0:0: Video: vp8, yuv420p
"""


def test_profiles_and_sound_are_read_from_ffmpegs_lines_about_its_input() -> None:
    assert describe_tracks(BANNERS) == [
        TrackDescription("h264", "Constrained Baseline", None, None),
        TrackDescription("aac", "LC", 16000, "mono"),
        TrackDescription("pcm_alaw", None, 8000, "mono"),
        TrackDescription("hevc", None, None, None),
    ]


def test_no_url_can_leave_its_quotes_in_the_script() -> None:
    assert b"file 'rtsp://h/a'\n" in sample_script("rtsp://h/a")
    assert b"file 'rtsp://h/'\\''\\ b'\n" in sample_script("rtsp://h/'\\ b")
    for url in ("rtsp://h/\nfile x", "rtsp://h/\rfile x"):
        with pytest.raises(ValueError, match="lines"):
            sample_script(url)
