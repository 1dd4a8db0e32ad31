"""What an attacker has: tokens made by hand, raw connections, many of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

FAR_S = 3600


def encoded(part: object) -> str:
    """Return base64url of JSON, or of bytes."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(
    header: Mapping[str, object], claims: Mapping[str, object], key: bytes | None = None
) -> str:
    """Return a JWT with this header, signed by HMAC whatever the header says; unsigned for None."""
    signing_input = f"{encoded(header)}.{encoded(claims)}"
    signature = b"" if key is None else hmac.digest(key, signing_input.encode(), hashlib.sha256)
    return f"{signing_input}.{encoded(signature)}"


def resigned(
    token: str,
    key: bytes,
    *,
    header: Mapping[str, object] | None = None,
    claims: Mapping[str, object] | None = None,
) -> str:
    """Return ``token`` with other claims and header fields, signed anew; None takes a claim out."""
    head, body, _ = token.split(".")
    changed = {**decoded(body), **(claims or {})}
    kept = {name: value for name, value in changed.items() if value is not None}
    return forged({**decoded(head), **(header or {})}, kept, key)


def decoded(part: str) -> dict[str, Any]:
    """Return what a part of a JWT says."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def now_s() -> int:
    """Return the time as tokens have it."""
    return int(time.time())


def raw(base: str, request: bytes, *, timeout_s: float = 30.0) -> bytes:
    """Send bytes as they are; return all that comes back."""
    url = urlsplit(base)
    found = b""
    with socket.create_connection((url.hostname, url.port or 80), timeout=timeout_s) as peer:
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(request)
        with suppress(ConnectionResetError):
            while chunk := peer.recv(65536):
                found += chunk
    return found


@contextmanager
def held_open(base: str, count: int, begun: bytes) -> Iterator[list[socket.socket]]:
    """Hold ``count`` connections open on each of which a request has begun and does not go on."""
    url, held = urlsplit(base), list[socket.socket]()
    try:
        for _ in range(count):
            peer = socket.create_connection((url.hostname, url.port or 80), timeout=30)
            held.append(peer)
            peer.sendall(begun)
        yield held
    finally:
        for peer in held:
            peer.close()
