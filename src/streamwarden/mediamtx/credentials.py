"""Cameras' credentials, and their encryption in the database."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from streamwarden.errors import ConfigError, InvalidInput, StreamwardenError


class CredentialCipher:
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
            raise CredentialsUnreadable(
                "no key of STREAMWARDEN_SOURCE_SECRET_KEYS opens them"
            ) from None
        if camera != str(camera_id):
            raise CredentialsUnreadable("they were sealed for another camera")
        return Credentials(username, password)

    def renew(self, camera_id: UUID, sealed: bytes) -> bytes | None:
        """Return the same, sealed by the first key; None where it is already. Raises CannotOpen."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self.seal(camera_id, self.open(camera_id, sealed))
        return None


class CredentialsUnreadable(StreamwardenError):
    """The credentials were sealed by a key that is not there any more, or for another camera."""

    code = "source_secret_unreadable"


def parse_credential_keys(text: str) -> list[bytes]:
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
    if len(set(parts)) < len(parts) or len(parts) > _MAX_KEYS:
        raise ConfigError(f"SOURCE_SECRET_KEYS: holds the same key twice, or more than {_MAX_KEYS}")
    return [bytes.fromhex(part) for part in parts]


_KEY = re.compile(r"[0-9A-Fa-f]{64}")


_MAX_KEYS: Final = 8


HOW_TO_MAKE: Final = "openssl rand -hex 32"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the camera wants to be shown."""

    username: str
    password: str = field(repr=False)


def check_credentials(credentials: Credentials) -> None:
    """Raise InvalidInput unless MediaMTX can show these to a camera.

    MediaMTX 1.20.1 takes a name and a password or neither; a colon ends the name (RFC 7617, 2).
    """
    _check_text("source_username", credentials.username, MAX_USERNAME_CHARS)
    _check_text("source_password", credentials.password, MAX_PASSWORD_CHARS)
    if ":" in credentials.username:
        raise InvalidInput("source_username must hold no colon", field="source_username")


def _check_text(name: str, text: str, most_chars: int) -> None:
    if not 1 <= len(text) <= most_chars:
        raise InvalidInput(f"{name} must have 1 to {most_chars} characters", field=name)
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise InvalidInput(f"{name} must hold no control characters", field=name)


MAX_USERNAME_CHARS: Final = 128


MAX_PASSWORD_CHARS: Final = 256
