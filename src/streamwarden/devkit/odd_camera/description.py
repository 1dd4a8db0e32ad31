"""The session description of an odd camera (RFC 4566, RFC 6184 section 8, RFC 7798 section 7)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from streamwarden.devkit.odd_camera.elementary_streams import Codec
from streamwarden.devkit.odd_camera.oddities import Oddities
from streamwarden.devkit.odd_camera.sounds import SoundKind

PICTURE, SOUND, METADATA, BACK_CHANNEL = range(4)
"""The tracks, by the number in their control attribute."""

PICTURE_TYPE: Final = 96

METADATA_TYPE: Final = 107

_HEAD: Final = ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=Odd camera", "c=IN IP4 0.0.0.0", "t=0 0",
                "a=control:*")  # fmt: skip


def described(
    codec: Codec, parameter_sets: Sequence[bytes], sound: SoundKind | None, oddities: Oddities
) -> bytes:
    """Return the description of a camera with these tracks."""
    lines = [*_HEAD, f"m=video 0 RTP/AVP {PICTURE_TYPE}"]
    lines += [f"a=rtpmap:{PICTURE_TYPE} {codec.upper()}/90000"]
    if parameters := _picture_parameters(codec, parameter_sets):
        lines += [f"a=fmtp:{PICTURE_TYPE} {parameters}"]
    lines += [_control(PICTURE)]
    if sound is not None:
        number = sound.payload_type
        lines += [f"m=audio 0 RTP/AVP {number}", f"a=rtpmap:{number} {sound.rtpmap}"]
        lines += [f"a=fmtp:{number} {sound.fmtp}"] if sound.fmtp else []
        lines += [_control(SOUND)]
    if oddities.metadata:
        lines += [f"m=application 0 RTP/AVP {METADATA_TYPE}"]
        lines += [f"a=rtpmap:{METADATA_TYPE} vnd.onvif.metadata/90000", _control(METADATA)]
    if oddities.back_channel:
        lines += ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=sendonly"]
        lines += [_control(BACK_CHANNEL)]
    return ("\r\n".join(lines) + "\r\n").encode()


def _picture_parameters(codec: Codec, sets: Sequence[bytes]) -> str:
    shown = [base64.b64encode(one).decode() for one in sets]
    if codec == "h265":
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        return ";".join(f"{name}={one}" for name, one in zip(names, shown, strict=False))
    mode = "packetization-mode=1"
    if not sets:
        return mode
    profile = sets[0][1:4].hex()
    return f"{mode};profile-level-id={profile};sprop-parameter-sets={','.join(shown)}"


def _control(track: int) -> str:
    return f"a=control:trackID={track}"
