"""Answers of the streaming role, checked or relayed as files, and the names of saved files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote

import falcon
from pydantic import Field, ValidationError

from streamwarden.errors import SegmentNotFound, Unavailable
from streamwarden.http.api.access import private
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Model
from streamwarden.http.problems import Problem, respond_problem
from streamwarden.http.role_client import StreamedResponse
from streamwarden.http.wire import FILE_HEADERS

_M = TypeVar("_M", bound=Model)
_VALIDATORS = ("Cache-Control", "ETag", "Last-Modified")
_RELAYED_HEADERS = (
    *_VALIDATORS,
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
)
_RESERVED: Final = frozenset('/\\:*?"<>|%')
"""Characters with a meaning for a file system or a browser (a percent sign is an escape)."""
_STEM_BYTES: Final = 180
"""File systems take 255 bytes; the times and the ending need 40 of them."""


class TokenQuery(Model):
    """A play token, for players that send no header."""

    token: str | None = Field(default=None, max_length=2_048)


def read_answer(model: type[_M], found: Mapping[str, object]) -> _M:
    """Return the streaming role's answer as ``model``; raise Unavailable if it is no such document."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise Unavailable("the streaming role sent an invalid response") from error


def _file_headers(req: falcon.Request) -> dict[str, str]:
    """Return the request's headers that select a part of a file."""
    return {name: text for name in FILE_HEADERS if (text := req.get_header(name))}


def relay(
    req: falcon.Request, resp: falcon.Response, open_: Callable[..., StreamedResponse]
) -> None:
    """Answer with a file of the streaming role, or with its refusal.

    ``open_`` is one of the client's calls for a file, without ``method``, ``headers``, ``request_id``.
    """
    found = open_(method=req.method, headers=_file_headers(req), request_id=name_request(req))
    headers = {name.lower(): value for name, value in found.headers.items()}
    if found.status in {HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}:
        found.close()
        _refuse(req, resp, found.status, headers)
        return
    resp.status = found.status
    whole = found.status != HTTPStatus.NOT_MODIFIED
    for name in _RELAYED_HEADERS if whole else _VALIDATORS:
        if name.lower() in headers:
            resp.set_header(name, headers[name.lower()])
    private(resp)
    if whole and req.method != "HEAD":
        resp.stream = found
    else:
        found.close()


def _refuse(
    req: falcon.Request, resp: falcon.Response, status: int, headers: dict[str, str]
) -> None:
    if status == HTTPStatus.NOT_FOUND:
        raise SegmentNotFound("the segment's file is gone")
    respond_problem(req, resp, Problem.of_status(status))
    if "content-range" in headers:
        resp.set_header("Content-Range", headers["content-range"])


def file_name(camera_name: str, from_: datetime, to: datetime, *, ending: str = "mp4") -> str:
    """Return the name of a file of this time."""
    return f"{file_stem(camera_name)}-{_span(from_, to, ending)}"


def _span(from_: datetime, to: datetime, ending: str) -> str:
    return f"{_stamp(from_)}-{_stamp(to)}{'' if ending.startswith('-') else '.'}{ending}"


def attachment(camera_name: str, from_: datetime, to: datetime, *, ending: str = "mp4") -> str:
    """Return the Content-Disposition of a file of this time (RFC 6266, with RFC 8187's filename*).

    A name in ASCII comes first, for clients that do not read filename*. An ``ending`` with a dash before
    its dot is part of the name.
    """
    span = _span(from_, to, ending)
    stem = file_stem(camera_name)
    plain = file_stem(stem.encode("ascii", "ignore").decode())
    named = f'attachment; filename="{plain}-{span}"'
    return (
        named if plain == stem else f"{named}; filename*=UTF-8''{quote(f'{stem}-{span}', safe='')}"
    )


def file_stem(name: str) -> str:
    """Return ``name`` without characters that are unsafe in a file name, ``camera`` if none is left.

    Control characters are removed too: those that reverse the direction of text could hide the ending.
    """
    kept = "".join(char if _is_safe(char) else " " for char in name)
    stem = "-".join(kept.split()).strip(".-")
    return stem.encode()[:_STEM_BYTES].decode(errors="ignore").rstrip(".-") or "camera"


def _is_safe(char: str) -> bool:
    return char not in _RESERVED and unicodedata.category(char)[0] != "C"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
