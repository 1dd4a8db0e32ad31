"""An RTSP client for one DESCRIBE and one SETUP (RFC 2326, section 10), with the camera's URL and login.

Redirects are reported and not followed: the password must not go to another server. The size of the answer
and the time for all of it are bounded.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from streamwarden.errors import InvalidInput, StreamwardenError
from streamwarden.model import Transport

PORTS: Final[Mapping[str, int]] = {"rtsp": 554, "rtsps": 322}
"""RFC 7826, section 4.2."""

_MAX_URL_CHARS: Final = 2048

_MAX_HEAD_BYTES: Final = 16 * 1024

_MAX_BODY_BYTES: Final = 256 * 1024

_AGENT: Final = "streamwarden"

_UNAUTHORIZED: Final = 401

_STATUS_LINE: Final = re.compile(rb"RTSP/\d\.\d (\d{3})(?: [^\r\n]*)?\r?\n")


class Trouble(StrEnum):
    """The reasons why a camera did not describe its stream."""

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
    """The camera asks for an authentication scheme that is not supported."""
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    TRANSPORT_REFUSED = "transport_refused"
    """The camera describes its stream, and does not send it in the way that was asked for (461)."""
    NOT_ACCEPTABLE = "not_acceptable"
    BUSY = "busy"
    """The camera has as many viewers, or sends as much, as it can (453, 503)."""
    NO_SESSION = "no_session"
    TLS_NEEDED = "tls_needed"
    SERVER_ERROR = "server_error"
    ERROR = "error"


class NotDescribed(StreamwardenError):
    """The camera sent no session description; ``detail`` is part of its answer, such as a status."""

    code = "camera_not_described"

    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(f"{trouble.value} {detail}".strip())
        self.trouble = trouble
        self.detail = detail


def describe(url: CameraUrl, *, timeout_s: float = 10.0) -> str:
    """Return the session description of a camera; all of it takes ``timeout_s`` at most.

    Raises:
        NotDescribed: there is none; ``trouble`` has the reason.
    """
    deadline_s = time.monotonic() + timeout_s
    with _in_clear(url, deadline_s), _connected(url, deadline_s) as connection:
        answer = connection.ask("DESCRIBE", url.clean)
        if answer.status != _UNAUTHORIZED:
            return _description(answer)
        if url.login is None:
            raise NotDescribed(Trouble.LOGIN_MISSING)
        proof = _proof(answer, url.login, url.clean)
        try:
            return _description(connection.ask("DESCRIBE", url.clean, proof))
        except NotDescribed as error:
            if error.trouble is not Trouble.CLOSED:
                raise
    # Some cameras close the connection with their 401.
    with _connected(url, deadline_s) as connection:
        return _description(connection.ask("DESCRIBE", url.clean, proof))


def set_up(url: CameraUrl, transport: Transport, *, timeout_s: float = 10.0) -> None:
    """Ask a camera for its first picture by ``transport``, which is not automatic; play nothing.

    The session is given back at once. All of it takes ``timeout_s`` at most.

    Raises:
        NotDescribed: the camera does not describe its stream, or does not send it in that way.
    """
    deadline_s = time.monotonic() + timeout_s
    challenges: list[Challenge] = []
    with _in_clear(url, deadline_s):
        try:
            _set_up(url, transport, deadline_s, challenges)
        except NotDescribed as error:
            # Some cameras close the connection with their 401.
            if error.trouble is not Trouble.CLOSED or not challenges:
                raise
            _set_up(url, transport, deadline_s, challenges)


def _set_up(
    url: CameraUrl, transport: Transport, deadline_s: float, challenges: list[Challenge]
) -> None:
    with _connected(url, deadline_s) as connection, _rtp_port() as port:
        dialogue = _Dialogue(connection, url.login, challenges)
        described = dialogue.ask("DESCRIBE", url.clean)
        description = _description(described)
        control = _control(url.clean, described, description)
        offered = _OFFERS[transport].format(port=port, next=port + 1)
        answer = dialogue.ask("SETUP", control, f"Transport: {offered}")
        _check_status(answer.status)
        chosen = answer.first("transport").upper()
        if (session := answer.first("session").partition(";")[0]) and _SESSION.fullmatch(session):
            dialogue.tell("TEARDOWN", control, f"Session: {session}")
        if transport is not Transport.TCP and "TCP" in chosen:
            raise NotDescribed(Trouble.TRANSPORT_REFUSED, "it answers with TCP")


_OFFERS: Final = {
    Transport.TCP: "RTP/AVP/TCP;unicast;interleaved=0-1",
    Transport.UDP: "RTP/AVP;unicast;client_port={port}-{next}",
    Transport.MULTICAST: "RTP/AVP;multicast",
}

_SESSION: Final = re.compile(r"[\x21-\x7e]{1,128}")


class _Dialogue:
    """Requests of one connection, each with the proof that the camera asks for.

    ``challenges`` are the camera's latest ones, empty before the first.
    """

    def __init__(
        self, connection: _Connection, login: Login | None, challenges: list[Challenge]
    ) -> None:
        self._connection = connection
        self._login = login
        self._challenges = challenges

    def ask(self, method: str, url: str, *headers: str) -> _Answer:
        """Return the answer, to a second request where the first one is challenged."""
        answer = self._connection.ask(method, url, self._proof(method, url), headers)
        if answer.status != _UNAUTHORIZED:
            return answer
        if self._login is None:
            raise NotDescribed(Trouble.LOGIN_MISSING)
        if self._challenges and method == "DESCRIBE":
            return answer
        self._challenges[:] = [
            parse_challenge(each) for each in answer.headers.get("www-authenticate", ())
        ]
        if self._proof(method, url) is None:
            schemes = sorted({each.scheme for each in self._challenges})
            raise NotDescribed(Trouble.LOGIN_UNKNOWN, ", ".join(schemes))
        return self._connection.ask(method, url, self._proof(method, url), headers)

    def tell(self, method: str, url: str, *headers: str) -> None:
        """Send a request whose answer does not matter."""
        with suppress(NotDescribed, OSError):
            self.ask(method, url, *headers)

    def _proof(self, method: str, url: str) -> str | None:
        if self._login is None:
            return None
        return authorization(self._challenges, self._login, method=method, uri=url)


@contextmanager
def _rtp_port() -> Iterator[int]:
    """Hold an even UDP port, as RTP has (RFC 3550, section 11), while it is offered."""
    for _ in range(_PORT_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind(("", 0))
            port = int(holder.getsockname()[1])
            if port % 2 == 0:
                yield port
                return
    raise NotDescribed(Trouble.UNREACHABLE, "no UDP port is free here")


_PORT_TRIES: Final = 64


def _control(url: str, answer: _Answer, description: str) -> str:
    """Return the URL of the first picture (RFC 2326, appendix C.1.1), or else of the first track."""
    tracks = tracks_of(description)
    track = next((one for one in tracks if one.kind == "video"), tracks[0])
    base = answer.first("content-base") or answer.first("content-location") or url
    control = track.control
    if control.startswith(("rtsp://", "rtsps://")):
        found = control
    elif control in {"", "*"}:
        found = base
    else:
        found = f"{base.rstrip('/')}/{control.lstrip('/')}"
    if not found.isascii() or not found.isprintable() or " " in found:
        raise NotDescribed(Trouble.NOT_RTSP, "a track without a URL")
    return found[:_MAX_URL_CHARS]


def distrusted(
    url: CameraUrl, *, address: str | None = None, timeout_s: float = 10.0
) -> str | None:
    """Return why this machine does not trust the camera's certificate; None if it does.

    MediaMTX refuses such a camera; FFmpeg does not check certificates. ``address`` is the one of the
    host to connect to, None for any.
    """
    try:
        with (
            socket.create_connection(
                (address or url.host, url.port), timeout=timeout_s
            ) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=url.host),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except OSError:
        return None  # the camera answered a moment ago: this is not about its certificate


def _description(answer: _Answer) -> str:
    status = answer.status
    if 300 <= status <= 399:  # noqa: PLR2004 - RFC 2326, section 11.3
        raise NotDescribed(Trouble.REDIRECT, _clean_location(answer.first("location")))
    _check_status(status)
    text = answer.body.decode("utf-8", "replace")
    if not text.startswith("v=") or "\nm=" not in text:
        raise NotDescribed(Trouble.NOT_RTSP, "no session description")
    return text


def _check_status(status: int) -> None:
    """Raise NotDescribed for any status but 200."""
    if trouble := _TROUBLES.get(status):
        raise NotDescribed(trouble, "" if trouble not in _WITH_STATUS else str(status))
    if 500 <= status <= 599:  # noqa: PLR2004 - RFC 2326, section 7.1.1
        raise NotDescribed(Trouble.SERVER_ERROR, str(status))
    if status != 200:  # noqa: PLR2004 - the one that has what was asked for
        raise NotDescribed(Trouble.ERROR, str(status))


_TROUBLES: Final = {
    401: Trouble.LOGIN_WRONG,
    403: Trouble.FORBIDDEN,
    404: Trouble.NOT_FOUND,
    406: Trouble.NOT_ACCEPTABLE,
    453: Trouble.BUSY,
    454: Trouble.NO_SESSION,
    461: Trouble.TRANSPORT_REFUSED,
    503: Trouble.BUSY,
}

_WITH_STATUS: Final = frozenset({Trouble.BUSY})


def _clean_location(location: str) -> str:
    try:
        return parse_camera_url(location).clean
    except InvalidInput:
        return "somewhere that is no RTSP URL"


class _Connection:
    """A connection to a camera, with one deadline for all of its requests."""

    def __init__(self, connection: socket.socket, deadline_s: float) -> None:
        self._connection = connection
        self._deadline_s = deadline_s
        self._rest = b""
        self._number = 0

    def ask(
        self, method: str, url: str, proof: str | None = None, headers: Sequence[str] = ()
    ) -> _Answer:
        """Send a request and read the answer."""
        self._number += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._number}", f"User-Agent: {_AGENT}"]
        lines += ["Accept: application/sdp", *headers]
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
        if self._rest.startswith(_TLS_ALERT):
            raise NotDescribed(Trouble.TLS_NEEDED)
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


_TLS_ALERT: Final = b"\x15\x03"
"""What a server of TLS says to a request in clear (RFC 8446, sections 5.1 and 6)."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, Sequence[str]] = field(repr=False)
    body: bytes = field(repr=False)

    def first(self, name: str) -> str:
        """Return a header's first value, empty where it is missing."""
        return next(iter(self.headers.get(name, ())), "")


def _headers(text: str) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


@contextmanager
def _connected(url: CameraUrl, deadline_s: float) -> Iterator[_Connection]:
    """Connect; raise every fault in the block as NotDescribed."""
    try:
        with _connection(url, deadline_s) as connection:
            yield _Connection(connection, deadline_s)
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


_TLS_WITHIN_S: Final = 1.0


@contextmanager
def _in_clear(url: CameraUrl, deadline_s: float) -> Iterator[None]:
    """Raise TLS_NEEDED where a camera closes a connection in clear and takes one of TLS."""
    try:
        yield
    except NotDescribed as error:
        if error.trouble is not Trouble.CLOSED or url.secure or deadline_s <= time.monotonic():
            raise
        secure = CameraUrl(f"rtsps://{urlsplit(url.clean).netloc}/")
        if urlsplit(url.clean).port is None:
            secure = CameraUrl(f"rtsps://{urlsplit(url.clean).netloc}:{url.port}/")
        ends_s = min(deadline_s, time.monotonic() + _TLS_WITHIN_S)
        with suppress(OSError), _connection(secure, ends_s):
            raise NotDescribed(Trouble.TLS_NEEDED) from error
        raise


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
    # Cameras sign their own certificates; FFmpeg, which records, does not check them either.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# Camera URLs


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """A camera's URL ``clean`` of credentials, and the credentials that it had."""

    clean: str
    login: Login | None = None

    @property
    def host(self) -> str:
        """The host name or address."""
        return urlsplit(self.clean).hostname or ""

    @property
    def port(self) -> int:
        """The port, by default the scheme's."""
        parts = urlsplit(self.clean)
        return parts.port or PORTS[parts.scheme]

    @property
    def secure(self) -> bool:
        """Whether the scheme uses TLS."""
        return self.clean.startswith("rtsps://")

    def with_login(self) -> str:
        """Return the URL with user and password in it, for FFmpeg; it must not be logged or shown."""
        if self.login is None:
            return self.clean
        shown = f"{quote(self.login.user, safe='')}:{quote(self.login.password, safe='')}"
        return self.clean.replace("://", f"://{shown}@", 1)


def parse_camera_url(text: str) -> CameraUrl:
    """Parse a camera's URL; raise InvalidInput, which does not repeat it."""
    if len(text) > _MAX_URL_CHARS or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput("a URL is at most 2048 printable ASCII characters without a blank")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("this is no URL") from None
    if parts.scheme not in PORTS:
        raise InvalidInput("a camera's URL begins with rtsp:// or rtsps://")
    if not host:
        raise InvalidInput("the URL names no host")
    netloc = parts.netloc.rpartition("@")[2]
    clean = urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    if parts.username is None:
        return CameraUrl(clean)
    return CameraUrl(clean, Login(unquote(parts.username), unquote(parts.password or "")))


# Digest and Basic authentication (RFC 7616, RFC 7617; RFC 2069 without qop), for client and server


_PARAMETER: Final = re.compile(r"""([A-Za-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))""")

_SUMS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
"""The strongest first. Almost every camera has MD5."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """An authentication challenge: the scheme in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """Digest's algorithm, MD5 where none is named."""
        return self.parameters.get("algorithm", "MD5").upper()


def parse_challenge(header: str) -> Challenge:
    """Parse one value of ``WWW-Authenticate`` (or of ``Authorization``, which has the same form)."""
    scheme, _, rest = header.strip().partition(" ")
    return Challenge(scheme.lower(), parameters_of(rest))


def parameters_of(text: str) -> Mapping[str, str]:
    """Return the ``name="value"`` pairs of a header, names in lower case."""
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted or not bare else bare
        for name, quoted, bare in _PARAMETER.findall(text)
    }


def authorization(
    challenges: Iterable[Challenge], login: Login, *, method: str, uri: str
) -> str | None:
    """Return the ``Authorization`` for the strongest supported challenge; None without one."""
    offered = list(challenges)
    for algorithm in _SUMS:
        for challenge in offered:
            if challenge.scheme == "digest" and challenge.algorithm == algorithm:
                return _digest(challenge, login, method=method, uri=uri)
    if any(challenge.scheme == "basic" for challenge in offered):
        return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return None


def _proof(answer: _Answer, login: Login, uri: str) -> str:
    challenges = [parse_challenge(each) for each in answer.headers.get("www-authenticate", ())]
    proof = authorization(challenges, login, method="DESCRIBE", uri=uri)
    if proof is None:
        raise NotDescribed(
            Trouble.LOGIN_UNKNOWN, ", ".join(sorted({each.scheme for each in challenges}))
        )
    return proof


def response_of(
    parameters: Mapping[str, str], login: Login, *, method: str, uri: str
) -> str | None:
    """Return the ``response`` to a digest's parameters; None for an unknown algorithm."""
    total = _SUMS.get(parameters.get("algorithm", "MD5").upper())
    if total is None:
        return None
    realm, nonce = parameters.get("realm", ""), parameters.get("nonce", "")
    who = total(f"{login.user}:{realm}:{login.password}".encode())
    what = total(f"{method}:{uri}".encode())
    between = [nonce]
    if "qop" in parameters:
        between += [parameters.get("nc", ""), parameters.get("cnonce", ""), parameters["qop"]]
    return total(":".join([who, *between, what]).encode())


def _digest(challenge: Challenge, login: Login, *, method: str, uri: str) -> str:
    given = {
        name: challenge.parameters[name]
        for name in ("realm", "nonce", "opaque", "algorithm")
        if name in challenge.parameters
    }
    if "auth" in re.split(r"[\s,]+", challenge.parameters.get("qop", "")):
        given |= {"qop": "auth", "nc": "00000001", "cnonce": secrets.token_hex(8)}
    response = response_of(given, login, method=method, uri=uri) or ""
    shown = {"username": login.user, **given, "uri": uri, "response": response}
    return "Digest " + ", ".join(_pair(name, value) for name, value in shown.items())


def _pair(name: str, value: str) -> str:
    if name in {"algorithm", "qop", "nc"}:  # tokens, RFC 7616 section 3.4
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


# Session descriptions (RFC 4566)


_RTPMAP = re.compile(r"a=rtpmap:\d+ ([^/\s]+)/(\d{1,9})")

# RFC 3551 section 6: the payload types that need no rtpmap, as far as cameras use them.
_STATIC_CODECS = {"0": ("PCMU", 8000), "8": ("PCMA", 8000), "26": ("JPEG", 90000)}


@dataclass(frozen=True, slots=True)
class SdpTrack:
    """A media section: its kind and control attribute as written, its codec and clock rate."""

    kind: str
    control: str
    codec: str
    clock_hz: int


def tracks_of(sdp: str) -> tuple[SdpTrack, ...]:
    """Return the media sections in order."""
    return tuple(_track(section) for section in sections_of(sdp)[1:])


def sections_of(sdp: str) -> list[list[str]]:
    """Return the lines of the session, then those of each of its media."""
    sections: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            sections.append([])
        if line:
            sections[-1].append(line)
    return sections


def _track(section: list[str]) -> SdpTrack:
    control = next((line[10:] for line in section if line.startswith("a=control:")), "")
    codec, clock_hz = _STATIC_CODECS.get(section[0].split(" ")[-1], ("", 90000))
    for line in section:
        if found := _RTPMAP.match(line):
            codec, clock_hz = found[1], int(found[2])
    kind = section[0].removeprefix("m=").split(" ")[0]
    return SdpTrack(kind, control, codec, clock_hz)
