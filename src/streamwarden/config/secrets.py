"""Settings that are secrets: what makes one fit, and how one is shown."""

from __future__ import annotations

import re

from streamwarden.config.values import split_url

MIN_SECRET_BYTES = 32
MAX_HEADER_SECRETS = 2
HIDDEN = "********"
HOW_TO_MAKE = "openssl rand -hex 32"
_VISIBLE_ASCII = re.compile(r"[!-~]+")
_USER_PASSWORD = re.compile(r"(://[^/?#:@]*:)[^/?#]*(?=@)")
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&#]*", re.IGNORECASE)


def shared_secret(value: object) -> str:
    """Read a secret of at least 32 bytes; raise ValueError, which holds nothing of it."""
    text = value if isinstance(value, str) else ""
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes < MIN_SECRET_BYTES:
        raise ValueError(
            f"has {size_bytes} bytes; it needs at least {MIN_SECRET_BYTES}, "
            f"for example from: {HOW_TO_MAKE}"
        )
    return text


def header_secret(value: object) -> str:
    """Read a secret that travels in an HTTP header."""
    text = shared_secret(value)
    if not _VISIBLE_ASCII.fullmatch(text):
        raise ValueError(
            "holds spaces or characters that an HTTP header cannot carry; "
            f"make a new one, for example with: {HOW_TO_MAKE}"
        )
    return text


def header_secrets(value: object) -> str:
    """Read one or two secrets that travel in an HTTP header, with a comma between them."""
    text = value if isinstance(value, str) else ""
    tokens = [header_secret(part.strip()) for part in text.split(",")]
    if len(tokens) > MAX_HEADER_SECRETS or len(set(tokens)) < len(tokens):
        raise ValueError("holds more than two tokens, or the same one twice")
    return ",".join(tokens)


def signing_keys(value: object) -> str:
    """Read the text of the signing keys; what it means is judged where they are used."""
    text = value if isinstance(value, str) else ""
    shortest = min((len(part.strip()) for part in text.split(",")), default=0)
    if shortest < MIN_SECRET_BYTES:
        raise ValueError(
            "must hold keys of at least 32 bytes with commas between them, "
            f"each as kid:secret or kid:secret@YYYY-MM-DD; make a secret with: {HOW_TO_MAKE}"
        )
    return text


def sealing_keys(value: object) -> str:
    """Read the text of the sealing keys; what it means is judged where they are used."""
    text = value if isinstance(value, str) else ""
    if not text.strip():
        raise ValueError(f"must hold keys with commas between them; make one with: {HOW_TO_MAKE}")
    return text


def database_url(value: object) -> str:
    """Read a Postgres URL; its password may be anything that a URL can hold."""
    split_url(value, ("postgresql", "postgres"), example="postgresql://user:password@host/name")
    return str(value)


def without_password(url: str) -> str:
    """Return ``url`` with its password masked and everything else as it was."""
    return _QUERY_PASSWORD.sub(rf"\g<1>{HIDDEN}", _USER_PASSWORD.sub(rf"\g<1>{HIDDEN}", url))
