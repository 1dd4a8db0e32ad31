"""Digest and Basic authentication as cameras ask for it (RFC 7616, RFC 7617; RFC 2069 without qop).

Both ends are here: what a client answers to a challenge, and the sum that a server compares with.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

_PARAMETER: Final = re.compile(r"""([A-Za-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))""")
_SUMS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
}
"""By strength, the best first. MD5 is what almost every camera has."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name and password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way that a server offers: the scheme in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """Digest's algorithm, MD5 where none is named."""
        return self.parameters.get("algorithm", "MD5").upper()


def parse_challenge(header: str) -> Challenge:
    """Read one value of ``WWW-Authenticate`` (or of ``Authorization``, which has the same form)."""
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
    """Return the ``Authorization`` for the best of what is offered; None where nothing is known."""
    offered = list(challenges)
    for algorithm in _SUMS:
        for challenge in offered:
            if challenge.scheme == "digest" and challenge.algorithm == algorithm:
                return _digest(challenge, login, method=method, uri=uri)
    if any(challenge.scheme == "basic" for challenge in offered):
        return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return None


def response_of(
    parameters: Mapping[str, str], login: Login, *, method: str, uri: str
) -> str | None:
    """Return the ``response`` that belongs to a digest's parameters; None for another algorithm."""
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
