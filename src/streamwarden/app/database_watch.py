"""The watch over Postgres: whether it answers a role, as a metric for alerts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streamwarden.loops import LoopEvents, ReconcileLoop

_EVERY_S: Final = 5.0
_STOPS_WITHIN_S: Final = 1.0


class DatabaseWatch:
    """Asks the database every 5 s on its own thread. ``on_result`` gets whether it has answered."""

    def __init__(self, check: Callable[[], None], on_result: Callable[[bool], None]) -> None:
        self._check = check
        self._on_result = on_result
        self._loop = ReconcileLoop(
            "database-watch",
            self._once,
            events=LoopEvents(
                failed="database_away", recovered="database_back", bug="database_watch_failed"
            ),
            on_failure=lambda: on_result(False),  # noqa: FBT003 - the one value of a gauge
            stops_within_s=_STOPS_WITHIN_S,
        )

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread."""
        self._loop.stop()

    def _once(self) -> float:
        self._check()
        self._on_result(True)  # noqa: FBT003 - the one value of a gauge
        return _EVERY_S
