"""Owners as folder names: whatever an identity provider calls its users, none leaves its folder."""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9_-]|~[0-9A-F]{2})+")
_MAX_NAME_BYTES: Final = 255


def encode_owner(owner: str) -> str:
    """Return ``owner`` as a folder name: ``[A-Za-z0-9_-]`` kept, every other byte as ``~XX``.

    Raises:
        ValueError: it is empty or its name would be longer than a file system allows (255 bytes).
    """
    name = "".join(
        chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in owner.encode("utf-8")
    )
    if not 0 < len(name) <= _MAX_NAME_BYTES:
        raise ValueError(f"an owner's folder name has 1 to {_MAX_NAME_BYTES} bytes")
    return name


def decode_owner(name: str) -> str:
    """Return the owner of a folder name; ``ValueError`` for a name that ``encode_owner`` never gives."""
    if not _ENCODED.fullmatch(name):
        raise ValueError("not an owner's folder name")
    raw = re.sub(rb"~([0-9A-F]{2})", lambda hit: bytes([int(hit[1], 16)]), name.encode())
    owner = raw.decode("utf-8")
    if encode_owner(owner) != name:
        raise ValueError("not an owner's folder name")
    return owner
