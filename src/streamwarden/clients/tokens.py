"""What the streaming role asks of the API role: a fresh read token for a respawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from streamwarden.clients.calls import Answer, NoAnswer, caller_of
from streamwarden.errors import Denied, Unavailable

_OK: Final = 200
_FORBIDDEN: Final = 403


class ReadTokenRefused(Denied):
    """The camera is no longer active or wanted: there is nothing to respawn for."""

    code = "read_token_refused"


class ReadTokenUnavailable(Unavailable):
    """The API role does not answer now; the recorder's own respawn asks again."""

    code = "token_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadToken:
    """An RTSP URL with a read token in it, and when that expires."""

    rtsp_url: str = field(repr=False)
    expires_at: datetime


class ReadTokenClient:
    """Calls ``POST /api/v1/m2m/read-token``. Any thread may."""

    def __init__(
        self,
        base_url: str,
        internal_token: str,
        *,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 4.0,
        connections: int = 8,
    ) -> None:
        self._caller = caller_of(
            base_url,
            internal_token,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            connections=connections,
        )

    def fetch(self, camera_id: UUID) -> ReadToken:
        """Return a fresh URL for the camera's recorder.

        Raises:
            ReadTokenRefused: the camera is no longer active or wanted.
            ReadTokenUnavailable: no answer, or none that can be used.
        """
        body = {"camera_id": str(camera_id)}
        try:
            answer = self._caller.call("POST", "/api/v1/m2m/read-token", body)
        except NoAnswer as error:
            raise ReadTokenUnavailable(f"the APIServer does not answer: {error}") from error
        if answer.status == _FORBIDDEN:
            raise ReadTokenRefused("the camera is no longer active or wanted")
        if answer.status != _OK:
            why = f"status {answer.status} {answer.code}".rstrip()
            raise ReadTokenUnavailable(f"the APIServer gives no read token: {why}")
        return _token(answer)

    def close(self) -> None:
        """Close every connection."""
        self._caller.close()


def _token(answer: Answer) -> ReadToken:
    url, expires_at = answer.body.get("rtsp_url"), answer.body.get("expires_at")
    if not isinstance(url, str) or not isinstance(expires_at, str):
        raise ReadTokenUnavailable("the APIServer's answer is no read token")
    try:
        moment = datetime.fromisoformat(expires_at)
    except ValueError as error:
        raise ReadTokenUnavailable("the APIServer's answer is no read token") from error
    if moment.tzinfo is None:
        raise ReadTokenUnavailable("the APIServer's answer is no read token")
    return ReadToken(rtsp_url=url, expires_at=moment)
