"""What the media server should pull for one camera: judged anew each time, from the row alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from streamwarden.auth.source_changes import RESERVED_PATHS
from streamwarden.auth.source_secrets import CannotOpen
from streamwarden.auth.source_targets import SourceUnresolved
from streamwarden.auth.source_urls import Credentials, SourceUrl, parse_source
from streamwarden.errors import InvalidInput
from streamwarden.storage.rows import CameraSource


class Targets(Protocol):
    """Judges where a camera may be."""

    def addresses(self, host: str, /) -> Collection[str]:
        """Return what a host turns into; raise SourceNotAllowed, SourceUnresolved."""


class Opener(Protocol):
    """Opens credentials."""

    def open(self, camera_id: UUID, sealed: bytes, /) -> Credentials:
        """Return what was sealed for this camera; raise CannotOpen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """``acceptable`` are the URLs of which the path should have one, the best first.

    ``reason`` says what is wrong; then the path is left as it is where ``stays`` is set, and is not to
    be there where it is not.
    """

    acceptable: tuple[str, ...] = field(default=(), repr=False)
    reason: str | None = None
    stays: bool = True


class SourcePlans:
    """Plans for one camera after the other; remembers what names turned into. One thread."""

    def __init__(self, targets: Targets, opener: Opener | None) -> None:
        self._targets = targets
        self._opener = opener
        self._known: dict[str, tuple[str, ...]] = {}

    def plan(self, row: CameraSource) -> SourcePlan:
        """Return what should be pulled for the camera of ``row``."""
        try:
            url, _ = parse_source(row.url)
        except InvalidInput:
            return SourcePlan(reason="invalid", stays=False)
        if row.path in RESERVED_PATHS:
            return SourcePlan(reason="invalid", stays=False)
        try:
            addresses = self._addresses(url)
        except SourceUnresolved:
            return SourcePlan(reason="unresolved")
        except InvalidInput:
            return SourcePlan(reason="not_allowed", stays=False)
        try:
            shown = self._credentials(row)
        except CannotOpen:
            return SourcePlan(reason="credentials")
        found = [url.for_media_server(address, shown) for address in addresses]
        return SourcePlan(acceptable=tuple(dict.fromkeys(found)))

    def keep(self, hosts: Collection[str]) -> None:
        """Forget every other name."""
        self._known = {name: found for name, found in self._known.items() if name in hosts}

    def _addresses(self, url: SourceUrl) -> tuple[str, ...]:
        """Look the host up; while it cannot be, what it was last counts: that was allowed."""
        try:
            found = tuple(self._targets.addresses(url.host))
        except SourceUnresolved:
            if url.host not in self._known:
                raise
            return self._known[url.host]
        except InvalidInput:
            self._known.pop(url.host, None)
            raise
        self._known[url.host] = found
        return found

    def _credentials(self, row: CameraSource) -> Credentials | None:
        if row.sealed is None:
            return None
        if self._opener is None:
            raise CannotOpen("STREAMWARDEN_SOURCE_SECRET_KEYS is not set")
        return self._opener.open(row.camera_id, row.sealed)
