"""The OpenAPI 3.1 document of an app, made from its responders' declarations, and its Swagger UI.

Swagger UI's files are part of the package: the page needs no other server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import falcon

import streamwarden
from streamwarden import __version__
from streamwarden.errors import ConfigError
from streamwarden.http.models import Model, schema_of
from streamwarden.http.operations import (
    Access,
    Content,
    Media,
    Operation,
    Resource,
    operation,
    operation_of,
)
from streamwarden.http.problems import PROBLEM_JSON, reason_phrase

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


_PARAMETER = re.compile(r"{(\w+)}")
_CONVERTER = re.compile(r"{(\w+):\w+}")


_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.BEARER: [{"bearer": []}],
    Access.PLAYER: [{"bearer": []}, {"player": []}],
    Access.INTERNAL: [{"internal": []}],
}


_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "player": {"type": "apiKey", "in": "query", "name": "token"},
    "internal": {"type": "apiKey", "in": "header", "name": "X-Internal-Token"},
}


class ProblemDetails(Model):
    """Problem details (RFC 9457) with a stable ``code``."""

    status: int
    title: str
    detail: str
    code: str
    request_id: str
    field: str | None = None


class OpenApiDocument(Resource):
    """Serves the document, which is written once, when the app is made."""

    def __init__(self) -> None:
        self._body = b""

    def describe(
        self, routes: Mapping[str, Resource], *, title: str, origins: tuple[str, ...] = ()
    ) -> None:
        """Write the document of an app with ``routes``, which pages of these origins may call."""
        self._body = _written(tuple(operations_of(routes)), title, origins)

    @operation(
        "This document",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="application/json", about="OpenAPI 3.1")},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the document."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._body


@lru_cache(maxsize=16)
def _written(
    operations: tuple[tuple[str, str, Operation], ...], title: str, origins: tuple[str, ...]
) -> bytes:
    # Apps of the same declarations have one document: of a test's app, writing it was the greater part.
    return json.dumps(document(operations, title=title, origins=origins)).encode()


def operations_of(routes: Mapping[str, Resource]) -> list[tuple[str, str, Operation]]:
    """Return template, method and declaration for every responder of ``routes``.

    HEAD is left out: it is GET without the body.
    """
    found = []
    for template, resource in routes.items():
        for method in _METHODS:
            declared = operation_of(resource, method)
            if declared is not None:
                found.append((template, method, declared))
    return found


def document(
    routes: Iterable[tuple[str, str, Operation]], *, title: str, origins: Iterable[str] = ()
) -> dict[str, Any]:
    """Write the OpenAPI document of ``routes``."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    _collect(ProblemDetails, schemas, answered=True)
    for template, method, declared in sorted(routes, key=lambda route: route[:2]):
        # Falcon's converters, as in {name:path}, are none of OpenAPI.
        path = _CONVERTER.sub(r"{\1}", template)
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, declared, schemas)
    info = {"title": title, "version": __version__}
    if allowed := ", ".join(f"`{origin}`" for origin in origins):
        info["description"] = f"Web pages of other origins that may call this (CORS): {allowed}."
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }


def _operation(
    path: str, method: str, declared: Operation, schemas: dict[str, Any]
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "summary": declared.summary,
        "operationId": _operation_id(path, method),
        "security": _SECURITY[declared.access],
        "parameters": [*_path_parameters(path), *_query_parameters(declared), *_headers(declared)],
        "responses": _responses(path, declared, schemas),
    }
    if declared.about:
        entry["description"] = declared.about
    if declared.body is not None:
        schema = _collect(declared.body, schemas, answered=False)
        entry["requestBody"] = {
            "content": {falcon.MEDIA_JSON: {"schema": schema}},
            "required": any(f.is_required() for f in declared.body.model_fields.values()),
        }
    return entry


def _operation_id(path: str, method: str) -> str:
    return method.lower() + re.sub(r"\W+", "_", path).rstrip("_")


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", **({"format": "uuid"} if name.endswith("_id") else {})},
        }
        for name in _PARAMETER.findall(path)
    ]


def _query_parameters(declared: Operation) -> list[dict[str, Any]]:
    if declared.query is None:
        return []
    schema = schema_of(declared.query, answered=False)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]


def _headers(declared: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": text,
        }
        for name, text in declared.headers.items()
    ]


def refusals_of(path: str, declared: Operation) -> frozenset[int]:
    """Return the statuses of all problems that this operation can answer with."""
    implied = {500}
    if declared.access is not Access.OPEN:
        implied.add(401)
    if declared.access in (Access.BEARER, Access.PLAYER):
        # Too many failed sign-ins; an identity provider without reachable keys.
        implied |= {429, 503}
    if declared.query is not None or declared.body is not None or _PARAMETER.search(path):
        implied.add(400)
    if declared.body is not None:
        implied |= {413} if declared.any_type else {413, 415}
    return declared.refusals | implied


def _responses(path: str, declared: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    answers = {str(s): _answer(s, a, schemas) for s, a in declared.answers.items()}
    problem = _collect(ProblemDetails, schemas, answered=True)
    for status in sorted(refusals_of(path, declared)):
        content = answers.setdefault(str(status), {"description": reason_phrase(status)})
        content.setdefault("content", {})[PROBLEM_JSON] = {"schema": problem}
    return answers


def _answer(status: int, answer: Content, schemas: dict[str, Any]) -> dict[str, Any]:
    match answer:
        case None:
            return {"description": reason_phrase(status)}
        case Media():
            return {"description": answer.about, "content": {answer.content_type: {}}}
        case _:
            schema = _collect(answer, schemas, answered=True)
            return {
                "description": reason_phrase(status),
                "content": {falcon.MEDIA_JSON: {"schema": schema}},
            }


def _collect(model: type[Model], schemas: dict[str, Any], *, answered: bool) -> dict[str, str]:
    """Add the schemas of ``model`` and of the models that it refers to; return a reference."""
    schema = schema_of(model, answered=answered)
    for name, part in schema.pop("$defs", {}).items():
        _put(schemas, name, part)
    _put(schemas, model.__name__, schema)
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _put(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
    if schemas.setdefault(name, schema) != schema:
        raise TypeError(f"two different schemas are called {name}")


_FILES = {
    "swagger.css": ("swagger-ui.css", "text/css"),
    "swagger.js": ("swagger-ui-bundle.js", "text/javascript"),
}


_FOLDER = Path(streamwarden.__file__).parent / "web" / "vendor"


_PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>streamwarden API</title>
<link rel="stylesheet" href="docs/swagger.css">
<div id="page"></div>
<script src="docs/swagger.js"></script>
<script src="docs/start.js"></script>
</html>
"""


_START = b'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true});\n'


_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class DocsPage(Resource):
    """The page."""

    @operation(
        "Swagger UI",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="text/html", about="A page")},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the page."""
        resp.content_type = falcon.MEDIA_HTML
        resp.set_header("Content-Security-Policy", _POLICY)
        resp.data = _PAGE


class DocsFile(Resource):
    """The files of the page: Swagger UI's own, and the script that starts it.

    They are read from disk each time: they are 2 MB, few ask for them, and each port has its own.

    Raises:
        ConfigError: one of them is missing, which an installation should hear when it starts.
    """

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._folder = folder
        for file, _ in _FILES.values():
            if not (folder / file).is_file():
                raise ConfigError(
                    f"the API's page is incomplete: {file} was not installed with streamwarden"
                )

    @operation(
        "A static file of Swagger UI",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="text/javascript", about="A script or style sheet")},
        refusals=(404,),
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer with the file ``name``."""
        resp.cache_control = ["public", "max-age=3600"]
        if name == "start.js":
            resp.content_type = falcon.MEDIA_JS
            resp.data = _START
        elif name in _FILES:
            file, resp.content_type = _FILES[name]
            resp.data = (self._folder / file).read_bytes()
        else:
            raise falcon.HTTPNotFound
