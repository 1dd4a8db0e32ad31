"""JSON as RFC 8259 has it, and no more: what Python reads beyond that is refused."""

from __future__ import annotations

import json
import math

from streamwarden.errors import InvalidInput

MAX_DEPTH = 16
"""Deeper than anything asked for here, and far from the interpreter's own limit."""


def parse_json(raw: bytes) -> object:
    """Return what ``raw`` says in UTF-8.

    Refused with InvalidInput: anything that is no JSON, names that come twice, NaN and infinities,
    text that neither UTF-8 nor Postgres can hold, and nesting beyond `MAX_DEPTH`.
    """
    try:
        value: object = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
        _check(value, MAX_DEPTH)
    except (ValueError, RecursionError) as error:
        # Without the cause's text: it may quote the body.
        raise InvalidInput("the body is not valid JSON", field="body") from error
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_constant(_name: str) -> object:
    raise ValueError("not a number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("too large a number")
    return value


def _check(value: object, depth: int) -> None:
    if depth < 0:
        raise ValueError("nested too deeply")
    match value:
        case str():
            if "\0" in value:
                raise ValueError("a NUL character")
            value.encode()  # raises for a lone surrogate
        case list():
            for item in value:
                _check(item, depth - 1)
        case dict():
            for name, item in value.items():
                _check(name, depth - 1)
                _check(item, depth - 1)
