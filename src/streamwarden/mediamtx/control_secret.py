"""The secret that opens MediaMTX's control API, metrics and profiles.

It is derived from INTERNAL_TOKEN, so nothing else has to be set, made or rotated: HKDF's extract step
(RFC 5869) with the label as salt. The label is the key of the HMAC, so that a shell can compute it with
the token on standard input: ``printf %s "$token" | openssl dgst -sha256 -hmac "streamwarden mediamtx"``.
Prometheus has it in a file; INTERNAL_TOKEN does not follow from it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

_LABEL: Final = b"streamwarden mediamtx"


def control_secret(internal_token: str) -> str:
    """Return the secret for one INTERNAL_TOKEN, or for the first of two with a comma between them."""
    token = internal_token.partition(",")[0]
    return hmac.digest(_LABEL, token.encode(), "sha256").hex()


def control_headers(internal_token: str) -> dict[str, str]:
    """Return the header of a request to one of these interfaces; none without a token."""
    if not internal_token:
        return {}
    return {"Authorization": f"Bearer {control_secret(internal_token)}"}


class ControlSecrets:
    """The secrets that the hook accepts: one for each INTERNAL_TOKEN, none without any."""

    def __init__(self, internal_tokens: Iterable[str] = ()) -> None:
        self._secrets = tuple(control_secret(token).encode() for token in internal_tokens if token)

    def match(self, shown: str) -> bool:
        """Return whether ``shown`` is one of them."""
        given = shown.encode("utf-8", "surrogatepass")
        # Every secret is compared, so that the time does not tell which one matched.
        matches = [hmac.compare_digest(given, secret) for secret in self._secrets]
        return any(matches)
