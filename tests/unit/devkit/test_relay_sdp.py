from __future__ import annotations

from streamwarden.devkit.relay.sdp import label_of, padded_with_metadata, with_track_controls
from streamwarden.mediamtx.rtsp_client import SdpTrack, tracks_of

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\na=control:*\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=control:streamid=0\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/1\r\na=control:streamid=1\r\n"
    "m=audio 0 RTP/AVP 8\r\na=control:streamid=2\r\n"
)


def test_tracks_have_their_control_codec_and_clock() -> None:
    assert tracks_of(SDP) == (
        SdpTrack("video", "streamid=0", "H264", 90000),
        SdpTrack("audio", "streamid=1", "MPEG4-GENERIC", 44100),
        SdpTrack("audio", "streamid=2", "PCMA", 8000),
    )
    assert [label_of(track) for track in tracks_of(SDP)] == ["H264", "MPEG-4 Audio", "G711"]


def test_controls_are_rewritten_and_all_else_is_kept() -> None:
    rewritten = with_track_controls(SDP)
    assert [track.control for track in tracks_of(rewritten)] == [
        "trackID=0",
        "trackID=1",
        "trackID=2",
    ]
    assert "a=control:*" not in rewritten
    assert "a=fmtp:96 packetization-mode=1\r\n" in rewritten


def test_a_padded_description_has_the_real_tracks_first() -> None:
    padded = tracks_of(padded_with_metadata(with_track_controls(SDP), 10))
    assert len(padded) == 10
    assert padded[:3] == tracks_of(with_track_controls(SDP))
    assert padded[9].control == "trackID=9"
