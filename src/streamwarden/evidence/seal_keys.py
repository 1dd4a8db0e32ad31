"""Ed25519 keys of seals (RFC 8032), as PEM files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from streamwarden.errors import ConfigError

_ID_DIGITS: Final = 16

_MOST_BYTES: Final = 16_384

_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


class KeyUnusable(ConfigError):
    """A key file is missing, readable by others, or holds no Ed25519 key. The message has none of it."""

    code = "key_unusable"


class SealKey:
    """A private key that signs statements. Its repr shows nothing."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = SealPublicKey(key.public_key())

    @property
    def key_id(self) -> str:
        """The id of its public key."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """Return the signature of ``message``, 64 bytes."""
        return self._key.sign(message)


class SealPublicKey:
    """The public half of a ``SealKey``: verifies its signatures."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(der).hexdigest()[:_ID_DIGITS]

    @property
    def pem(self) -> str:
        """The key as PEM text."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether ``signature`` is this key's over ``message``."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def new_key(path: Path) -> SealKey:
    """Make a key and write it, with mode 0600.

    Raises:
        KeyUnusable: there is a file already, which is left as it is, or it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise KeyUnusable(f"{path} is there already; it is left as it is") from None
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be written: {error.strerror}") from None
    return SealKey(key)


def load_signing_key(path: Path) -> SealKey:
    """Read a private key.

    Raises:
        KeyUnusable: it cannot be read, accounts beyond its owner and group may read it (or its group
            may write it), or it is no Ed25519 key without a password.
    """
    pem = _read(path, private=True)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable(f"{path} is no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} is no Ed25519 key; make one with: streamwarden key new PATH")
    return SealKey(key)


def load_public_key(path: Path) -> SealPublicKey:
    """Read a public key; raise KeyUnusable."""
    pem = _read(path, private=False)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(f"{path} is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{path} is no Ed25519 public key")
    return SealPublicKey(key)


def by_id(keys: Iterable[SealPublicKey]) -> dict[str, SealPublicKey]:
    """Return the keys by their ids."""
    return {key.key_id: key for key in keys}


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be read: {error.strerror}") from None
    if private and mode & _OTHERS:
        raise KeyUnusable(f"{path} is open to others (mode {mode & 0o777:04o}): chmod 600 {path}")
    return content
