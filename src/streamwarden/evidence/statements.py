"""Signed statements: one canonical line of JSON (RFC 8785) and its signature.

Input in any other form than the canonical one is refused, so that one statement has one form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from streamwarden.clock import rfc3339
from streamwarden.evidence.seal_keys import SealKey, SealPublicKey

T = TypeVar("T")


_SIGNATURE_BYTES: Final = 64


_HASH_DIGITS: Final = 64


class Damaged(ValueError):
    """Bytes that are no canonical statement."""


class Fields:
    """The fields of a canonical line, taken out with their types; raises Damaged."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._left = dict(values)

    def text(self, name: str) -> str:
        """Return a text."""
        return self._take(name, str)

    def number(self, name: str) -> int:
        """Return a whole number, 0 or more."""
        found = self._take(name, int)
        if found < 0 or type(found) is bool:
            raise Damaged(f"{name} is no whole number")
        return found

    def moment(self, name: str) -> datetime:
        """Return a time."""
        return _moment(name, self.text(name))

    def moment_or_none(self, name: str) -> datetime | None:
        """Return a time, or None for null."""
        found = self._left.pop(name, "")
        return None if found is None else _moment(name, found)

    def uuid(self, name: str) -> UUID:
        """Return an id in its one spelling."""
        text = self.text(name)
        try:
            found = UUID(text)
        except ValueError:
            raise Damaged(f"{name} is no id") from None
        if str(found) != text:
            raise Damaged(f"{name} is no id")
        return found

    def digest(self, name: str) -> bytes:
        """Return 32 bytes, which are written in hexadecimal."""
        text = self.text(name)
        if len(text) != _HASH_DIGITS or set(text) - set("0123456789abcdef"):
            raise Damaged(f"{name} is no digest")
        return bytes.fromhex(text)

    def digest_or_none(self, name: str) -> bytes | None:
        """Return 32 bytes, or None for null."""
        if self._left.get(name, "") is None:
            del self._left[name]
            return None
        return self.digest(name)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return self._take(name, bool)

    def within_or_none(self, name: str) -> Fields | None:
        """Return the fields of an object, or None for null."""
        if self._left.get(name, "") is None:
            del self._left[name]
            return None
        return self.within(name)

    def within(self, name: str) -> Fields:
        """Return the fields of an object."""
        return Fields(self._take(name, dict))

    def each(self, name: str) -> list[Fields]:
        """Return the fields of the objects of a list."""
        found = self._take(name, list)
        if not all(isinstance(one, dict) for one in found):
            raise Damaged(f"{name} is no list of objects")
        return [Fields(one) for one in found]

    def literal(self, name: str, value: object) -> None:
        """Take a field that must have this value; a boolean is no number."""
        found = self._left.pop(name, None)
        if found != value or type(found) is not type(value):
            raise Damaged(f"{name} is not {value}")

    def end(self) -> None:
        """Refuse the fields that are left."""
        if self._left:
            raise Damaged(f"unknown: {', '.join(sorted(self._left))}")

    def _take(self, name: str, kind: type[T]) -> T:
        found = self._left.pop(name, None)
        if not isinstance(found, kind):
            raise Damaged(f"{name} is not as it should be")
        return found


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement, its line feed included, and its signature."""

    statement: bytes
    signature: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 of the statement, as the next one names it."""
        return hashlib.sha256(self.statement).digest()

    def encoded(self) -> bytes:
        """Return the two lines of its file."""
        return self.statement + base64.b64encode(self.signature) + b"\n"

    def by(self, key: SealPublicKey) -> bool:
        """Return whether ``key`` has signed it."""
        return key.signed(self.statement, self.signature)


def sign(key: SealKey, fields: Mapping[str, object]) -> SignedStatement:
    """Return the signed statement of these fields."""
    statement = line_of(fields)
    return SignedStatement(statement, key.sign(statement))


def parse_signed(content: bytes) -> SignedStatement:
    """Read the two lines of a file; raise Damaged."""
    lines = content.split(b"\n")
    if len(lines) != 3 or lines[2]:  # noqa: PLR2004 - two lines, and nothing after the last feed
        raise Damaged("not two lines")
    try:
        signature = base64.b64decode(lines[1], validate=True)
    except binascii.Error:
        raise Damaged("the signature is no base64") from None
    if len(signature) != _SIGNATURE_BYTES or base64.b64encode(signature) != lines[1]:
        raise Damaged("the signature is not written as it should be")
    return SignedStatement(lines[0] + b"\n", signature)


def line_of(fields: Mapping[str, object]) -> bytes:
    """Return the canonical line of an object, with its line feed."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def read_line(line: bytes) -> Fields:
    """Read an object from its canonical line, line feed included; raise Damaged."""
    try:
        found = json.loads(line)
        if not isinstance(found, dict) or line_of(found) != line:
            raise Damaged("a line that is not written as it should be")
    except (ValueError, RecursionError) as error:
        raise Damaged("a line that is no JSON object in its one form") from error
    return Fields(found)


def moment_or_none(moment: datetime | None) -> str | None:
    """Return a time as text, None for null."""
    return None if moment is None else rfc3339(moment)


def _moment(name: str, text: object) -> datetime:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        if found is not None and found.tzinfo is not None and rfc3339(found) == text:
            return found
    except (ValueError, OverflowError):
        pass
    raise Damaged(f"{name} is no time")
