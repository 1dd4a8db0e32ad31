"""Who may play what: a user by bearer, or what a play token was signed for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import falcon

from streamwarden.auth.access import Action, Window
from streamwarden.auth.denial_rules import DeniedUse
from streamwarden.auth.denials import DenialList
from streamwarden.auth.play import PlayClaims, Stretch
from streamwarden.errors import Denied, Unavailable
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.intake import claims_of, user_of


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be played: ``stretch`` None means all of it; ``token`` goes into the URLs.

    ``whole``: only segments that lie wholly within it, not those that reach into it.
    """

    stretch: Stretch | None
    token: str | None
    whole: bool = False

    def plays(self, started_at: datetime, ended_at: datetime) -> bool:
        """Tell whether a segment may be played."""
        if self.stretch is None:
            return True
        if self.whole:
            return Window(self.stretch).holds(started_at, ended_at)
        return self.stretch.meets(started_at, ended_at)


class PlayAccess:
    """The one place where a play token is held against what is asked for.

    A token was signed for a user who might. Postgres is not asked again until it ends; the deny list
    is.
    """

    def __init__(self, access: CameraAccess, denied: DenialList) -> None:
        self._access = access
        self._denied = denied

    def recordings(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return what of the camera's recordings may be played.

        Raises:
            CameraNotFound, Denied: nothing.
        """
        claims = claims_of(req)
        if claims is None:
            _, window = self._access.find_recorded(user_of(req), camera_id)
            return Allowed(window.stretch if window else None, None, whole=window is not None)
        self._require(claims, camera_id, DeniedUse.RECORDINGS)
        if claims.recorded is None:
            raise Denied("this play token is for live pictures alone")
        return Allowed(claims.recorded, req.get_param("token"), whole=claims.whole)

    def live(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return how what is live may be played; raise as `recordings` does."""
        claims = claims_of(req)
        if claims is None:
            self._access.find(user_of(req), camera_id, Action.VIEW)
            return Allowed(None, None)
        self._require(claims, camera_id, DeniedUse.LIVE)
        if not claims.live:
            raise Denied("this play token is for recordings alone")
        return Allowed(None, req.get_param("token"))

    def _require(self, claims: PlayClaims, camera_id: UUID, use: DeniedUse) -> None:
        if claims.camera_id != camera_id:
            # 403 also where there is no such camera: a token tells nothing of others.
            raise Denied("this play token is for another camera")
        if not self._denied.known:
            raise Unavailable("what was revoked is not known yet")
        if self._denied.denies_playing(claims, use):
            raise Denied("this play token was revoked")


def private(resp: falcon.Response, *, cached: str = "no-cache") -> None:
    """Keep an answer whose address may hold a token out of shared caches."""
    resp.set_header("Cache-Control", f"private, {cached}")
