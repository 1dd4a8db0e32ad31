"""What becomes of a camera's source when somebody changes it: one plan, for the API and the CLI.

Cameras' credentials at rest: sealed for one camera, by keys that the database does not hold.

Fernet (AES-128-CBC and HMAC-SHA256 under one key) of ``cryptography`` does the work. The camera's id is
sealed with them: whoever can write the database, and chooses the address of a camera of their own, must
not have another camera's password sent there by copying its row.


Where cameras may be pulled from: ``SOURCE_NETWORKS``, and what a name turns into.

Cameras stand in private networks, so these are allowed where nothing is set. What would have the media
server call this machine, its neighbours' services or a cloud's metadata is allowed only if an entry
means exactly that: a wide network that happens to hold it is not enough.


Addresses of cameras that serve RTSP: read strictly, cleaned of credentials, written for MediaMTX.

What is read here is taken apart again by MediaMTX (Go's ``net/url``, and gortsplib's own rule for
``@``) and by FFmpeg. So nothing is taken that two readers may understand in two ways.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from streamwarden.auth.rtsp_urls import RTSP_PORTS, Address, Resolve, address_of, resolve
from streamwarden.errors import ConfigError, Conflict, InvalidInput, StreamwardenError

MAX_SOURCE_CHARS: Final = 1024


MAX_USERNAME_CHARS: Final = 128


MAX_PASSWORD_CHARS: Final = 256


_CHARS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!&'()*+,;=%-]+")
"""RFC 3986 without ``#`` and ``$``: MediaMTX fills ``$G1`` and ``$MTX_QUERY`` in, from readers."""


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%[01][0-9A-Fa-f]|%7[Ff]")


_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


_NUMBER = re.compile(r"([0-9]+|0[xX][0-9A-Fa-f]*)")
"""As a name's last label: such a host is an address to some readers (127.1, 0x7f000001)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the camera wants to be shown."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """Where a camera serves its stream. ``host`` is a name in lower case or an IP address."""

    scheme: str
    host: str
    port: int
    rest: str
    """Path and query, as they were given."""

    def __str__(self) -> str:
        """Write the address without credentials."""
        return f"{self.scheme}://{self._authority(self.host)}{self.rest}"

    @property
    def place(self) -> tuple[str, str, int]:
        """Who is called there; credentials belong to a place."""
        return self.scheme, self.host, self.port

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and no name."""
        return is_address(self.host)

    def at(self, address: str) -> str:
        """Write the address without credentials, with an IP address in place of the name."""
        return f"{self.scheme}://{self._authority(address)}{self.rest}"

    def for_media_server(self, address: str, credentials: Credentials | None) -> str:
        """Write what MediaMTX pulls: at ``address``, but by its name where TLS needs that."""
        host = self.host if self.scheme == "rtsps" else address
        shown = ""
        if credentials is not None:
            shown = (
                f"{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}@"
            )
        return f"{self.scheme}://{shown}{self._authority(host)}{self.rest}"

    def _authority(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return shown if self.port == RTSP_PORTS[self.scheme] else f"{shown}:{self.port}"


def parse_source(text: str) -> tuple[SourceUrl, Credentials | None]:
    """Return the address, and the credentials that were written into it.

    Raises:
        InvalidInput: it is none, or one that can be read in two ways. No part of it is repeated.
    """
    _check_characters(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise bad_source("is not a URL") from None
    if parts.scheme not in RTSP_PORTS:
        raise bad_source("must be rtsp:// or rtsps://")
    if port == 0:
        raise bad_source("names no port")
    userinfo, _, _ = parts.netloc.rpartition("@")
    url = SourceUrl(
        scheme=parts.scheme,
        host=_host(parts),
        port=RTSP_PORTS[parts.scheme] if port is None else port,
        rest=_rest(parts),
    )
    return url, _credentials_of_userinfo(userinfo)


def check_credentials(credentials: Credentials) -> None:
    """Raise InvalidInput unless MediaMTX can show these to a camera.

    MediaMTX 1.20.1 takes a name and a password or neither; a colon ends the name (RFC 7617, 2).
    """
    _check_text("source_username", credentials.username, MAX_USERNAME_CHARS)
    _check_text("source_password", credentials.password, MAX_PASSWORD_CHARS)
    if ":" in credentials.username:
        raise InvalidInput("source_username must hold no colon", field="source_username")


def is_address(host: str) -> bool:
    """Tell whether ``host`` is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def bad_source(what: str) -> InvalidInput:
    """Return the refusal; the URL may hold a password, so no part of it is repeated."""
    return InvalidInput(f"source_url {what}", field="source_url")


def _check_characters(text: str) -> None:
    if len(text) > MAX_SOURCE_CHARS:
        raise bad_source(f"has more than {MAX_SOURCE_CHARS} characters")
    if "#" in text:
        raise bad_source("must hold no fragment; a # that belongs to it is written %23")
    if not _CHARS.fullmatch(text):
        raise bad_source("holds characters that a URL may not hold, or a $; write them as %XX")
    if _BAD_ESCAPE.search(text):
        raise bad_source("holds a % that is no escape, or one of a control character")
    if text.count("@") > 1:
        raise bad_source("holds more than one @; one that belongs to it is written %40")


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise bad_source("names no host")
    netloc = parts.netloc.rpartition("@")[2]
    if netloc.startswith("[") or ":" in host:
        if not netloc.startswith("[") or ":" not in host or not is_address(host) or "%" in host:
            raise bad_source("holds in brackets what is no IPv6 address; a zone is not taken")
        return str(ip_address(host))
    if is_address(host):
        return host
    if not _NAME.fullmatch(host):
        raise bad_source("names no host")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise bad_source("names a host that is neither a name nor an address of four numbers")
    return host


def _rest(parts: SplitResult) -> str:
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    if "@" in rest:
        raise bad_source("holds an @ behind its host; one that belongs to it is written %40")
    if "[" in rest or "]" in rest:
        raise bad_source("holds brackets behind its host; write them as %5B and %5D")
    return rest


def _credentials_of_userinfo(userinfo: str) -> Credentials | None:
    if not userinfo:
        return None
    name, _, password = userinfo.partition(":")
    try:
        found = Credentials(*(unquote_to_bytes(part).decode() for part in (name, password)))
    except UnicodeDecodeError:
        raise bad_source("holds a user name or password that is not UTF-8") from None
    return found


def _check_text(name: str, text: str, most_chars: int) -> None:
    if not 1 <= len(text) <= most_chars:
        raise InvalidInput(f"{name} must have 1 to {most_chars} characters", field=name)
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise InvalidInput(f"{name} must hold no control characters", field=name)


URL: Final = "source_url"


USERNAME: Final = "source_username"


PASSWORD: Final = "source_password"  # noqa: S105 - a field's name


FIELDS: Final = (URL, USERNAME, PASSWORD)


RESERVED_PATHS: Final = frozenset({"all", "all_others"})
"""MediaMTX 1.20.1 takes these for every path."""


class CameraAnswer(Enum):
    """What somebody at a camera's address said when asked for its stream."""

    RTSP = "rtsp"
    """It speaks RTSP; maybe it wants credentials."""
    REDIRECTS = "redirects"
    OTHER = "other"
    """It speaks, but not RTSP."""
    NONE = "none"
    """It could not be reached, or said nothing in time: it may be off."""


Ask = Callable[[str, SourceUrl], CameraAnswer]
"""Asks at an IP address, without credentials. Takes seconds; never raises."""


class SourceRefused(InvalidInput):
    """What is at the camera's address is no camera that can be pulled."""

    code = "source_refused"


class SourcesNotConfigured(Conflict):
    """A setting is missing without which no camera is pulled, or no password kept."""

    code = "sources_not_configured"


class Stored(Protocol):
    """The source that the camera has."""

    @property
    def url(self) -> str: ...  # noqa: D102 - the table's columns
    @property
    def sealed(self) -> bytes | None: ...  # noqa: D102 - likewise


class Sealer(Protocol):
    """Seals credentials for one camera."""

    def seal(self, camera_id: UUID, credentials: Credentials, /) -> bytes:
        """Return them sealed."""


class Targets(Protocol):
    """Judges where a camera may be."""

    def addresses(self, host: str, /) -> Collection[str]:
        """Return what a host turns into; raise InvalidInput."""


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source as it is to be stored."""

    url: str
    sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SourceChange:
    """The source from now on; None: the camera pushes."""

    source: NewSource | None


class _Kept(Enum):
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlanner:
    """``sealer`` is None without SOURCE_SECRET_KEYS, ``pulls`` False without MEDIAMTX_API_URL."""

    sealer: Sealer | None
    targets: Targets
    ask: Ask
    pulls: bool

    def plan(
        self, camera_id: UUID, path: str, before: Stored | None, given: Mapping[str, str | None]
    ) -> SourceChange | None:
        """Return what changes, None where nothing does. ``path`` is the camera's from now on.

        ``given`` holds those of `FIELDS` that were sent; None removes. Looks the host's name up and
        asks the camera, so it takes seconds at worst.

        Raises:
            InvalidInput: a field; ``source_not_allowed``, ``source_unresolved``, ``source_refused``.
            SourcesNotConfigured: a setting is missing.
        """
        given = {name: given[name] for name in FIELDS if name in given}
        if given.get(URL, "") is None:
            _refuse_credentials(given)
            return SourceChange(None)
        if URL not in given and before is None:
            _refuse_credentials(given)
            return None
        if path in RESERVED_PATHS:
            raise InvalidInput(
                "a camera that is pulled cannot have this path: it is every path to MediaMTX",
                field="path",
            )
        return self._change(camera_id, before, given) if given else None

    def _change(
        self, camera_id: UUID, before: Stored | None, given: Mapping[str, str | None]
    ) -> SourceChange:
        if not self.pulls:
            raise SourcesNotConfigured(
                "no camera can be pulled before STREAMWARDEN_MEDIAMTX_API_URL is set"
            )
        text = given.get(URL)
        url, inside = parse_source(text if text is not None else before.url if before else "")
        chosen = _credentials(given, inside)
        sealed = self._sealed(camera_id, url, before, chosen)
        if text is not None:
            self._look(url)
        return SourceChange(NewSource(str(url), sealed))

    def _sealed(
        self,
        camera_id: UUID,
        url: SourceUrl,
        before: Stored | None,
        chosen: Credentials | _Kept | None,
    ) -> bytes | None:
        if chosen is None:
            return None
        if isinstance(chosen, _Kept):
            # Credentials stay where they were meant to be shown: see docs/design/0011.
            same = before is not None and parse_source(before.url)[0].place == url.place
            return before.sealed if before is not None and same else None
        check_credentials(chosen)
        if self.sealer is None:
            raise SourcesNotConfigured(
                "credentials cannot be kept before STREAMWARDEN_SOURCE_SECRET_KEYS is set"
            )
        return self.sealer.seal(camera_id, chosen)

    def _look(self, url: SourceUrl) -> None:
        addresses = self.targets.addresses(url.host)
        match self.ask(next(iter(addresses)), url):
            case CameraAnswer.REDIRECTS:
                raise SourceRefused(
                    "source_url redirects to another address; give that one, if it is the camera's",
                    field=URL,
                )
            case CameraAnswer.OTHER:
                raise SourceRefused("what answers at source_url does not speak RTSP", field=URL)


def told_of(given: Mapping[str, str | None], source_url: str | None) -> dict[str, Any]:
    """Return what the audit trail is told of a change: the host, and never what is shown to it."""
    if not given:
        return {}
    return {"source": None if source_url is None else urlsplit(source_url).hostname}


def _credentials(
    given: Mapping[str, str | None], inside: Credentials | None
) -> Credentials | _Kept | None:
    """Return the credentials from their fields or from the URL; two sources are one too many."""
    if inside is not None and (USERNAME in given or PASSWORD in given):
        raise InvalidInput(
            "source_url holds credentials, and so do their own fields; give them once", field=URL
        )
    if inside is not None:
        return inside
    if USERNAME not in given and PASSWORD not in given:
        return _Kept.KEPT
    username, password = given.get(USERNAME), given.get(PASSWORD)
    if username is None and password is None and {USERNAME, PASSWORD} <= given.keys():
        return None
    if username is None or password is None:
        missing = USERNAME if username is None else PASSWORD
        raise InvalidInput(
            "source_username and source_password go together: give both, or null for both",
            field=missing,
        )
    return Credentials(username, password)


def _refuse_credentials(given: Mapping[str, str | None]) -> None:
    name = next((n for n in (USERNAME, PASSWORD) if given.get(n) is not None), None)
    if name is not None:
        raise InvalidInput(f"{name} needs a source_url", field=name)


HOW_TO_MAKE: Final = "openssl rand -hex 32"


_MOST_KEYS: Final = 8


_KEY = re.compile(r"[0-9A-Fa-f]{64}")


class CannotOpen(StreamwardenError):
    """The credentials were sealed by a key that is not there any more, or for another camera."""

    code = "source_secret_unreadable"


class SourceSealer:
    """Seals by the first key and opens by any. Safe for use by many threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._first = fernets[0]
        self._fernet = MultiFernet(fernets)

    def __repr__(self) -> str:
        """Show nothing of the keys."""
        return "SourceSealer()"

    def seal(self, camera_id: UUID, credentials: Credentials) -> bytes:
        """Return the credentials, to be opened for this camera alone."""
        plain = {
            "camera": str(camera_id),
            "username": credentials.username,
            "password": credentials.password,
        }
        return self._fernet.encrypt(json.dumps(plain).encode())

    def open(self, camera_id: UUID, sealed: bytes) -> Credentials:
        """Return what was sealed for this camera.

        Raises:
            CannotOpen: by no key of ours, changed since, or sealed for another camera.
        """
        try:
            plain = json.loads(self._fernet.decrypt(sealed))
            camera, username, password = plain["camera"], plain["username"], plain["password"]
        except (InvalidToken, ValueError, KeyError, TypeError):
            raise CannotOpen("no key of STREAMWARDEN_SOURCE_SECRET_KEYS opens them") from None
        if camera != str(camera_id):
            raise CannotOpen("they were sealed for another camera")
        return Credentials(username, password)

    def renew(self, camera_id: UUID, sealed: bytes) -> bytes | None:
        """Return the same, sealed by the first key; None where it is already. Raises CannotOpen."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self.seal(camera_id, self.open(camera_id, sealed))
        return None


def parse_source_keys(text: str) -> list[bytes]:
    """Read ``SOURCE_SECRET_KEYS``: keys of 32 bytes in hexadecimal, with commas between them.

    Raises:
        ConfigError: it is not that. The message holds nothing of it.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_KEY.fullmatch(part) for part in parts):
        raise ConfigError(
            "SOURCE_SECRET_KEYS: each key must be 64 hexadecimal digits, with commas between keys; "
            f"make one with: {HOW_TO_MAKE}"
        )
    if len(set(parts)) < len(parts) or len(parts) > _MOST_KEYS:
        raise ConfigError(
            f"SOURCE_SECRET_KEYS: holds the same key twice, or more than {_MOST_KEYS}"
        )
    return [bytes.fromhex(part) for part in parts]


_Network = IPv4Network | IPv6Network


_SPECIAL: Final[tuple[tuple[_Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("127.0.0.0/8", "this machine itself"),
        ("0.0.0.0/8", "no host"),
        ("169.254.0.0/16", "a link-local address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/96", "this machine itself, or no host"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a reserved address"),
        ("ff00::/8", "a multicast address"),
        # Addresses that stand for IPv4 ones (RFC 6052, 8215, 4380, 3056), and a cloud's metadata.
        ("64:ff9b::/96", "a translated address"),
        ("64:ff9b:1::/48", "a translated address"),
        ("2001::/32", "a translated address"),
        ("2002::/16", "a translated address"),
        ("fd00:ec2::/32", "a cloud's own services"),
    )
)


class SourceNotAllowed(InvalidInput):
    """The camera's address is one that nobody has allowed."""

    code = "source_not_allowed"


class SourceUnresolved(InvalidInput):
    """The camera's name turns into no address now."""

    code = "source_unresolved"


@dataclass(frozen=True, slots=True)
class SourceTargets:
    """``allowed`` are networks, addresses and names; ``own`` the hosts that serve streamwarden itself."""

    allowed: tuple[str, ...]
    own: tuple[str, ...] = ()
    resolve: Resolve = resolve

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return what ``host`` turns into, in a fixed order, IPv4 first; every one is allowed.

        Raises:
            SourceNotAllowed: one of them is not.
            SourceUnresolved: it turns into none now.
        """
        if host in self.own and host not in self.allowed and address_of(host) is None:
            raise _refused("a host of streamwarden's own")
        found = sorted(self._resolved(host), key=lambda each: (each.version, int(each)))
        own = {each for name in self.own for each in self._own_addresses(name)}
        for address in found:
            self._check(host, address, own)
        return tuple(str(each) for each in found)

    def _resolved(self, host: str) -> set[Address]:
        literal = address_of(host)
        if literal is not None:
            return {literal}
        try:
            found = {address_of(each) for each in self.resolve(host)}
        except (OSError, UnicodeError):
            found = set()
        if not found or None in found:
            raise SourceUnresolved("the host of source_url cannot be resolved", field="source_url")
        return {each for each in found if each is not None}

    def _own_addresses(self, name: str) -> set[Address]:
        try:
            return self._resolved(name)
        except SourceUnresolved:
            return set()  # compared by its name above

    def _check(self, host: str, address: Address, own: set[Address]) -> None:
        if address in own and not self._names(address):
            raise _refused("a host of streamwarden's own")
        for special, what in _SPECIAL:
            if _within(address, special):
                if not any(
                    _inside(entry, special) and address in entry for entry in self._networks()
                ):
                    raise _refused(what)
                return
        if host not in self.allowed and not any(
            _within(address, entry) for entry in self._networks()
        ):
            raise _refused("a network that is not listed there")

    def _names(self, address: Address) -> bool:
        """Tell whether an entry is this very address."""
        return any(entry.num_addresses == 1 and address in entry for entry in self._networks())

    def _networks(self) -> Iterator[_Network]:
        for entry in self.allowed:
            try:
                yield ip_network(entry)
            except ValueError:
                continue  # a name


def _within(address: Address, network: _Network) -> bool:
    return address.version == network.version and address in network


def _inside(entry: _Network, special: _Network) -> bool:
    if isinstance(entry, IPv4Network):
        return isinstance(special, IPv4Network) and entry.subnet_of(special)
    return isinstance(special, IPv6Network) and entry.subnet_of(special)


def _refused(what: str) -> SourceNotAllowed:
    said = bad_source(f"leads to {what}; STREAMWARDEN_SOURCE_NETWORKS says what is allowed")
    return SourceNotAllowed(str(said), field=said.field)
