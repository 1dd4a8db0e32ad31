"""Password authentication of a camera that serves RTSP."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from streamwarden.devkit.relay.auth_hook import AccessRequest
from streamwarden.mediamtx.rtsp_client import Login, parse_challenge, response_of

_REALM = "devkit camera"


class PasswordAuth:
    """Grants access with ``login``, by the schemes offered: ``Digest``, ``Basic`` or both.

    Like a camera it challenges again after a wrong password. ``publish_token`` is for the camera's own
    source. Without ``login`` reading is free.
    """

    always_challenges = True

    def __init__(
        self,
        login: Login | None,
        *,
        schemes: Sequence[str] = ("Digest", "Basic"),
        publish_token: str,
    ) -> None:
        nonce = secrets.token_hex(16)
        offers = {
            "Digest": f'Digest realm="{_REALM}", nonce="{nonce}"',
            "Basic": f'Basic realm="{_REALM}"',
        }
        self.challenges: Sequence[str] = tuple(offers[scheme] for scheme in schemes)
        self._login = login
        self._schemes = frozenset(scheme.lower() for scheme in schemes)
        self._nonce = nonce
        self._publish_token = publish_token

    async def allows(self, access: AccessRequest) -> bool:
        """Return whether the request has the password, or the token of the camera's own source."""
        if access.action == "publish":
            return _same(access.credentials.token, self._publish_token)
        if self._login is None:
            return True
        shown = parse_challenge(access.authorization)
        if shown.scheme not in self._schemes:
            return False
        if shown.scheme == "basic":
            login = Login(access.credentials.user, access.credentials.password)
            return _same(_together(login), _together(self._login))
        given = {**shown.parameters, "realm": _REALM, "nonce": self._nonce}
        expected = response_of(given, self._login, method=access.method, uri=given.get("uri", ""))
        named = given.get("username", "") == self._login.user
        return named and _same(given.get("response", ""), expected or secrets.token_hex(16))


def _together(login: Login) -> str:
    return f"{login.user}:{login.password}"


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())
