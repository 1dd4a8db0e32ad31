"""One connection to a server of ours: what it may send, how long it may take, how it is closed."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from http import HTTPStatus
from typing import Any, Final

from waitress.channel import HTTPChannel  # type: ignore[import-untyped]  # has no types
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]  # likewise
from waitress.task import ErrorTask  # type: ignore[import-untyped]  # likewise

from streamwarden.http.headers import SECURITY_HEADERS
from streamwarden.http.problems import PROBLEM_JSON, Problem, encode
from streamwarden.http.request_ids import REQUEST_ID_HEADER, request_id_from

REQUEST_S: Final = 20.0
"""How long a request may take to arrive, its body included: 64 KiB in that time is 26 kbit/s."""
TAKING_S: Final = 30.0
TAKING_BYTES: Final = 32 * 1024
"""A client that takes less of an answer in that time is given up: others wait for its thread."""
_DRAIN_READS = 16
_FOLDED = re.compile(rb"\n[ \t]")
_ONE_ONLY = (b"content-length", b"transfer-encoding", b"host")


class StrictParser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Refuses what two servers in a row may understand in two ways (RFC 9112, 5.2, 6.1 and 6.3).

    waitress takes Transfer-Encoding over Content-Length, unfolds folded lines, joins what comes
    twice and ignores a transfer coding in HTTP/1.0. A proxy before it may see other requests there.
    """

    def parse_header(self, header_plus: bytes) -> None:
        """Parse, after a look at the lines as they came; raises ParsingError."""
        if _FOLDED.search(header_plus):
            raise ParsingError("a header field is folded")
        names = [line.partition(b":")[0].strip().lower() for line in header_plus.split(b"\n")[1:]]
        if any(names.count(name) > 1 for name in _ONE_ONLY):
            raise ParsingError("a header field comes twice that may come once")
        if b"transfer-encoding" in names:
            if b"content-length" in names:
                raise ParsingError("Transfer-Encoding and Content-Length contradict each other")
            if not header_plus.partition(b"\n")[0].rstrip().endswith(b"HTTP/1.1"):
                raise ParsingError("Transfer-Encoding is of HTTP/1.1")
        super().parse_header(header_plus)


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """What waitress refuses itself (too large, malformed), said as every other error is."""

    def execute(self) -> None:
        """Answer, and close after that."""
        request_id = request_id_from(self.request.headers.get("X_REQUEST_ID"))
        problem = Problem.of_status(self.request.error.code)
        body = encode(problem, request_id)
        self.status = f"{problem.status} {problem.title}"
        self.response_headers += _headers(request_id)
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection with a limit on how long a request may take to come, and an answer to go."""

    error_task_class = ProblemTask
    parser_class = StrictParser

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - waitress's own
        now = time.monotonic()
        self._began_s: float | None = now  # a connection is made to send a request
        self._taking_since_s = now
        self._taken_bytes = 0
        super().__init__(*arguments, **named)

    def received(self, data: bytes) -> bool:
        """Take what has arrived, and note when a request began that is not yet whole."""
        before = self.request
        taken = bool(super().received(data))
        if self.request is None:
            self._began_s = None
        elif self.request is not before or self._began_s is None:
            self._began_s = time.monotonic()
        return taken

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: FBT001, FBT002 - waitress's
        """Send, and count what the client has taken."""
        sent = int(super().send(data, do_close=do_close))
        self._taken_bytes += sent
        return sent

    def overdue(self, now_s: float) -> bool:
        """Tell whether the other side takes longer than it may. The loop asks about once a second."""
        if not self.total_outbufs_len:
            self._taking_since_s, self._taken_bytes = now_s, 0
        elif now_s - self._taking_since_s >= TAKING_S:
            if self._taken_bytes < TAKING_BYTES:
                return True
            self._taking_since_s, self._taken_bytes = now_s, 0
        return self._began_s is not None and now_s - self._began_s >= REQUEST_S

    def give_up(self) -> None:
        """Close; whoever has begun a request and nothing else is told why, if they still listen."""
        begun = self.request is not None and not self.requests and not self.total_outbufs_len
        if begun and self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.send(_TOO_SLOW)
        self.handle_close()

    def handle_close(self) -> None:
        """Close after reading what has arrived: else the kernel resets and the answer is lost."""
        connection: socket.socket | None = self.socket  # None once closed; called again then
        with contextlib.suppress(OSError):  # nothing more there, or the client has gone
            for _ in range(_DRAIN_READS):
                if connection is None or not connection.recv(65536):
                    break
        super().handle_close()


def _headers(request_id: str) -> list[tuple[str, str]]:
    return [
        ("Content-Type", PROBLEM_JSON),
        (REQUEST_ID_HEADER, request_id),
        ("Cache-Control", "no-store"),
        *SECURITY_HEADERS.items(),
    ]


def _written(status: int) -> bytes:
    """Write a whole answer with a problem and nothing of its request."""
    problem, request_id = Problem.of_status(status), "-"
    body = encode(problem, request_id)
    fields = [*_headers(request_id), ("Content-Length", str(len(body))), ("Connection", "close")]
    lines = [f"HTTP/1.1 {problem.status} {problem.title}", *(f"{n}: {text}" for n, text in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


_TOO_SLOW: Final = _written(HTTPStatus.REQUEST_TIMEOUT)
