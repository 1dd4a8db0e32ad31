"""Who may play what: a user by bearer, or what a play token was signed for."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import falcon

from streamwarden.auth.access import Action
from streamwarden.auth.play import PlayClaims, Stretch
from streamwarden.errors import Denied
from streamwarden.http.api.access import CameraAccess, require_active
from streamwarden.http.intake import claims_of, user_of


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be played: ``stretch`` None means all of it; ``token`` goes into the URLs."""

    stretch: Stretch | None
    token: str | None


class PlayAccess:
    """The one place where a play token is held against what is asked for.

    A token was signed for a user who might; whether they still may is not asked again until it ends.
    """

    def __init__(self, access: CameraAccess) -> None:
        self._access = access

    def recordings(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return what of the camera's recordings may be played.

        Raises:
            CameraNotFound, Denied: nothing.
        """
        claims = claims_of(req)
        if claims is None:
            self._access.find(user_of(req), camera_id, Action.RECORDINGS)
            return Allowed(None, None)
        _require_camera(claims, camera_id)
        if claims.recorded is None:
            raise Denied("this play token is for live pictures alone")
        return Allowed(claims.recorded, req.get_param("token"))

    def live(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return how what is live may be played; raise as `recordings` does."""
        claims = claims_of(req)
        if claims is None:
            require_active(self._access.find(user_of(req), camera_id, Action.VIEW))
            return Allowed(None, None)
        _require_camera(claims, camera_id)
        if not claims.live:
            raise Denied("this play token is for recordings alone")
        return Allowed(None, req.get_param("token"))


def private(resp: falcon.Response, *, cached: str = "no-cache") -> None:
    """Keep an answer whose address may hold a token out of shared caches and referrers."""
    resp.set_header("Cache-Control", f"private, {cached}")
    resp.set_header("Referrer-Policy", "no-referrer")


def _require_camera(claims: PlayClaims, camera_id: UUID) -> None:
    if claims.camera_id != camera_id:
        # 403 also where there is no such camera: a token tells nothing of others.
        raise Denied("this play token is for another camera")
