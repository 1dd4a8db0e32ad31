"""What every app needs from the rest of the program."""

from __future__ import annotations

from typing import Protocol

from streamwarden.auth.play_tokens import PlayClaims
from streamwarden.auth.users import User


class RequestMetrics(Protocol):
    """Counts requests."""

    def observe(self, *, role: str, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""


class UserVerifier(Protocol):
    """Knows whom a bearer token speaks for."""

    def verify(self, token: str) -> User:
        """Return the user; raise Unauthenticated."""


class PlayVerifier(Protocol):
    """Knows what a play token is good for."""

    def verify(self, token: str) -> PlayClaims:
        """Return the claims; raise Unauthenticated."""
