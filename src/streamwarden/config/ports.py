"""The listeners' ports, and the URLs that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import PlainValidator

from streamwarden.config import values

PORT_OFFSETS = {"webui_port": 0, "api_port": 1, "streaming_port": 2, "internal_api_port": 3}


def port_of(name: str) -> Callable[[dict[str, Any]], int]:
    """Return the default of a port: its place after the base, 0 for any free one."""

    def default(earlier: dict[str, Any]) -> int:
        base = earlier.get("port_base", 0)
        return base + PORT_OFFSETS[name] if base else 0

    return default


def url_at(port_name: str) -> Callable[[dict[str, Any]], str | None]:
    """Return the default of a role's URL: that port, as this machine reaches it."""

    def default(earlier: dict[str, Any]) -> str | None:
        port = earlier.get(port_name, 0)
        return f"http://{_reachable(earlier.get('host', ''))}:{port}" if port else None

    return default


def _reachable(host: str) -> str:
    """Return how a program on this machine reaches what listens on ``host``."""
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


Port = Annotated[int, PlainValidator(values.whole(0, values.MAX_PORT))]
HttpUrl = Annotated[str, PlainValidator(values.base_url("http", "https"))]
RtspUrl = Annotated[str, PlainValidator(values.base_url("rtsp", "rtsps", path=False))]
