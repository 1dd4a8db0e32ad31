"""The app on port 8080: the page with its files, and the proxied routes of the API.

Files are read and compressed once, at the start. The content security policy permits only scripts and
styles from this origin.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import falcon

from streamwarden.errors import ConfigError
from streamwarden.http.falcon_app import App, AppContext, build_app
from streamwarden.http.operations import Access, Media, Resource, operation
from streamwarden.http.webui.proxy import PROXIED, ApiProxy, ProxiedRoute

_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


_PAGE: Final = "index.html"


_ELSEWHERE: Final = "vendor/swagger-ui"
"""Files of ``/docs`` on the API's port, which must not be on this origin: the user's token is here."""


_PLACEHOLDER: Final = b"assets/-/"
"""The placeholder for the version of the files in the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file. ``etag`` identifies its content, with the quotes."""

    content: bytes = field(repr=False)
    gzipped: bytes = field(repr=False)
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """All files by their path below the folder; ``version`` changes with any of them.

    The page loads them from ``/assets/{version}/``, so that a browser may keep them for good.
    """

    version: str
    page: Asset
    files: Mapping[str, Asset]

    @property
    def gzipped_bytes(self) -> int:
        """The size of all files as a browser loads them."""
        return sum(len(each.gzipped) for each in (self.page, *self.files.values()))


def load_assets(folder: Path) -> Assets:
    """Read the page's files below ``folder``; raise ConfigError where the page itself is missing."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in _TYPES)
    named = ((str(path.relative_to(folder)), path) for path in paths)
    found = {name: path.read_bytes() for name, path in named if not name.startswith(_ELSEWHERE)}
    page = found.pop(_PAGE, None)
    if page is None:
        raise ConfigError(f"the page is missing: {_PAGE} was not installed with streamwarden")
    digest = hashlib.sha256()
    for name, content in found.items():
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    version = digest.hexdigest()[:16]
    return Assets(
        version=version,
        page=_asset(_PAGE, page.replace(_PLACEHOLDER, f"assets/{version}/".encode())),
        files={name: _asset(name, content) for name, content in found.items()},
    )


def _asset(name: str, content: bytes) -> Asset:
    return Asset(
        content=content,
        gzipped=gzip.compress(content, mtime=0),
        content_type=_TYPES[Path(name).suffix],
        etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


_IMMUTABLE: Final = "public, max-age=31536000, immutable"


_REVALIDATE: Final = "no-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """Configuration of the page, readable without sign-in. ``whep_url`` None: no WebRTC."""

    whep_url: str | None
    roles_claim: str

    @property
    def whep_origin(self) -> str | None:
        """Scheme, host and port of the media server's WHEP."""
        if self.whep_url is None:
            return None
        parts = urlsplit(self.whep_url)
        return f"{parts.scheme}://{parts.netloc}"


def page_headers(config: PageConfig) -> dict[str, str]:
    """Return the page's headers (CSP level 3); WHEP is the only other origin that it may connect to."""
    connect = " ".join(filter(None, ("'self'", config.whep_origin)))
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        f"connect-src {connect}",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }


class PageFile(Resource):
    """``GET /``."""

    def __init__(self, asset: Asset, headers: Mapping[str, str]) -> None:
        self._asset = asset
        self._headers = dict(headers)

    @operation(
        "The page",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="text/html", about="The page"), 304: None},
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the page, which browsers must revalidate each time."""
        resp.set_headers(self._headers)
        _send(req, resp, self._asset, cache=_REVALIDATE)


class AssetFile(Resource):
    """``GET /assets/{version}/{name}``."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    @operation(
        "A static file of the page",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="*/*", about="A script, a style, a licence"), 304: None},
        refusals=(404,),
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, version: str, name: str) -> None:
        """Answer with the file; under an outdated version it must be revalidated."""
        asset = self._assets.files.get(name)
        if asset is None:
            raise falcon.HTTPNotFound
        current = version == self._assets.version
        _send(req, resp, asset, cache=_IMMUTABLE if current else _REVALIDATE)


class ConfigFile(Resource):
    """``GET /config.json``."""

    def __init__(self, config: PageConfig) -> None:
        shown = {"whep_origin": config.whep_origin, "roles_claim": config.roles_claim}
        self._body = json.dumps(shown).encode()

    @operation(
        "The page's configuration (no sign-in needed)",
        access=Access.OPEN,
        query=None,
        answers={200: Media(content_type="application/json", about="Names, no secrets")},
    )
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the configuration."""
        resp.content_type = falcon.MEDIA_JSON
        resp.cache_control = [_REVALIDATE]
        resp.data = self._body


def _send(req: falcon.Request, resp: falcon.Response, asset: Asset, *, cache: str) -> None:
    resp.set_header("ETag", asset.etag)
    resp.set_header("Vary", "Accept-Encoding")
    resp.set_header("Cache-Control", cache)
    resp.set_header("Cross-Origin-Resource-Policy", "same-origin")
    if _is_current(req, asset):
        resp.status = falcon.HTTP_304
        return
    resp.content_type = asset.content_type
    if _accepts_gzip(req):
        resp.set_header("Content-Encoding", "gzip")
        resp.data = asset.gzipped
    else:
        resp.data = asset.content


def _is_current(req: falcon.Request, asset: Asset) -> bool:
    known = (req.get_header("If-None-Match") or "").split(",")
    return any(tag.strip().removeprefix("W/") in (asset.etag, "*") for tag in known)


def _accepts_gzip(req: falcon.Request) -> bool:
    for entry in (req.get_header("Accept-Encoding") or "").lower().split(","):
        coding, _, weight = entry.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" or not weight
    return False


def create_webui_app(
    context: AppContext, *, api: ApiProxy, assets: Assets, config: PageConfig
) -> App:
    """Return the app that browsers load the page from and call the API through."""
    routes: dict[str, Resource] = {
        "/": PageFile(assets.page, page_headers(config)),
        "/config.json": ConfigFile(config),
        "/assets/{version}/{name:path}": AssetFile(assets),
    }
    for template, methods in PROXIED.items():
        routes[f"/bff{template}"] = ProxiedRoute(api, template, methods, proxies=context.proxies)
    return build_app(context, routes, title="streamwarden: web UI")
