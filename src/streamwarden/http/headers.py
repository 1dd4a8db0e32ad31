"""What every answer of every port carries for the browser that may read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""An answer that sets one of them itself keeps its own: the page needs its scripts.

Strict-Transport-Security is for the proxy that ends TLS: only it knows that there is any.
"""
