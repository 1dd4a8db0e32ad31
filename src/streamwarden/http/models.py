"""Base classes and field types of all JSON that is accepted or sent: strict in, exact out."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import falcon
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from streamwarden.clock import rfc3339
from streamwarden.paths import encode_owner

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")


_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)


PATH_PATTERN = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$"


class Model(BaseModel):
    """A JSON object; unknown names are refused, and no error repeats the input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Empty(Model):
    """An object without any field; an absent body counts as one."""


def _uuid(value: object) -> object:
    if isinstance(value, str) and not _UUID.fullmatch(value):
        raise ValueError("must be a UUID like 01234567-89ab-cdef-0123-456789abcdef")
    return value


def _timestamp(value: object) -> object:
    if isinstance(value, datetime):  # from our own code; JSON has none
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time of RFC 3339 with its zone, like 2026-01-31T12:00:00.000Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be within the years 1 to 9999") from None


def _query_integer(value: object) -> object:
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        raise ValueError("must be a whole number")
    return value


Id = Annotated[UUID, BeforeValidator(_uuid)]
"""A UUID in its canonical form."""


Timestamp = Annotated[
    datetime,
    BeforeValidator(_timestamp),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time of RFC 3339; sent in UTC with milliseconds."""


QueryInteger = Annotated[int, BeforeValidator(_query_integer)]
"""A whole number as text in a query."""


BodyInteger = Annotated[int, Field(strict=True)]
"""A whole number in JSON: neither true nor 3.0 nor "3"."""


StreamPath = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=259)]
"""A camera's path on the media server."""


Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]


def _valid_owner(value: str) -> str:
    encode_owner(value)
    return value


UserId = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_valid_owner)
]


def parse_id(name: str, text: str) -> UUID:
    """Return the UUID in a path segment called ``name``; raise ValueError if it is none."""
    if not _UUID.fullmatch(text):
        raise ValueError(f"{name} must be a UUID")
    return UUID(text)


def respond(resp: falcon.Response, model: Model, *, status: int = 200) -> None:
    """Send ``model`` as JSON."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = model.model_dump_json(by_alias=True).encode()


def schema_of(model: type[BaseModel], *, answered: bool) -> dict[str, Any]:
    """Return the JSON Schema of ``model`` with references in OpenAPI's form."""
    schema: dict[str, Any] = json.loads(
        _schema_text(model, "serialization" if answered else "validation")
    )
    return schema


@cache
def _schema_text(model: type[BaseModel], mode: Literal["serialization", "validation"]) -> str:
    # Cached as text: callers change what they parse.
    template = "#/components/schemas/{model}"
    return json.dumps(model.model_json_schema(by_alias=True, mode=mode, ref_template=template))
