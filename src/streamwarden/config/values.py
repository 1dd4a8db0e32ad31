"""Parsers of single settings: durations, sizes, ports, URLs, names and secrets.

Each raises ValueError with a text that says what is valid and never repeats the value: it may be a secret
that was assigned to the wrong variable.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

_DURATION = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*(?P<unit>ms|s|min|h|d|days?)?")


_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


_SECONDS |= dict.fromkeys(("d", "day", "days"), 86_400.0)


_SIZE = re.compile(r"(?P<number>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>%|[KMGT]i?B|B)?")


_BYTES = {"B": 1, **{f"{p}B": 1000**n for n, p in enumerate("KMGT", 1)}}


_BYTES |= {f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)}


_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")


_HOST_AND_PORT = re.compile(
    r"(?P<host>[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>\d{1,5})"
)


MAX_PORT = 65535


_URL_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%#-]{1,2048}")


MIN_RESERVE_BYTES = 1024**2


MAX_RESERVE_FRACTION = 0.5


@dataclass(frozen=True, slots=True)
class Reserve:
    """Space to keep free on the recordings' file system: a fraction of it, or a number of bytes."""

    fraction: float | None = None
    size_bytes: int | None = None

    def bytes_of(self, total_bytes: int) -> int:
        """Return the reserve on a file system of ``total_bytes``."""
        if self.size_bytes is not None:
            return self.size_bytes
        return math.ceil(total_bytes * (self.fraction or 0.0))

    def __str__(self) -> str:
        if self.size_bytes is not None:
            return f"{self.size_bytes} B"
        return f"{(self.fraction or 0.0) * 100:g} %"


def duration(at_least_s: float, at_most_s: float) -> Callable[[object], float]:
    """Return a parser of durations in seconds: ``8``, ``"8 s"``, ``"500 ms"``, ``"2 min"``, ``"1 day"``."""
    wanted = f"give {at_least_s:g} to {at_most_s:g} seconds, such as 8 or '8 s'"

    def parse(value: object) -> float:
        found = _DURATION.fullmatch(_plain(value).strip())
        if found is None:
            raise ValueError(f"is not a duration; {wanted}")
        seconds = float(found["number"]) * _SECONDS[found["unit"]]
        if not at_least_s <= seconds <= at_most_s:
            raise ValueError(f"is out of range; {wanted}")
        return seconds

    return parse


def reserve(value: object) -> Reserve:
    """Parse a free-space reserve: ``"5 %"``, ``0.05`` or ``"10 GiB"``."""
    if isinstance(value, Reserve):
        return value
    wanted = "give '5 %', 0.05 or '10 GiB'"
    found = _SIZE.fullmatch(_plain(value).strip())
    if found is None:
        raise ValueError(f"is neither a share nor a size; {wanted}")
    number, unit = float(found["number"]), found["unit"]
    if unit == "%" or (unit is None and number < 1):
        fraction = number / 100 if unit == "%" else number
        if not 0 < fraction <= MAX_RESERVE_FRACTION:
            raise ValueError(f"is out of range; {wanted}, at most half of the disk")
        return Reserve(fraction=fraction)
    size_bytes = int(number * _BYTES[unit or "B"])
    if size_bytes < MIN_RESERVE_BYTES:
        raise ValueError(f"is less than 1 MiB; {wanted}")
    return Reserve(size_bytes=size_bytes)


def size(value: object) -> int:
    """Parse a number of bytes: ``"500 GiB"`` or ``1073741824``."""
    found = _SIZE.fullmatch(_plain(value).strip())
    if found is None or found["unit"] == "%":
        raise ValueError("is not a size; give bytes, or such as '500 GiB'")
    size_bytes = int(float(found["number"]) * _BYTES[found["unit"] or "B"])
    if size_bytes < MIN_RESERVE_BYTES:
        raise ValueError("is less than 1 MiB; give bytes, or such as '500 GiB'")
    return size_bytes


def whole(at_least: int, at_most: int) -> Callable[[object], int]:
    """Return a parser of whole numbers in a range; true and 1.5 are invalid."""

    def parse(value: object) -> int:
        text = _plain(value).strip()
        if not re.fullmatch(r"\d{1,9}", text) or not at_least <= int(text) <= at_most:
            raise ValueError(f"must be a whole number from {at_least} to {at_most}")
        return int(text)

    return parse


def base_url(*schemes: str, path: bool = True) -> Callable[[object], str]:
    """Return a parser of base URLs: scheme and host, no user, no query; ``path`` allows a path prefix."""
    example = f"{schemes[0]}://host:port"

    def parse(value: object) -> str:
        parts = split_url(value, schemes, example=example)
        if "@" in parts.netloc:
            raise ValueError(f"must hold no user or password; write {example}")
        if parts.query or parts.fragment:
            raise ValueError(f"must hold no query and no fragment; write {example}")
        if not path and parts.path.strip("/"):
            raise ValueError(f"must hold no path; write {example}")
        return parts.geturl().rstrip("/")

    return parse


def jwks_url(value: object) -> str:
    """Parse the URL of an identity provider's keys: https, or http on a loopback address.

    Over http an attacker could replace the keys and sign in as any user.
    """
    example = "https://provider/path/jwks.json"
    parts = split_url(value, ("https", "http"), example=example)
    if "@" in parts.netloc or parts.fragment:
        raise ValueError(f"must hold no user, password or fragment; write {example}")
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ValueError(f"must be https: what is fetched decides who signs in; write {example}")
    return parts.geturl()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def choice_of(*known: str) -> Callable[[object], tuple[str, ...]]:
    """Return a parser of one or more of ``known`` from ``"a, b"`` or a list."""
    wanted = f"give one or more of {', '.join(known)}"

    def parse(value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError(f"is not a list; {wanted}")  # noqa: TRY004 - pydantic reports only ValueError
        named = [part.strip() if isinstance(part, str) else "" for part in parts]
        if not named or set(named) - set(known):
            raise ValueError(f"has an unknown entry; {wanted}")
        return tuple(name for name in known if name in named)

    return parse


def issuer(value: object) -> str:
    """Parse an issuer, a case-sensitive text (RFC 7519, 4.1.1)."""
    text = value if isinstance(value, str) else ""
    if not text.isprintable() or text != text.strip() or not 0 < len(text) <= 500:  # noqa: PLR2004 - far above any real one
        raise ValueError("must be the text that tokens hold as iss, usually a URL")
    return text


def split_url(value: object, schemes: Collection[str], *, example: str) -> SplitResult:
    """Split a URL; raise ValueError, without any part of it, if it is invalid."""
    text = value if isinstance(value, str) else ""
    if not _URL_CHARS.fullmatch(text):
        raise ValueError(f"is not a URL; write {example}")
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"is not a URL; write {example}") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{s}://' for s in schemes)}")
    if not host and not parts.scheme.startswith(
        "postgres"
    ):  # the folder of a socket is in the query
        raise ValueError(f"has no host; write {example}")
    return parts


def host(value: object) -> str:
    """Parse a host name or an IP address."""
    text = value.strip() if isinstance(value, str) else ""
    if not _HOST.fullmatch(text):
        raise ValueError("must be a host name or an IP address, without a port")
    return text.lower()


def targets(value: object) -> tuple[str, ...]:
    """Parse hosts, ``host:port`` and networks from ``"a, b:554, 10.0.0.0/8"`` or a list."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise ValueError("must be hosts with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    return tuple(_target(part.strip() if isinstance(part, str) else "") for part in value)


def _target(text: str) -> str:
    if "/" in text:
        return networks(text)[0]
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= MAX_PORT:
        return host(text)
    return f"{found['host'].lower()}:{int(found['port'])}"


def hosts(value: object) -> tuple[str, ...]:
    """Parse names and addresses from ``"a.example, 10.0.0.1"`` or a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be hosts with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    named = [part.strip() if isinstance(part, str) else "" for part in parts]
    return tuple(host(part) for part in named if part)


def networks_and_hosts(value: object) -> tuple[str, ...]:
    """Parse networks, addresses and names from ``"10.0.0.0/8, camera.example"`` or a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be networks and hosts with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    named = [part.strip() if isinstance(part, str) else "" for part in parts]
    return tuple(networks(part)[0] if "/" in part else host(part) for part in named if part)


def origins(value: object) -> tuple[str, ...]:
    """Parse origins of web pages from ``"https://a.example, http://b.example:8000"`` or a list.

    Each is a scheme and a host as a browser sends them; there is no pattern that stands for several.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be origins with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    named = [part.strip() if isinstance(part, str) else "" for part in parts]
    found = tuple(part for part in named if part)
    if not all(_ORIGIN.fullmatch(part) for part in found):
        raise ValueError(
            "must be origins such as https://app.example or http://localhost:3000: scheme, host in "
            "lower case, a port unless it is the scheme's; no path, no *"
        )
    return found


_ORIGIN = re.compile(
    r"(?:https://|http://)(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?",
    re.ASCII,
)


def networks(value: object) -> tuple[str, ...]:
    """Parse addresses and networks from ``"10.0.0.0/8, 127.0.0.1"`` or a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be addresses with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    named = [part.strip() if isinstance(part, str) else "" for part in parts]
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in named if part)
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.0/8, 127.0.0.1") from None


def claim_name(value: object) -> str:
    """Parse the name of a JWT claim, or a dotted path to a nested claim."""
    text = value if isinstance(value, str) else ""
    if not text.isprintable() or not 0 < len(text) <= 200 or "" in text.split("."):  # noqa: PLR2004 - far above any real name
        raise ValueError("must be a claim's name, such as roles or realm_access.roles")
    return text


def account(value: object) -> str:
    """Parse the name of an account of this machine."""
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text):
        raise ValueError("must be the name of an account, such as streamwarden-ffmpeg")
    return text


def folder(value: object) -> Path:
    """Parse the path of a folder and make it absolute."""
    text = str(value) if isinstance(value, str | Path) else ""
    if not text or not text.isprintable():
        raise ValueError("must be the path of a folder")
    return Path(text).expanduser().absolute()


def paths(value: object) -> tuple[Path, ...]:
    """Parse paths from ``"/opt/ffmpeg, /opt/lib"`` or a list."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("must be paths with commas between them")  # noqa: TRY004 - pydantic reports only ValueError
    named = [part.strip() if isinstance(part, str) else part for part in parts]
    found = tuple(file(part) for part in named if part != "")
    if any(path == path.parent for path in found):
        raise ValueError("must be paths below /")
    return found


def file(value: object) -> Path:
    """Parse the path of a file and make it absolute."""
    try:
        return folder(value)
    except ValueError:
        raise ValueError("must be the path of a file") from None


def node(value: object) -> str:
    """Parse the name of this machine."""
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text):
        raise ValueError("must be a machine's name of letters, digits, dots and dashes")
    return text


def _plain(value: object) -> str:
    """Return a number or a text as text; anything else as a text that no pattern matches."""
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".") if math.isfinite(value) else "no number"
    return str(value) if isinstance(value, int | str) else "no number"


MIN_SECRET_BYTES = 32


MAX_HEADER_SECRETS = 2


HIDDEN = "********"


HOW_TO_MAKE = "openssl rand -hex 32"


_VISIBLE_ASCII = re.compile(r"[!-~]+")


_USER_PASSWORD = re.compile(r"(://[^/?#:@]*:)[^/?#]*(?=@)")


_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)


def shared_secret(value: object) -> str:
    """Parse a secret of at least 32 bytes."""
    text = value if isinstance(value, str) else ""
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes < MIN_SECRET_BYTES:
        raise ValueError(
            f"has {size_bytes} bytes; it needs at least {MIN_SECRET_BYTES}, "
            f"for example from: {HOW_TO_MAKE}"
        )
    return text


def header_secret(value: object) -> str:
    """Parse a secret that is sent in an HTTP header."""
    text = shared_secret(value)
    if not _VISIBLE_ASCII.fullmatch(text):
        raise ValueError(
            "holds spaces or characters that an HTTP header cannot carry; "
            f"make a new one, for example with: {HOW_TO_MAKE}"
        )
    return text


def header_secrets(value: object) -> str:
    """Parse one or two secrets, separated by a comma, that are sent in an HTTP header."""
    text = value if isinstance(value, str) else ""
    tokens = [header_secret(part.strip()) for part in text.split(",")]
    if len(tokens) > MAX_HEADER_SECRETS or len(set(tokens)) < len(tokens):
        raise ValueError("holds more than two tokens, or the same one twice")
    return ",".join(tokens)


def signing_keys(value: object) -> str:
    """Check the length of the signing keys; ``auth.keys`` parses them."""
    text = value if isinstance(value, str) else ""
    shortest = min((len(part.strip()) for part in text.split(",")), default=0)
    if shortest < MIN_SECRET_BYTES:
        raise ValueError(
            "must hold keys of at least 32 bytes with commas between them, "
            f"each as kid:secret or kid:secret@YYYY-MM-DD; make a secret with: {HOW_TO_MAKE}"
        )
    return text


def encryption_keys(value: object) -> str:
    """Check that there are encryption keys; ``mediamtx.credentials`` parses them."""
    text = value if isinstance(value, str) else ""
    if not text.strip():
        raise ValueError(f"must hold keys with commas between them; make one with: {HOW_TO_MAKE}")
    return text


def database_url(value: object) -> str:
    """Parse a Postgres URL; its password may be any text that a URL can hold."""
    split_url(value, ("postgresql", "postgres"), example="postgresql://user:password@host/name")
    return str(value)


def without_password(url: str) -> str:
    """Return ``url`` with its password masked."""
    return _QUERY_PASSWORD.sub(rf"\g<1>{HIDDEN}", _USER_PASSWORD.sub(rf"\g<1>{HIDDEN}", url))
