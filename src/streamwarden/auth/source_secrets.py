"""Cameras' credentials at rest: sealed for one camera, by keys that the database does not hold.

Fernet (AES-128-CBC and HMAC-SHA256 under one key) of ``cryptography`` does the work. The camera's id is
sealed with them: whoever can write the database, and chooses the address of a camera of their own, must
not have another camera's password sent there by copying its row.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from streamwarden.auth.source_urls import Credentials
from streamwarden.errors import ConfigError, StreamwardenError

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
