"""What the page's server needs from the rest of the program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol


class ApiAnswer(Protocol):
    """An answer of the API on its way."""

    @property
    def status(self) -> int: ...  # noqa: D102 - as HTTP names it
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102 - likewise

    def chunks(self) -> Iterator[bytes]:
        """Yield the body piece by piece; raise Unavailable if it breaks off."""

    def close(self) -> None:
        """Give the connection back, or up."""


class Api(Protocol):
    """The API. A failure is Unavailable with code ``api_unreachable`` or ``api_timeout``."""

    def forward(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> ApiAnswer:
        """Send the request as it is; ``target`` is the path with its query."""
