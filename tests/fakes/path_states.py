"""The media server's paths as a test says that they are, and the calls that it was asked for."""

from __future__ import annotations

from streamwarden.mediamtx.control_api import MediaMtxClient, MediaServerUnavailable, PathState


class FakePaths(MediaMtxClient):
    """Paths that are ready, pulled, or both."""

    def __init__(self) -> None:
        self.states: dict[str, PathState] = {}
        self.away = False
        self.read = 0
        self.called: list[str] = []

    def ready(self, path: str, since: str | None, *, pulled: bool = True) -> None:
        """Let a path be ready since a time, or with None not be ready."""
        self.states[path] = PathState(path, since, pulled)

    def path_states(self) -> list[PathState]:
        self.read += 1
        if self.away:
            raise MediaServerUnavailable("away")
        return list(self.states.values())

    def call_again(self, path: str) -> None:
        self.called.append(path)

    def close(self) -> None:
        pass
