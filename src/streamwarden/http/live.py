"""What is live, as JSON between the roles."""

from __future__ import annotations

from pydantic import Field

from streamwarden.http.models import Model, Moment


class LivePartModel(Model):
    """Some bytes of a file that play for ``media_ms``."""

    name: str
    init_bytes: int
    offset: int
    size_bytes: int = Field(alias="bytes")
    media_ms: int
    started_at: Moment


class LiveModel(Model):
    """The newest parts; ``sequence`` and ``discontinuities`` number the first."""

    parts: list[LivePartModel]
    sequence: int
    discontinuities: int
    target_s: int
