"""The page's files: read once, compressed once, told apart by what is in them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streamwarden.errors import ConfigError

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
_UNNAMED: Final = b"/assets/-/"
"""What the page writes where the version of its files goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file. ``etag`` names its content, with its quotes."""

    content: bytes = field(repr=False)
    gzipped: bytes = field(repr=False)
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """All files by their path below the folder; ``version`` changes when any of them does.

    The page loads them from ``/assets/{version}/``, so that a browser may keep them for good.
    """

    version: str
    page: Asset
    files: Mapping[str, Asset]

    @property
    def gzipped_bytes(self) -> int:
        """How much a browser loads that loads everything."""
        return sum(len(each.gzipped) for each in (self.page, *self.files.values()))


def load_assets(folder: Path) -> Assets:
    """Read every file below ``folder``; raise ConfigError where the page is not among them."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }
    page = found.pop(_PAGE, None)
    if page is None:
        raise ConfigError(f"the page is missing: {_PAGE} was not installed with streamwarden")
    digest = hashlib.sha256()
    for name, content in found.items():
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    version = digest.hexdigest()[:16]
    return Assets(
        version=version,
        page=_asset(_PAGE, page.replace(_UNNAMED, f"/assets/{version}/".encode())),
        files={name: _asset(name, content) for name, content in found.items()},
    )


def _asset(name: str, content: bytes) -> Asset:
    return Asset(
        content=content,
        gzipped=gzip.compress(content, mtime=0),
        content_type=_TYPES[Path(name).suffix],
        etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )
