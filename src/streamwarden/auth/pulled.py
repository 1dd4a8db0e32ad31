"""Paths that the media server pulls: nobody publishes to them."""

from __future__ import annotations

from collections.abc import Iterable


class PulledPaths:
    """A copy in memory, which the hook reads without a lock. Empty until it is known."""

    def __init__(self) -> None:
        self._paths: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        """Tell whether the path is pulled."""
        return path in self._paths

    def know(self, paths: Iterable[str]) -> None:
        """Take over which paths there are."""
        self._paths = frozenset(paths)
