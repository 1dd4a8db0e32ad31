"""Byte ranges of RFC 9110, section 14, as far as one range at a time goes.

A request for several ranges, in another unit, or one that cannot be read is answered with the whole
file, as the RFC allows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", flags=re.IGNORECASE | re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from ``first`` to ``last``, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range begins after the end: 416."""


def span_of(header: str | None, size_bytes: int) -> Span | None:
    """Return the bytes that a Range header asks of ``size_bytes``; None for the whole file.

    Raises Unsatisfiable.
    """
    asked = _RANGE.fullmatch((header or "").replace(" ", ""))
    if asked is None or asked.groups() == ("", ""):
        return None
    first, last = asked.groups()
    if first == "":
        return _suffix(int(last), size_bytes)
    start = int(first)
    end = int(last) if last else size_bytes - 1
    if last and end < start:
        return None  # no valid range at all (14.1.1): as if there were none
    if start >= size_bytes:
        raise Unsatisfiable
    return Span(start, min(end, size_bytes - 1))


def range_applies(if_range: str | None, *, etag: str, modified_at: datetime) -> bool:
    """Tell whether a Range counts under an If-Range header (13.1.5)."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range == f'"{etag}"'  # strong comparison: W/"..." never matches
    try:
        shown = parsedate_to_datetime(if_range)
    except (TypeError, ValueError):
        return False
    if shown.tzinfo is None:
        shown = shown.replace(tzinfo=UTC)
    return shown == modified_at.replace(microsecond=0)


def is_current(if_none_match: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match header (13.1.2) names what we have: 304."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return f'"{etag}"' in {tag.removeprefix("W/") for tag in _ETAG.findall(if_none_match)}


def _suffix(length: int, size_bytes: int) -> Span:
    if length == 0 or size_bytes == 0:
        raise Unsatisfiable
    return Span(max(0, size_bytes - length), size_bytes - 1)
