"""What the streaming role answered: read as what it should be, or passed on as the file it is."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

import falcon
from pydantic import Field, ValidationError

from streamwarden.errors import NotFound, Unavailable
from streamwarden.http.api.streaming_ports import OpenedFile
from streamwarden.http.media_files import FILE_HEADERS
from streamwarden.http.models import Model
from streamwarden.http.problems import Problem, respond

_M = TypeVar("_M", bound=Model)
_VALIDATORS = ("Cache-Control", "ETag", "Last-Modified")
_PASSED_HEADERS = (
    *_VALIDATORS,
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
)


class SegmentNotFound(NotFound):
    """No such segment of this camera, or its file is gone."""

    code = "segment_not_found"


class TokenQuery(Model):
    """A play token, where no header can be sent."""

    token: str | None = Field(default=None, max_length=2_048)


def read_answer(model: type[_M], found: Mapping[str, object]) -> _M:
    """Return what the streaming role answered; raise Unavailable if it is something else."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise Unavailable("the StreamingServer's answer cannot be read") from error


def file_headers(req: falcon.Request) -> dict[str, str]:
    """Return the headers that decide which part of a file is meant."""
    return {name: text for name in FILE_HEADERS if (text := req.get_header(name))}


class _Passing:
    """The file as WSGI wants it: waitress iterates it, and closes it however that ends."""

    def __init__(self, found: OpenedFile) -> None:
        self._found = found
        self._chunks = found.chunks()

    def __iter__(self) -> _Passing:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self._found.close()


def pass_on(req: falcon.Request, resp: falcon.Response, found: OpenedFile) -> None:
    """Answer with a file from the streaming role, or with its refusal."""
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
        resp.stream = _Passing(found)
    else:
        found.close()


def _refuse(
    req: falcon.Request, resp: falcon.Response, status: int, headers: dict[str, str]
) -> None:
    if status == HTTPStatus.NOT_FOUND:
        raise SegmentNotFound("the segment's file is gone")
    respond(req, resp, Problem.of_status(status))
    if "content-range" in headers:
        resp.set_header("Content-Range", headers["content-range"])
