"""Changes of a camera's source: what is stored after a request of the API or the CLI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from streamwarden.errors import Conflict, InvalidInput
from streamwarden.mediamtx.credentials import (
    CameraCredentials,
    CredentialCipher,
    CredentialsUnreadable,
    check_credentials,
)
from streamwarden.mediamtx.source_urls import MASK, SourceTargets, SourceUrl, parse_source
from streamwarden.model import Source, Transport

URL: Final = "source_url"


USERNAME: Final = "source_username"


PASSWORD: Final = "source_password"  # noqa: S105 - a field's name


TRANSPORT: Final = "source_transport"


FIELDS: Final = (URL, USERNAME, PASSWORD, TRANSPORT)


RESERVED_PATHS: Final = frozenset({"all", "all_others"})
"""Names with a meaning of their own in MediaMTX 1.20.1: all paths."""


class CameraAnswer(Enum):
    """The answer to a DESCRIBE request at a camera's address."""

    RTSP = "rtsp"
    """An RTSP answer, also one that asks for credentials."""
    REDIRECTS = "redirects"
    OTHER = "other"
    """An answer in another protocol."""
    NONE = "none"
    """Unreachable or no answer in time: the camera may be off."""


Ask = Callable[[str, SourceUrl], CameraAnswer]
"""Sends the request to an IP address, without credentials. Takes seconds; never raises."""


class SourceRefused(InvalidInput):
    """The server at the camera's address is not a camera that can be pulled."""

    code = "source_refused"


class SourcesNotConfigured(Conflict):
    """A setting that pulling cameras, or storing credentials, needs is missing."""

    code = "sources_not_configured"


@dataclass(frozen=True, slots=True)
class SourceChange:
    """The new source; None: the camera publishes."""

    source: Source | None


class _Keep(Enum):
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlanner:
    """Computes changes of sources.

    ``cipher`` is None without SOURCE_SECRET_KEYS, ``pulls`` False without MEDIAMTX_API_URL.
    """

    cipher: CredentialCipher | None
    targets: SourceTargets
    ask: Ask
    pulls: bool

    def plan(
        self, camera_id: UUID, path: str, before: Source | None, given: Mapping[str, str | None]
    ) -> SourceChange | None:
        """Return the change, None where nothing changes. ``path`` is the camera's new path.

        ``given`` holds those of `FIELDS` that were sent; None removes. Resolves the host's name and
        sends a request to the camera, so it may take seconds.

        Raises:
            InvalidInput: a wrong field, ``source_not_allowed``, ``source_unresolved`` or
                ``source_refused``.
            SourcesNotConfigured: a setting is missing.
        """
        given = {name: given[name] for name in FIELDS if name in given}
        if given.get(URL, "") is None:
            _refuse_details(given)
            return SourceChange(None)
        if URL not in given and before is None:
            _refuse_details(given)
            return None
        if path in RESERVED_PATHS:
            raise InvalidInput(
                "a camera that is pulled cannot have this path: it is every path to MediaMTX",
                field="path",
            )
        return self._change(camera_id, before, given) if given else None

    def _change(
        self, camera_id: UUID, before: Source | None, given: Mapping[str, str | None]
    ) -> SourceChange:
        if not self.pulls:
            raise SourcesNotConfigured(
                "no camera can be pulled before STREAMWARDEN_MEDIAMTX_API_URL is set"
            )
        text = given.get(URL)
        url, inside = parse_source(text if text is not None else before.url if before else "")
        chosen = _credentials(given, inside)
        encrypted = self._encrypted(camera_id, url, before, chosen)
        transport = _transport(url, before, given)
        if text is not None:
            self._ask_camera(url.masked)
        return SourceChange(Source(url=str(url.masked), encrypted=encrypted, transport=transport))

    def _encrypted(
        self,
        camera_id: UUID,
        url: SourceUrl,
        before: Source | None,
        chosen: CameraCredentials | _Keep | None,
    ) -> bytes | None:
        # Kept credentials are sent to no other host: see docs/design/0011.
        same = before is not None and parse_source(before.url)[0].origin == url.origin
        kept = before.encrypted if before is not None and same else None
        rest = url.rest if url.masked != url else ""
        if not rest and MASK in url.rest and (before is None or before.url != str(url) or not kept):
            raise InvalidInput(
                f"source_url holds {MASK} in place of a secret: give the secret itself", field=URL
            )
        if isinstance(chosen, _Keep) and not rest:
            return kept
        if isinstance(chosen, CameraCredentials):
            check_credentials(chosen)
        if chosen is None and not rest and MASK not in url.rest:
            return None
        if self.cipher is None:
            raise SourcesNotConfigured(
                "credentials, also those in a source_url, cannot be kept before "
                "STREAMWARDEN_SOURCE_SECRET_KEYS is set"
            )
        old = self._opened(camera_id, kept, needed=not rest and MASK in url.rest)
        login = old if isinstance(chosen, _Keep) else chosen or CameraCredentials()
        whole = replace(login, rest=rest or (old.rest if MASK in url.rest else ""))
        return self.cipher.encrypt(camera_id, whole)

    def _opened(
        self, camera_id: UUID, encrypted: bytes | None, *, needed: bool
    ) -> CameraCredentials:
        """Return the stored credentials, empty ones where there are none."""
        if encrypted is None or self.cipher is None:
            return CameraCredentials()
        try:
            return self.cipher.decrypt(camera_id, encrypted)
        except CredentialsUnreadable:
            if needed:
                raise InvalidInput(
                    "the secret in source_url cannot be decrypted any more: give it again",
                    field=URL,
                ) from None
            return CameraCredentials()

    def _ask_camera(self, url: SourceUrl) -> None:
        addresses = self.targets.addresses(url.host)
        match self.ask(next(iter(addresses)), url):
            case CameraAnswer.REDIRECTS:
                raise SourceRefused(
                    "source_url redirects to another address; give that one, if it is the camera's",
                    field=URL,
                )
            case CameraAnswer.OTHER:
                raise SourceRefused("what answers at source_url does not speak RTSP", field=URL)


def audit_detail(given: Mapping[str, str | None], source_url: str | None) -> dict[str, Any]:
    """Return a change as the audit trail records it: the host, never the credentials."""
    if not given:
        return {}
    return {"source": None if source_url is None else urlsplit(source_url).hostname}


def _credentials(
    given: Mapping[str, str | None], inside: CameraCredentials | None
) -> CameraCredentials | _Keep | None:
    """Return the credentials from their own fields or from the URL; raise InvalidInput for both."""
    if inside is not None and (USERNAME in given or PASSWORD in given):
        raise InvalidInput(
            "source_url holds credentials, and so do their own fields; give them once", field=URL
        )
    if inside is not None:
        return inside
    if USERNAME not in given and PASSWORD not in given:
        return _Keep.KEPT
    username, password = given.get(USERNAME), given.get(PASSWORD)
    if username is None and password is None and {USERNAME, PASSWORD} <= given.keys():
        return None
    if username is None or password is None:
        missing = USERNAME if username is None else PASSWORD
        raise InvalidInput(
            "source_username and source_password go together: give both, or null for both",
            field=missing,
        )
    return CameraCredentials(username, password)


def _transport(url: SourceUrl, before: Source | None, given: Mapping[str, str | None]) -> Transport:
    """Return the transport: the given one, or that of before; null stands for automatic."""
    kept = Transport.AUTOMATIC if before is None else before.transport
    text = given.get(TRANSPORT, kept)
    try:
        transport = Transport.AUTOMATIC if text is None else Transport(text)
    except ValueError:
        words = ", ".join(Transport)
        raise InvalidInput(f"{TRANSPORT} must be one of {words}", field=TRANSPORT) from None
    if url.scheme == "rtsps" and transport not in {Transport.AUTOMATIC, Transport.TCP}:
        raise InvalidInput(
            f"{TRANSPORT} must be automatic or tcp for rtsps://, which encrypts TCP alone",
            field=TRANSPORT,
        )
    return transport


def _refuse_details(given: Mapping[str, str | None]) -> None:
    names = (USERNAME, PASSWORD, TRANSPORT)
    name = next((name for name in names if given.get(name) is not None), None)
    if name is not None:
        raise InvalidInput(f"{name} needs a source_url", field=name)
