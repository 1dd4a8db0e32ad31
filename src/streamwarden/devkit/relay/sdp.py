"""Session descriptions (RFC 4566): the relay's changes to them, and codec names for its lists."""

from __future__ import annotations

from collections.abc import Iterator

from streamwarden.mediamtx.rtsp_client import SdpTrack, sections_of, tracks_of

# MediaMTX's names of codecs (internal/formatlabel).
_LABELS = {
    "H264": "H264",
    "H265": "H265",
    "MPEG4-GENERIC": "MPEG-4 Audio",
    "MP4A-LATM": "MPEG-4 Audio LATM",
    "OPUS": "Opus",
    "PCMA": "G711",
    "PCMU": "G711",
    "JPEG": "M-JPEG",
    "AV1": "AV1",
    "VP8": "VP8",
    "VP9": "VP9",
}


def label_of(track: SdpTrack) -> str:
    """Return MediaMTX's name for a track's codec."""
    return _LABELS.get(track.codec.upper(), "Generic")


def with_track_controls(sdp: str) -> str:
    """Replace the publisher's controls by ``trackID=N``, as MediaMTX does."""
    head, *media = sections_of(sdp)
    lines = list(_without_controls(head))
    for number, section in enumerate(media):
        lines += [*_without_controls(section), f"a=control:trackID={number}"]
    return "\r\n".join(lines) + "\r\n"


def padded_with_metadata(sdp: str, count: int) -> str:
    """Add ONVIF metadata tracks without data until there are ``count`` tracks."""
    extra = [
        f"m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
        f"a=control:trackID={number}\r\n"
        for number in range(len(tracks_of(sdp)), count)
    ]
    return sdp + "".join(extra)


def absurd() -> str:
    """Return an absurd description: thousands of tracks, numbers out of range."""
    head = "v=0\r\no=- 0 0 IN IP4 999.999.999.999\r\ns=" + "x" * 65536 + "\r\nt=-1 -1\r\n"
    track = (
        "m=video 99999999999 RTP/AVP -1 4294967296\r\na=rtpmap:-1 H264/-90000\r\n"
        "a=fmtp:-1 sprop-parameter-sets=" + "A" * 4096 + "\r\na=control:" + "/" * 512 + "\r\n"
    )
    return head + track * 1000


def _without_controls(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if not line.startswith("a=control:"))
