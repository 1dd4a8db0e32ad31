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

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from streamwarden.errors import Conflict, InvalidInput
from streamwarden.mediamtx.credentials import Credentials, check_credentials
from streamwarden.mediamtx.source_urls import SourceUrl, parse_source

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
