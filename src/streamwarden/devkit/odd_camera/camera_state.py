"""The stream that an odd camera shows at the moment, and its viewers. Event loop's thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamwarden.devkit.odd_camera.description import described
from streamwarden.devkit.odd_camera.elementary_streams import ElementaryStream
from streamwarden.devkit.odd_camera.oddities import Oddities, Sets
from streamwarden.devkit.odd_camera.sounds import Sound


class CameraState:
    """The streams, of which one is shown, the sound, the oddities and the viewers of a running camera.

    ``sprop`` are the parameter sets of the session description, None: those of the stream shown.
    """

    def __init__(
        self,
        streams: Sequence[ElementaryStream],
        oddities: Oddities,
        sound: Sound | None,
        sprop: Sequence[bytes] | None,
    ) -> None:
        self.streams = streams
        self.showing = 0
        self.oddities = oddities
        self.sound = sound
        self.sprop = sprop
        self.viewers: set[Callable[[], None]] = set()
        """For each viewer that plays, a function that disconnects it."""
        self.answers: list[tuple[str, int]] = []
        """The method of each request and the status of its answer, oldest first."""

    def stream_at(self, elapsed_s: float) -> ElementaryStream:
        """Return the stream that a viewer gets so long after its start."""
        every_s = self.oddities.swap_every_s
        swaps = int(elapsed_s / every_s) if every_s else 0
        return self.streams[(self.showing + swaps) % len(self.streams)]

    def description(self) -> bytes:
        """Return the session description of this moment."""
        stream = self.streams[self.showing]
        sets = stream.parameter_sets if self.sprop is None else self.sprop
        if self.oddities.sprop == Sets.NONE:
            sets = ()
        kind = self.sound.kind if self.sound is not None else None
        return described(stream.codec, sets, kind, self.oddities)

    def disconnect(self) -> int:
        """Disconnect every viewer; return how many there were."""
        viewers = tuple(self.viewers)
        for leave in viewers:
            leave()
        return len(viewers)
