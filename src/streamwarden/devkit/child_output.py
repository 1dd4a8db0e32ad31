"""The output of a child process: redacted, logged up to a limit, its last lines kept."""

from __future__ import annotations

from collections import deque

import structlog

from streamwarden.auth.rtsp_urls import redact

log = structlog.get_logger(__name__)
_LINE_CHARS = 500
_KEPT_LINES = 20
_LOGGED_LINES = 200
"""Maximum number of lines of one child that are logged."""


class ChildOutput:
    """The output of one child. ``feed`` is for one thread; ``tail`` for any."""

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
        """The last line, redacted; empty if there is none."""
        tail = self.tail
        return tail[-1] if tail else ""

    def feed(self, data: bytes) -> None:
        """Take the next output; empty data is the end of it."""
        if not data:
            data = b"\n" if self._partial else b""
        *lines, rest = (self._partial + data).split(b"\n")
        # Cut an endless line, so that the buffer stays bounded.
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
