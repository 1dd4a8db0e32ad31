"""Fetches an identity provider's keys: one GET, bounded in time and size, nothing followed."""

from __future__ import annotations

import time
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError

from streamwarden.errors import Unavailable

MAX_BYTES: Final = 256 * 1024
"""Of a JWK Set; real ones have a few thousand."""
_CONNECT_S, _READ_S, _WHOLE_S = 2.0, 3.0, 10.0
_CHUNK_BYTES: Final = 16 * 1024
_OK: Final = 200


class JwksClient:
    """Asks one URL. No redirect is followed and no proxy of the environment used."""

    def __init__(self, url: str, *, whole_s: float = _WHOLE_S) -> None:
        self._url = url
        self._whole_s = whole_s
        self._pool = urllib3.PoolManager(
            num_pools=1, maxsize=1, timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        )

    def fetch(self) -> bytes:
        """Return the document, whatever it holds.

        Raises:
            Unavailable: it cannot be had, in time and in size.
        """
        ends_s = time.monotonic() + self._whole_s
        try:
            response = self._pool.request(
                "GET",
                self._url,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                return _read(response, ends_s)
            finally:
                response.close()
        except (HTTPError, OSError) as error:
            # Its name only: the text may quote what the other side sent.
            raise Unavailable(f"no answer: {type(error).__name__}") from error

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _read(response: urllib3.BaseHTTPResponse, ends_s: float) -> bytes:
    if response.status != _OK:
        raise Unavailable(f"it answers with status {response.status}")
    found = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        found += chunk
        if len(found) > MAX_BYTES:
            raise Unavailable(f"it answers with more than {MAX_BYTES} bytes")
        if time.monotonic() > ends_s:
            raise Unavailable("it does not come to an end")
    return bytes(found)
