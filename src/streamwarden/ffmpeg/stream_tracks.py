"""The tracks of a stream that a run takes, and the ways in which it takes the sound.

A muxer waits for its tracks. Sound that must be encoded holds back every picture until the encoder has
its first frame, and a sound track that begins later than the picture has no common time with it. So sound
is part of a run only if it flows when the run begins; until then the run takes the picture alone and
listens (``docs/design/0003-a-run.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class SoundWay(StrEnum):
    """How a run takes the sound."""

    COPY = "copy"
    AAC = "aac"
    """Encoded as AAC."""
    LISTEN = "listen"
    """Not recorded: the run takes the picture alone, and reports once sound flows."""
    NONE = "none"


_COPIED: Final = frozenset({"MPEG4-GENERIC", "MP4A-LATM", "OPUS", "MPA", "MPA-ROBUST"})
"""AAC, Opus and MP3 by their names in a session description (RFC 3640, 6416, 7587, 3551, 5219).

All current browsers play them in MP4. FFmpeg's muxer takes more, such as PCM from 6.0 on, which none plays.
"""


@dataclass(frozen=True, slots=True)
class StreamTracks:
    """The codecs of the first picture and the first sound, by their names in the description.

    ``sound`` is None for a stream without sound, ``picture`` empty for one without a picture.
    """

    picture: str
    sound: str | None

    @property
    def sound_way(self) -> SoundWay:
        """How sound that flows is recorded."""
        if self.sound is None:
            return SoundWay.NONE
        return SoundWay.COPY if self.sound.upper() in _COPIED else SoundWay.AAC
