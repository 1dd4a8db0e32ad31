"""What the streaming role answered: read as what it should be, or passed on as the file it is.

What a saved file is called: by its camera and its time, safely on every file system.
"""

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
from streamwarden.http.middleware import name_request
from streamwarden.http.models import Model
from streamwarden.http.problems import Problem, respond_problem
from streamwarden.http.role_client import StreamedResponse
from streamwarden.http.wire import FILE_HEADERS

_M = TypeVar("_M", bound=Model)


_VALIDATORS = ("Cache-Control", "ETag", "Last-Modified")


_PASSED_HEADERS = (
    *_VALIDATORS,
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
)


class TokenQuery(Model):
    """A play token, where no header can be sent."""

    token: str | None = Field(default=None, max_length=2_048)


def read_answer(model: type[_M], found: Mapping[str, object]) -> _M:
    """Return what the streaming role answered; raise Unavailable if it is something else."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise Unavailable("the StreamingServer's answer cannot be read") from error


def _file_headers(req: falcon.Request) -> dict[str, str]:
    """Return the headers that decide which part of a file is meant."""
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
    for name in _PASSED_HEADERS if whole else _VALIDATORS:
        if name.lower() in headers:
            resp.set_header(name, headers[name.lower()])
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


_RESERVED: Final = frozenset('/\\:*?"<>|%')
"""What a file system or a browser takes for something else (a percent sign for an escape)."""


_STEM_BYTES: Final = 180
"""File systems take 255 bytes; the times and the ending need 40 of them."""


def attachment(camera_name: str, from_: datetime, to: datetime, *, ending: str = "mp4") -> str:
    """Return the Content-Disposition of a file of this time (RFC 6266, with RFC 8187's filename*).

    A name in ASCII goes along for who reads no other.
    """
    span = f"{_stamp(from_)}-{_stamp(to)}.{ending}"
    stem = file_stem(camera_name)
    plain = file_stem(stem.encode("ascii", "ignore").decode())
    named = f'attachment; filename="{plain}-{span}"'
    return (
        named if plain == stem else f"{named}; filename*=UTF-8''{quote(f'{stem}-{span}', safe='')}"
    )


def file_stem(name: str) -> str:
    """Return ``name`` without what no file name should hold, or ``camera`` if nothing is left.

    Controls go too, among them those that turn the direction of text: a name must not hide its end.
    """
    kept = "".join(char if _is_safe(char) else " " for char in name)
    stem = "-".join(kept.split()).strip(".-")
    return stem.encode()[:_STEM_BYTES].decode(errors="ignore").rstrip(".-") or "camera"


def _is_safe(char: str) -> bool:
    return char not in _RESERVED and unicodedata.category(char)[0] != "C"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
