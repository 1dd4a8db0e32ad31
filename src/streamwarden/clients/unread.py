"""An answer on its way: its head is here, its body is read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """``close`` must be called. ``said_of`` returns what is raised if the body breaks off."""

    status: int
    headers: Mapping[str, str]
    response: urllib3.BaseHTTPResponse
    said_of: Callable[[Exception], Exception]

    def chunks(self) -> Iterator[bytes]:
        """Yield the body."""
        try:
            yield from self.response.stream(_CHUNK_BYTES)
        except (HTTPError, OSError) as error:
            raise self.said_of(error) from error

    def close(self) -> None:
        """Give the connection up: what has not been read would be in the next answer's way.

        That of an answer which was read to its end has long been given back.
        """
        self.response.close()
        self.response.release_conn()
