"""What the API role's apps need to sign and judge tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from streamwarden.auth.keys import SignedToken
from streamwarden.auth.stream_tokens import StreamAction, StreamClaims
from streamwarden.http.ports import PlayVerifier
from streamwarden.model import TimeRange


class StreamTokens(Protocol):
    """Signs and verifies stream tokens."""

    def sign_record(
        self, camera_id: UUID, path: str, /, *, ttl_s: int, asked_at: datetime
    ) -> SignedToken:
        """Sign what the camera's recorder reads with; ``asked_at`` precedes the look-up of its wish."""

    def sign_view(self, user: str, path: str, /, *, ttl_s: int, asked_at: datetime) -> SignedToken:
        """Sign what a user's preview reads with; ``asked_at`` precedes the look-up of grants."""

    def sign_publish(
        self, user: str, path: str, /, *, ttl_s: int, asked_at: datetime
    ) -> SignedToken:
        """Sign what a camera publishes with; likewise."""

    def verify(self, token: str, *, path: str, action: StreamAction) -> StreamClaims:
        """Return the claims, or raise StreamTokenRefused."""


class PlayTokens(PlayVerifier, Protocol):
    """Signs and verifies play tokens."""

    def sign(
        self,
        sub: str,
        camera_id: UUID,
        *,
        live: bool,
        recorded: TimeRange | None,
        ttl_s: int,
        whole: bool = False,
        asked_at: datetime,
    ) -> SignedToken:
        """Sign what a user may play of a camera; ``asked_at`` precedes the look-up of grants."""


class AuthMetrics(Protocol):
    """Counts the hook's decisions."""

    def decided(self, action: str, outcome: str) -> None:
        """Count one decision."""
