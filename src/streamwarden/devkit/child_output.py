"""What a child prints: redacted, bounded, the last of it kept."""

from __future__ import annotations

from collections import deque

import structlog

from streamwarden.auth.rtsp_urls import redact

log = structlog.get_logger(__name__)
_LINE_CHARS = 500
_KEPT_LINES = 20
_LOGGED_LINES = 200
"""Logged of one child's life. A child that floods its output must not fill ours."""


class ChildOutput:
    """The output of one child. ``feed`` belongs to one thread; ``tail`` may be read from any."""

    def __init__(self, child: str) -> None:
        self._child = child
        self._partial = b""
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)
        self._lines = 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, redacted."""
        return tuple(self._kept)

    @property
    def last_line(self) -> str:
        """The last line, redacted, or nothing."""
        tail = self.tail
        return tail[-1] if tail else ""

    def feed(self, data: bytes) -> None:
        """Take in what the child has written; no data means that nothing more will come."""
        if not data:
            data = b"\n" if self._partial else b""
        *lines, rest = (self._partial + data).split(b"\n")
        # A line that never ends is cut: what is kept of it stays bounded.
        self._partial = rest[: _LINE_CHARS * 4]
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        text = redact(line.decode("utf-8", "replace").rstrip("\r"))[:_LINE_CHARS]
        if not text:
            return
        self._kept.append(text)
        self._lines += 1
        if self._lines <= _LOGGED_LINES:
            log.debug("child_said", child=self._child, line=text)
        elif self._lines == _LOGGED_LINES + 1:
            log.warning("child_muted", child=self._child, after_lines=_LOGGED_LINES)
