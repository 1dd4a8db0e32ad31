"""Access to a camera: by a user's permissions, or by a play token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import falcon

from streamwarden.auth.permissions import CameraAction, Decision, Verdict, decide, is_admin
from streamwarden.auth.play_tokens import PlayClaims
from streamwarden.auth.revocation import DenialList, DeniedUse
from streamwarden.auth.users import User
from streamwarden.errors import Denied, NotFound, Unavailable
from streamwarden.http.validation import claims_of, user_of
from streamwarden.model import Camera, TimeRange
from streamwarden.storage.cameras import CameraRepository, GrantRepository


class CameraNotFound(NotFound):
    """No such camera, or none that this user may know of."""

    code = "camera_not_found"


class CameraInactive(Denied):
    """The camera is set to inactive: nothing is recorded, watched or published."""

    code = "camera_inactive"


class CameraAccess:
    """Looks cameras up for a user; all routes do it here."""

    def __init__(self, cameras: CameraRepository, grants: GrantRepository) -> None:
        self._cameras = cameras
        self._grants = grants

    def find(self, user: User, camera_id: UUID, action: CameraAction) -> Camera:
        """Return the camera.

        Raises:
            CameraNotFound: no such camera, or none that this user may see.
            Denied: the user may see it, and may not do this.
            CameraInactive: not while the camera is inactive.
        """
        camera, verdict = self._decide(user, camera_id, action)
        if verdict.decision is Decision.HIDDEN:
            raise _not_found()
        return _unless_denied(camera, verdict)

    def find_for_connect(self, user: User, camera_id: UUID) -> Camera:
        """Return the camera as ``find`` does, but answer 403 for a hidden one.

        Raises:
            CameraNotFound: no such camera.
            Denied: this user may not.
            CameraInactive: not while the camera is inactive.
        """
        return _unless_denied(*self._decide(user, camera_id, CameraAction.CONNECT))

    def find_recorded(self, user: User, camera_id: UUID) -> tuple[Camera, TimeRange | None]:
        """Return the camera, and the recorded time that the user may see: None for all.

        Raises as ``find`` does.
        """
        camera, verdict = self._decide(user, camera_id, CameraAction.RECORDINGS)
        if verdict.decision is Decision.HIDDEN:
            raise _not_found()
        return _unless_denied(camera, verdict), verdict.window

    def _decide(self, user: User, camera_id: UUID, action: CameraAction) -> tuple[Camera, Verdict]:
        camera = self._cameras.get(camera_id)
        if camera is None:
            raise _not_found()
        known = is_admin(user) or camera.owner == user.sub
        granted = () if known else self._grants.of_user(camera_id, user.sub)
        return camera, decide(user, camera, granted=granted, action=action)


def require_admin(user: User) -> None:
    """Raise Denied unless ``user`` has the role admin."""
    if not is_admin(user):
        raise Denied("this needs the role admin")


def _not_found() -> CameraNotFound:
    return CameraNotFound("there is no such camera")


def _unless_denied(camera: Camera, verdict: Verdict) -> Camera:
    if verdict.decision is Decision.INACTIVE:
        raise CameraInactive("the camera is inactive")
    if verdict.decision is not Decision.ALLOWED:
        raise Denied("you have no permission for this on this camera")
    return camera


@dataclass(frozen=True, slots=True)
class Allowed:
    """The segments that may be played: ``range`` None means all; ``token`` is put into the URLs.

    ``whole``: only segments that lie entirely inside, not those that overlap its edges.
    """

    range: TimeRange | None
    token: str | None
    whole: bool = False

    def plays(self, started_at: datetime, ended_at: datetime) -> bool:
        """Return whether a segment may be played."""
        if self.range is None:
            return True
        if self.whole:
            return self.range.contains(started_at, ended_at)
        return self.range.overlaps(started_at, ended_at)


class PlayAccess:
    """Decides what may be played; all routes do it here.

    A play token was signed for a user with permission. Until it expires only the deny list is checked,
    not Postgres.
    """

    def __init__(self, access: CameraAccess, denied: DenialList) -> None:
        self._access = access
        self._denied = denied

    def recordings(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return what of the camera's recordings may be played.

        Raises:
            CameraNotFound, Denied: none of them.
        """
        claims = claims_of(req)
        if claims is None:
            _, window = self._access.find_recorded(user_of(req), camera_id)
            return Allowed(window, None, whole=window is not None)
        self._require(claims, camera_id, DeniedUse.RECORDINGS)
        if claims.recorded is None:
            raise Denied("this play token is for live pictures alone")
        return Allowed(claims.recorded, req.get_param("token"), whole=claims.whole)

    def live(self, req: falcon.Request, camera_id: UUID) -> Allowed:
        """Return how the live stream may be played; raise as `recordings` does."""
        claims = claims_of(req)
        if claims is None:
            self._access.find(user_of(req), camera_id, CameraAction.VIEW)
            return Allowed(None, None)
        self._require(claims, camera_id, DeniedUse.LIVE)
        if not claims.live:
            raise Denied("this play token is for recordings alone")
        return Allowed(None, req.get_param("token"))

    def _require(self, claims: PlayClaims, camera_id: UUID, use: DeniedUse) -> None:
        if claims.camera_id != camera_id:
            # 403 also where there is no such camera: a token reveals nothing of others.
            raise Denied("this play token is for another camera")
        if not self._denied.known:
            raise Unavailable("what was revoked is not known yet")
        if self._denied.denies_playing(claims, use):
            raise Denied("this play token was revoked")


def private(resp: falcon.Response) -> None:
    """Keep what belongs to a user out of every cache, the browser's own too.

    The next user of a shared browser would find it there, also after access was withdrawn: neither a
    bearer token nor the expiry of a token in the URL is part of a cache's key.
    """
    resp.set_header("Cache-Control", "private, no-store")
