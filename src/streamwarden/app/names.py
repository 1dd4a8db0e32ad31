"""What names turned into a moment ago, so that a sweep over many cameras asks for each name once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from streamwarden.auth.targets import Resolve
from streamwarden.clock import Clock

FRESH_S: Final = 8.0
"""Less than the time between two sweeps: each looks again."""
FAILED_S: Final = 30.0
"""A name server that is away is not asked by every sweep: each question may wait for seconds."""
_MOST: Final = 10_000


class RecentNames:
    """Remembers for seconds. One thread."""

    def __init__(self, resolve: Resolve, clock: Clock) -> None:
        self._resolve = resolve
        self._clock = clock
        self._found: dict[str, tuple[float, Collection[str] | None]] = {}

    def addresses(self, name: str) -> Collection[str]:
        """Return a name's addresses; raise OSError."""
        now_s = self._clock.monotonic()
        until_s, found = self._found.get(name, (now_s, None))
        if until_s <= now_s:
            found = self._ask(name)
            if len(self._found) >= _MOST:
                self._found.clear()
            kept_s = FAILED_S if found is None else FRESH_S
            self._found[name] = (self._clock.monotonic() + kept_s, found)
        if found is None:
            raise OSError("the name cannot be resolved")
        return found

    def _ask(self, name: str) -> Collection[str] | None:
        try:
            return self._resolve(name)
        except (OSError, UnicodeError):
            return None
