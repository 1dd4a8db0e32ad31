"""Publishers in the audit trail: the beginning and the end of each session that publishes.

A camera's picture is what somebody publishes on its path, and any holder of a link may take over from
the one before. The session kicker's list shows who it was, so a segment's time leads to its publisher.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from streamwarden.auth.audit_sink import AuditSink
from streamwarden.clock import Clock, rfc3339
from streamwarden.mediamtx.control_api import MediaSession
from streamwarden.model import AuditEvent

UNKNOWN: Final = "(unknown)"
"""A publisher whose token is not known: it came by password before this process started."""
BEGINNINGS_A_MINUTE: Final = 20
"""Of one path; the trail is no place for a device that connects every second."""
_MINUTE_S: Final = 60.0
_MOST_PATHS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Publisher:
    session: MediaSession
    who: str
    camera_id: UUID | None


class PublisherTrail:
    """Notes sessions that begin and end to publish. Used by the session kicker's thread alone."""

    def __init__(
        self, sink: AuditSink, camera_at: Callable[[str], UUID | None], clock: Clock
    ) -> None:
        self._sink = sink
        self._camera_at = camera_at
        self._clock = clock
        self._known: dict[str, _Publisher | None] = {}
        self._begun: dict[str, deque[float]] = {}

    def seen(self, publishing: Iterable[tuple[MediaSession, str | None]]) -> None:
        """Compare the sessions that publish now, each with its token's user, with the last ones."""
        now = {session.id: (session, who) for session, who in publishing}
        for gone in self._known.keys() - now.keys():
            if (publisher := self._known.pop(gone)) is not None:
                self._note("publish_ended", publisher)
        for new in now.keys() - self._known.keys():
            session, who = now[new]
            self._known[new] = self._began(session, who or UNKNOWN)

    def _began(self, session: MediaSession, who: str) -> _Publisher | None:
        left = self._left(session.path)
        if left == 0:
            return None  # nor is its end noted
        publisher = _Publisher(session, who, self._camera_at(session.path))
        self._note("publish", publisher, **({} if left > 1 else {"more_not_noted_for_s": 60}))
        return publisher

    def _left(self, path: str) -> int:
        now_s = self._clock.monotonic()
        if len(self._begun) >= _MOST_PATHS and path not in self._begun:
            self._begun.clear()
        times_s = self._begun.setdefault(path, deque())
        while times_s and now_s - times_s[0] >= _MINUTE_S:
            times_s.popleft()
        left = BEGINNINGS_A_MINUTE - len(times_s)
        if left:
            times_s.append(now_s)
        return left

    def _note(self, action: str, publisher: _Publisher, **more: object) -> None:
        session = publisher.session
        detail = {
            "path": session.path,
            "session": session.id,
            "since": rfc3339(session.created),
            **more,
        }
        self._sink.note(
            AuditEvent(
                at=self._clock.now(),
                who=publisher.who,
                action=action,
                outcome="done",
                camera_id=publisher.camera_id,
                subject=None,
                address=session.address,
                request_id=None,
                detail=json.dumps(detail, ensure_ascii=False),
            )
        )
