"""Asking a camera what it sends: one DESCRIBE (RFC 2326, section 10.2), signed in where it asks for it.

Redirects are told, never followed: whoever is sent somewhere else with a password in hand should know.
Everything is bounded: the answer's size, the number of headers, the time for all of it.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from streamwarden.clients.camera_urls import CameraUrl, parse_camera_url
from streamwarden.clients.digest import Login, authorization, parse_challenge
from streamwarden.errors import InvalidInput, StreamwardenError

_STATUS_LINE: Final = re.compile(rb"RTSP/\d\.\d (\d{3})(?: [^\r\n]*)?\r?\n")
_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_BODY_BYTES: Final = 256 * 1024
_UNAUTHORIZED: Final = 401
_AGENT: Final = "streamwarden"


class Trouble(StrEnum):
    """What kept a camera from describing itself."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    TLS = "tls"
    NOT_RTSP = "not_rtsp"
    REDIRECT = "redirect"
    LOGIN_MISSING = "login_missing"
    LOGIN_WRONG = "login_wrong"
    LOGIN_UNKNOWN = "login_unknown"
    """It asks for a way to sign in that is not known here."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    ERROR = "error"


class NotDescribed(StreamwardenError):
    """The camera did not say what it sends; ``detail`` is a part of the answer, such as a status."""

    code = "camera_not_described"

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble.value} {detail}".strip())
        self.trouble = trouble
        self.detail = detail


def describe(url: CameraUrl, *, timeout_s: float = 10.0) -> str:
    """Return the session description of a camera; all of it takes ``timeout_s`` at most.

    Raises:
        NotDescribed: there is none to be had, and why.
    """
    deadline_s = time.monotonic() + timeout_s
    with _connected(url, deadline_s) as talk:
        answer = talk.ask("DESCRIBE", url.clean)
        if answer.status != _UNAUTHORIZED:
            return _description(answer)
        if url.login is None:
            raise NotDescribed(Trouble.LOGIN_MISSING)
        proof = _proof(answer, url.login, url.clean)
        try:
            return _description(talk.ask("DESCRIBE", url.clean, proof))
        except NotDescribed as error:
            if error.trouble is not Trouble.CLOSED:
                raise
    # Some cameras close the connection with their 401.
    with _connected(url, deadline_s) as talk:
        return _description(talk.ask("DESCRIBE", url.clean, proof))


def distrusted(url: CameraUrl, *, timeout_s: float = 10.0) -> str | None:
    """Return why this machine does not trust the camera's certificate; None where it does.

    MediaMTX refuses such a camera, FFmpeg does not look at certificates.
    """
    try:
        with (
            socket.create_connection((url.host, url.port), timeout=timeout_s) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=url.host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        return None  # it answered a moment ago: whatever this is, it is not its certificate


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    body: bytes = field(repr=False)

    def first(self, name: str) -> str:
        """Return a header's first value, empty where it is missing."""
        return next(iter(self.headers.get(name, ())), "")


def _proof(answer: _Answer, login: Login, uri: str) -> str:
    challenges = [parse_challenge(each) for each in answer.headers.get("www-authenticate", ())]
    proof = authorization(challenges, login, method="DESCRIBE", uri=uri)
    if proof is None:
        raise NotDescribed(
            Trouble.LOGIN_UNKNOWN, ", ".join(sorted({each.scheme for each in challenges}))
        )
    return proof


def _description(answer: _Answer) -> str:
    status = answer.status
    if 300 <= status <= 399:  # noqa: PLR2004 - RFC 2326, section 11.3
        raise NotDescribed(Trouble.REDIRECT, _clean_location(answer.first("location")))
    if trouble := _TROUBLES.get(status):
        raise NotDescribed(trouble)
    if status != 200:  # noqa: PLR2004 - the one that has a description
        raise NotDescribed(Trouble.ERROR, str(status))
    text = answer.body.decode("utf-8", "replace")
    if not text.startswith("v=") or "\nm=" not in text:
        raise NotDescribed(Trouble.NOT_RTSP, "no session description")
    return text


_TROUBLES: Final = {
    401: Trouble.LOGIN_WRONG,
    403: Trouble.FORBIDDEN,
    404: Trouble.NOT_FOUND,
}


def _clean_location(location: str) -> str:
    try:
        return parse_camera_url(location).clean
    except InvalidInput:
        return "somewhere that is no RTSP URL"


class _Talk:
    """One connection: a request, its answer, the next. Both ends may be slow, all has one deadline."""

    def __init__(self, connection: socket.socket, deadline_s: float) -> None:
        self._connection = connection
        self._deadline_s = deadline_s
        self._rest = b""
        self._number = 0

    def ask(self, method: str, url: str, proof: str | None = None) -> _Answer:
        """Send a request and read what is answered."""
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", f"User-Agent: {_AGENT}"]
        lines += ["Accept: application/sdp"]
        lines += [f"Authorization: {proof}"] if proof else []
        try:
            self._wait()
            self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            return self._read()
        except ConnectionError as error:
            raise NotDescribed(Trouble.CLOSED) from error

    def _read(self) -> _Answer:
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._check_beginning()
            self._receive()
        self._check_beginning()
        head, self._rest = self._rest[: end + 2], self._rest[end + 4 :]
        found = _STATUS_LINE.match(head)
        if found is None:
            raise NotDescribed(Trouble.NOT_RTSP)
        headers = _headers(head[found.end() :].decode("latin-1"))
        return _Answer(int(found[1]), headers, self._body(headers))

    def _check_beginning(self) -> None:
        if not self._rest.startswith(b"RTSP/"[: len(self._rest)]):
            web = self._rest.startswith((b"HTTP/", b"<"))
            raise NotDescribed(Trouble.NOT_RTSP, "a web server" if web else "")
        if len(self._rest) > _MAX_HEAD_BYTES:
            raise NotDescribed(Trouble.NOT_RTSP, "endless headers")

    def _body(self, headers: Mapping[str, Sequence[str]]) -> bytes:
        text = next(iter(headers.get("content-length", ())), "0")
        if not (text.isascii() and text.isdigit()) or int(text[:9]) > _MAX_BODY_BYTES:
            raise NotDescribed(Trouble.NOT_RTSP, "an answer of absurd length")
        length = int(text[:9])
        while len(self._rest) < length:
            self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        return body

    def _receive(self) -> None:
        self._wait()
        data = self._connection.recv(16384)
        if not data:
            raise NotDescribed(Trouble.CLOSED)
        self._rest += data

    def _wait(self) -> None:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)


def _headers(text: str) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


@contextmanager
def _connected(url: CameraUrl, deadline_s: float) -> Iterator[_Talk]:
    """Connect and talk; whatever goes wrong on the way is told as NotDescribed."""
    try:
        with _connection(url, deadline_s) as connection:
            yield _Talk(connection, deadline_s)
    except socket.gaierror as error:
        raise NotDescribed(Trouble.UNRESOLVED) from error
    except ssl.SSLError as error:
        raise NotDescribed(Trouble.TLS, error.reason or "") from error
    except TimeoutError as error:
        raise NotDescribed(Trouble.TIMEOUT) from error
    except ConnectionRefusedError as error:
        raise NotDescribed(Trouble.REFUSED) from error
    except OSError as error:
        raise NotDescribed(Trouble.UNREACHABLE, error.strerror or "") from error


def _connection(url: CameraUrl, deadline_s: float) -> socket.socket:
    left_s = max(0.1, deadline_s - time.monotonic())
    connection = socket.create_connection((url.host, url.port), timeout=left_s)
    if not url.secure:
        return connection
    try:
        return _unverified().wrap_socket(connection, server_hostname=url.host)
    except BaseException:
        connection.close()
        raise


def _unverified() -> ssl.SSLContext:
    # Cameras sign their own certificates, and nothing here is kept: the probe only listens.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
