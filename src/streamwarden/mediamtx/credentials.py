"""Cameras' credentials and their encryption in the database.

Fernet of ``cryptography`` (AES-128-CBC, and HMAC-SHA256 with half of each key) encrypts them together
with the camera's id. Without the id, a person who can write the database could copy the row of another
camera to a camera with an address of their own, and have its password sent there.
"""

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

MAX_USERNAME_CHARS: Final = 128


MAX_PASSWORD_CHARS: Final = 256


HOW_TO_MAKE: Final = "openssl rand -hex 32"


_KEY = re.compile(r"[0-9A-Fa-f]{64}")


_MAX_KEYS: Final = 8


@dataclass(frozen=True, slots=True)
class CameraCredentials:
    """What a camera asks for: user name and password, or secrets in its address, or both.

    ``rest`` is the address's path and query with the secrets that its stored form masks.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    rest: str = field(default="", repr=False)


def check_credentials(credentials: CameraCredentials) -> None:
    """Raise InvalidInput unless MediaMTX can send these to a camera.

    The password may be empty, as some cameras have it by default. A colon ends the name (RFC 7617, 2).
    """
    fields = (
        ("source_username", credentials.username, 1, MAX_USERNAME_CHARS),
        ("source_password", credentials.password, 0, MAX_PASSWORD_CHARS),
    )
    for name, text, least_chars, most_chars in fields:
        if not least_chars <= len(text) <= most_chars:
            raise InvalidInput(
                f"{name} must have {least_chars} to {most_chars} characters", field=name
            )
        if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
            raise InvalidInput(f"{name} must hold no control characters", field=name)
    if ":" in credentials.username:
        raise InvalidInput("source_username must hold no colon", field="source_username")


class CredentialsUnreadable(StreamwardenError):
    """No configured key decrypts the credentials, or they belong to another camera."""

    code = "source_secret_unreadable"


class CredentialCipher:
    """Encrypts with the first key and decrypts with any of them. Thread-safe."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        fernets = [Fernet(base64.urlsafe_b64encode(key)) for key in keys]
        self._first = fernets[0]
        self._fernet = MultiFernet(fernets)

    def __repr__(self) -> str:
        """Return a text without the keys."""
        return "CredentialCipher()"

    def encrypt(self, camera_id: UUID, credentials: CameraCredentials) -> bytes:
        """Return the credentials encrypted for this camera."""
        plain = {
            "camera": str(camera_id),
            "username": credentials.username,
            "password": credentials.password,
        }
        if credentials.rest:
            plain["rest"] = credentials.rest
        return self._fernet.encrypt(json.dumps(plain).encode())

    def decrypt(self, camera_id: UUID, encrypted: bytes) -> CameraCredentials:
        """Return the credentials that were encrypted for this camera.

        Raises:
            CredentialsUnreadable: no key decrypts them, or they were encrypted for another camera.
        """
        try:
            plain = json.loads(self._fernet.decrypt(encrypted))
            camera, username, password = plain["camera"], plain["username"], plain["password"]
            rest = plain.get("rest", "")
        except (InvalidToken, ValueError, KeyError, TypeError):
            raise CredentialsUnreadable(
                "no key of STREAMWARDEN_SOURCE_SECRET_KEYS decrypts them"
            ) from None
        if camera != str(camera_id):
            raise CredentialsUnreadable("they were encrypted for another camera")
        return CameraCredentials(username, password, rest)

    def rotate(self, camera_id: UUID, encrypted: bytes) -> bytes | None:
        """Return the credentials encrypted with the first key, None where they already are.

        Raises:
            CredentialsUnreadable: as ``decrypt``.
        """
        try:
            self._first.decrypt(encrypted)
        except InvalidToken:
            return self.encrypt(camera_id, self.decrypt(camera_id, encrypted))
        return None


def parse_credential_keys(text: str) -> list[bytes]:
    """Return the keys of ``SOURCE_SECRET_KEYS``: 32 bytes each in hexadecimal, separated by commas.

    Raises:
        ConfigError: the text is malformed; the message repeats nothing of it.
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
