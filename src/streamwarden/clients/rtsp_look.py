"""One question to a camera, without credentials: does it speak RTSP, and does it redirect?

A DESCRIBE (RFC 2326, 10.2), of whose answer the first line is read and nothing kept. Bounded in time and
size, whatever is at that address.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from enum import Enum
from typing import Final

_WITHIN_S: Final = 3.0
_MOST_BYTES: Final = 8192
_STATUS = re.compile(rb"RTSP/[0-9]\.[0-9] ([0-9]{3})(?![0-9])")
_REDIRECTS: Final = range(300, 400)


class Look(Enum):
    """What was seen; the values are those of ``auth.source_changes.CameraAnswer``."""

    RTSP = "rtsp"
    REDIRECTS = "redirects"
    OTHER = "other"
    NONE = "none"


def look(address: str, port: int, *, url: str, tls: bool, within_s: float = _WITHIN_S) -> Look:
    """Ask at ``address`` for ``url``, which holds no credentials. Takes ``within_s`` at most."""
    until_s = time.monotonic() + within_s
    try:
        with socket.create_connection((address, port), timeout=within_s) as plain:
            plain.settimeout(_left_s(until_s))
            connection = _unverified().wrap_socket(plain) if tls else plain
            with connection:
                return _asked(connection, url, until_s)
    except (OSError, ValueError):
        return Look.NONE


def _asked(connection: socket.socket, url: str, until_s: float) -> Look:
    lines = (f"DESCRIBE {url} RTSP/1.0", "CSeq: 1", "Accept: application/sdp", "", "")
    connection.settimeout(_left_s(until_s))
    connection.sendall("\r\n".join(lines).encode("ascii"))
    said = b""
    while b"\n" not in said and len(said) < _MOST_BYTES:
        try:
            connection.settimeout(_left_s(until_s))
            more = connection.recv(1024)
        except TimeoutError:
            break
        if not more:
            break
        said += more
    return _judged(said)


def _judged(said: bytes) -> Look:
    if not said:
        return Look.NONE
    status = _STATUS.match(said)
    if status is None:
        return Look.OTHER
    return Look.REDIRECTS if int(status[1]) in _REDIRECTS else Look.RTSP


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _unverified() -> ssl.SSLContext:
    """Nothing secret is sent, and nothing of the answer is believed: MediaMTX looks at the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
