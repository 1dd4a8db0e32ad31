"""MediaMTX's sessions and pulled paths, as a test sets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from streamwarden.mediamtx.control_api import (
    MediaMtxClient,
    MediaServerUnavailable,
    MediaSession,
)


@dataclass
class FakeSessions(MediaMtxClient):
    """The sessions that are there, and what was done, in its order."""

    there: list[MediaSession] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)
    away: bool = False
    stubborn: bool = False

    def open(self, state: str, path: str, *, id_: str | None = None) -> MediaSession:
        session = MediaSession(
            kind="rtspsessions",
            id=id_ or f"{state}-{len(self.there)}",
            state=state,
            path=path,
            query="",
            created=datetime(2026, 1, 1, tzinfo=UTC),
        )
        self.there.append(session)
        return session

    def sessions(self) -> list[MediaSession]:
        if self.away:
            raise MediaServerUnavailable("away")
        return list(self.there)

    def kick(self, session: MediaSession) -> bool:
        self.done.append(("kick", session.id))
        if not self.stubborn:
            self.there = [one for one in self.there if one.id != session.id]
        return True

    def forget(self, path: str) -> None:
        if self.away:
            raise MediaServerUnavailable("away")
        self.done.append(("forget", path))

    def close(self) -> None:
        pass
