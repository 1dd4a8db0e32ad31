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


_SLOW_S: Final = 1.0
_RESTS: Final = 3
"""A question that took so long is followed by a rest of so many times its length: a few names that
nobody answers for must not hold up all other cameras."""


class RecentNames:
    """Remembers for seconds. One thread. ``always`` are asked for at once, whatever the others took."""

    def __init__(self, resolve: Resolve, clock: Clock, *, always: Collection[str] = ()) -> None:
        self._always = frozenset(always)
        self._rests_until_s = 0.0
        self._resolve = resolve
        self._clock = clock
        self._found: dict[str, tuple[float, Collection[str] | None]] = {}

    def addresses(self, name: str) -> Collection[str]:
        """Return a name's addresses; raise OSError."""
        now_s = self._clock.monotonic()
        until_s, found = self._found.get(name, (now_s, None))
        if until_s <= now_s:
            if now_s < self._rests_until_s and name not in self._always:
                raise OSError("the name server is slow")
            found = self._ask(name)
            if len(self._found) >= _MOST:
                self._found.clear()
            kept_s = FAILED_S if found is None else FRESH_S
            self._found[name] = (self._clock.monotonic() + kept_s, found)
        if found is None:
            raise OSError("the name cannot be resolved")
        return found

    def _ask(self, name: str) -> Collection[str] | None:
        began_s = self._clock.monotonic()
        try:
            return self._resolve(name)
        except (OSError, UnicodeError):
            return None
        finally:
            ended_s = self._clock.monotonic()
            if ended_s - began_s > _SLOW_S:
                self._rests_until_s = ended_s + _RESTS * (ended_s - began_s)
