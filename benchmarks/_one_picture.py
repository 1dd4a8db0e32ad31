"""The devkit's relay, with one difference: a path that nobody publishes shows the first that is.

So one publisher feeds any number of cameras, each with a path, tokens and sessions of its own. Cameras
do not send their key frames in the same instant: each path shows the picture later than the publisher
by its own part of a second, one of ``_PHASES``. What the recorders and the hook see is what a media
server with as many publishers would show them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final
from zlib import crc32

from streamwarden.devkit.relay import __main__ as program
from streamwarden.devkit.relay import hub
from streamwarden.devkit.relay.interleaved import WholeFrames
from streamwarden.devkit.relay.stream import PublishedStream

_PHASES: Final = 25
_KEY_FRAME_EVERY_S: Final = 1.0


class LaterStreams(dict[str, PublishedStream]):
    """The published paths; one that nobody publishes is the first there is, in a phase of its own."""

    def get(self, path: str, default: Any = None) -> Any:  # noqa: ANN401 - as dict's
        """Return the path's own stream, or else a later copy of the one there is."""
        own = super().get(path)
        first = next(iter(self.values()), None)
        if own is not None or first is None:
            return own or default
        return first.copies[crc32(path.encode()) % _PHASES] if isinstance(first, Shown) else first


class Shown(PublishedStream):
    """A published stream and its copies, each later than the one before."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**settings)
        self.copies = [PublishedStream(**settings) for _ in range(_PHASES)]

    def feed(self, data: bytes, span: WholeFrames) -> None:
        """Take whole frames from the publisher."""
        super().feed(data, span)
        loop = asyncio.get_running_loop()
        for number, copy in enumerate(self.copies):
            loop.call_later(number * _KEY_FRAME_EVERY_S / _PHASES, copy.feed, data, span)

    def end(self) -> None:
        """Close every reader."""
        super().end()
        for copy in self.copies:
            copy.end()


class OnePictureHub(hub.Hub):
    """The relay's register."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**settings)
        self.streams = LaterStreams()


if __name__ == "__main__":
    from streamwarden.devkit.relay import dialogue, relay

    setattr(relay, "Hub", OnePictureHub)  # noqa: B010 - the relay offers no other way
    setattr(dialogue, "Stream", Shown)  # noqa: B010
    sys.exit(program.main())
