"""The sound of an odd camera: a tone as RTP payloads of each codec that cameras use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamwarden.devkit.odd_camera.elementary_streams import StreamLibrary
from streamwarden.errors import InvalidInput

_TONE: Final = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2", "-ac", "1")

_OGG_HEAD_BYTES: Final = 27  # RFC 3533 section 6, without the segment table

_OPUS_HEADERS: Final = 2  # RFC 7845 section 3: the identification and the comment header

_ADTS_HEAD_BYTES: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundKind:
    """One codec: its RTP payload type and clock, its session description, and FFmpeg's arguments.

    ``samples`` is the length of a payload in ticks of ``clock_hz``.
    """

    payload_type: int
    rtpmap: str
    clock_hz: int
    samples: int
    encoder: tuple[str, ...]
    payloads_of: Callable[[bytes], Iterator[bytes]]
    fmtp: str | None = None


def _pieces(size: int) -> Callable[[bytes], Iterator[bytes]]:
    def cut(data: bytes) -> Iterator[bytes]:
        return (data[at : at + size] for at in range(0, len(data) - size + 1, size))

    return cut


def _aac_payloads(data: bytes) -> Iterator[bytes]:
    """Cut ADTS at its headers (ISO 13818-7, 6.2); put RFC 3640's AU header before each frame."""
    at = 0
    while at + _ADTS_HEAD_BYTES <= len(data):
        size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        frame = data[at + _ADTS_HEAD_BYTES : at + size]
        yield (16).to_bytes(2, "big") + (len(frame) << 3).to_bytes(2, "big") + frame
        at += size


def _opus_payloads(data: bytes) -> Iterator[bytes]:
    """Take the packets out of Ogg pages (RFC 3533), less the two headers."""
    at, packet, number = 0, b"", 0
    while at + _OGG_HEAD_BYTES <= len(data):
        lengths = data[at + _OGG_HEAD_BYTES :][: data[at + _OGG_HEAD_BYTES - 1]]
        at += _OGG_HEAD_BYTES + len(lengths)
        for length in lengths:
            packet += data[at : at + length]
            at += length
            if length < 255:  # noqa: PLR2004 - a packet ends with the first shorter segment
                if number >= _OPUS_HEADERS:
                    yield packet
                packet, number = b"", number + 1


SOUNDS: Final[Mapping[str, SoundKind]] = {
    "pcma": SoundKind(payload_type=8, rtpmap="PCMA/8000", clock_hz=8000, samples=160,
                      encoder=("-c:a", "pcm_alaw", "-ar", "8000", "-f", "alaw"),
                      payloads_of=_pieces(160)),
    "pcmu": SoundKind(payload_type=0, rtpmap="PCMU/8000", clock_hz=8000, samples=160,
                      encoder=("-c:a", "pcm_mulaw", "-ar", "8000", "-f", "mulaw"),
                      payloads_of=_pieces(160)),
    "l16": SoundKind(payload_type=97, rtpmap="L16/16000", clock_hz=16000, samples=320,
                     encoder=("-c:a", "pcm_s16be", "-ar", "16000", "-f", "s16be"),
                     payloads_of=_pieces(640)),
    "g722": SoundKind(payload_type=9, rtpmap="G722/8000", clock_hz=8000, samples=160,
                      encoder=("-c:a", "g722", "-ar", "16000", "-f", "g722"),
                      payloads_of=_pieces(160)),
    "g726": SoundKind(payload_type=98, rtpmap="G726-32/8000", clock_hz=8000, samples=160,
                      encoder=("-c:a", "g726le", "-ar", "8000", "-b:a", "32k", "-f", "g726le"),
                      payloads_of=_pieces(80)),
    "aac": SoundKind(payload_type=97, rtpmap="MPEG4-GENERIC/16000/1", clock_hz=16000, samples=1024,
                     encoder=("-c:a", "aac", "-b:a", "32k", "-ar", "16000", "-f", "adts"),
                     payloads_of=_aac_payloads,
                     fmtp="streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;"
                          "indexlength=3;indexdeltalength=3;config=1408"),
    "opus": SoundKind(payload_type=97, rtpmap="opus/48000/2", clock_hz=48000, samples=960,
                      encoder=("-c:a", "libopus", "-b:a", "24k", "-f", "ogg"),
                      payloads_of=_opus_payloads, fmtp="sprop-stereo=0"),
}  # fmt: skip
"""The kinds by name. RFC 3551 gives G.722 a clock of 8 kHz, although it has 16000 samples a second."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A tone, encoded; its payloads are sent in a loop."""

    kind: SoundKind
    payloads: Sequence[bytes]


def sound_of(library: StreamLibrary, name: str) -> Sound:
    """Return the tone as ``name`` of ``SOUNDS``; raise CalledProcessError if FFmpeg cannot encode it."""
    kind = SOUNDS.get(name)
    if kind is None:
        raise InvalidInput(f"no such sound; there are {', '.join(SOUNDS)}", field="sound")
    path = library.encoded(f"tone.{name}", (*_TONE, *kind.encoder))
    return Sound(kind, tuple(kind.payloads_of(path.read_bytes())))
