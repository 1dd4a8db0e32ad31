"""A camera's newest files by the names that they were recorded under, wherever they are by now."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from streamwarden.media.names import live_name, parse_live

KEPT_FILES: Final = 64
_HELD: Final = 2

Place = tuple[int, int]
"""A file's run and number: they grow together with time."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A file in its final place."""

    path: Path
    started_at: datetime
    ended_at: datetime


class LiveFiles:
    """Finds files while they move from ``.live`` to their final places. Any thread.

    A file that is being followed is held open: between the two places it is in neither for a moment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Replaced as a whole by the one thread that stores the camera's segments: no reader waits.
        self._finished: dict[Place, Finished] = {}
        self._held: dict[Place, int] = {}

    def finished(self, place: Place, file: Finished) -> None:
        """A file has moved to its final place."""
        kept = list(self._finished.items())[-KEPT_FILES + 1 :]
        self._finished = {**dict(kept), place: file}

    def finish_of(self, place: Place) -> Finished | None:
        """Return what a file has become, None where it is open or forgotten."""
        return self._finished.get(place)

    def recording(self) -> set[Place]:
        """Return the files in ``.live``."""
        try:
            names = [entry.name for entry in os.scandir(self.folder)]
        except OSError:
            return set()
        return {place for name in names if (place := parse_live(name)) is not None}

    def newest_first(self) -> list[Place]:
        """Return every file that can be opened, newest first."""
        return sorted({*self.recording(), *self._finished}, reverse=True)

    def open(self, place: Place) -> int | None:
        """Open a file for reading; None where it is gone or too old. The caller closes it."""
        live = self.folder / live_name(*place)
        known, held = self._finished.get(place), self._held.get(place)
        for path in (live, known and known.path, held and Path(f"/proc/self/fd/{held}")):
            if path and (fd := _open(path, follow=path.is_relative_to("/proc"))) is not None:
                return fd
        return None

    def hold(self, place: Place) -> int | None:
        """Open a file once and keep it open; the two that were asked for last stay so."""
        if place not in self._held and (fd := self.open(place)) is not None:
            self._held[place] = fd
            while len(self._held) > _HELD:
                os.close(self._held.pop(next(iter(self._held))))
        return self._held.get(place)

    def let_go(self) -> None:
        """Close what is held."""
        while self._held:
            os.close(self._held.popitem()[1])


def _open(path: Path, *, follow: bool) -> int | None:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
