"""The OpenAPI document made readable: Swagger UI from files of the package, no network needed."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import falcon

from streamwarden.http.operations import Access, Media, Resource, operation

_FILES = {
    "swagger.css": ("swagger_style.css", "text/css"),
    "swagger.js": ("swagger_bundle.js", "text/javascript"),
}
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
        "The document to read and try",
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
    """What the page loads. Swagger UI's own files come from the distribution ``offapi``.

    They are read from disk each time: importing ``offapi`` would keep 20 MB in memory for good.
    """

    @operation(
        "A file of the page",
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
            resp.data = _offapi(file).read_bytes()
        else:
            raise falcon.HTTPNotFound


def _offapi(file: str) -> Path:
    return Path(str(metadata.distribution("offapi").locate_file(f"offapi/{file}")))
