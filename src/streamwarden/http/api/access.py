"""Finds a camera for a user who may do something with it, or says what they may be told."""

from __future__ import annotations

from uuid import UUID

from streamwarden.auth.access import Action, Decision, Verdict, Window, decide, is_admin
from streamwarden.auth.users import User
from streamwarden.errors import Denied, NotFound
from streamwarden.http.api.access_ports import Grants
from streamwarden.http.api.ports import CameraRow, Cameras


class CameraNotFound(NotFound):
    """No such camera, or none that this user may know of."""

    code = "camera_not_found"


class CameraInactive(Denied):
    """The camera is set to inactive: nothing is recorded, watched or published."""

    code = "camera_inactive"


class CameraAccess:
    """The one place where the API looks a camera up for somebody."""

    def __init__(self, cameras: Cameras, grants: Grants) -> None:
        self._cameras = cameras
        self._grants = grants

    def find(self, user: User, camera_id: UUID, action: Action) -> CameraRow:
        """Return the camera.

        Raises:
            CameraNotFound: no such camera, or none that this user may see.
            Denied: the user may see it, and may not do this.
            CameraInactive: nobody may do this now.
        """
        camera, verdict = self._decide(user, camera_id, action)
        if verdict.decision is Decision.HIDDEN:
            raise _not_found()
        return _unless_denied(camera, verdict)

    def find_for_connect(self, user: User, camera_id: UUID) -> CameraRow:
        """Return the camera as ``find`` does, but say 403 for one that is hidden, as the flow has it.

        Raises:
            CameraNotFound: no such camera.
            Denied: not for this user.
            CameraInactive: nobody may now.
        """
        return _unless_denied(*self._decide(user, camera_id, Action.CONNECT))

    def find_recorded(self, user: User, camera_id: UUID) -> tuple[CameraRow, Window | None]:
        """Return the camera, and of its recordings what the user may see: None for all of them.

        Raises as ``find`` does.
        """
        camera, verdict = self._decide(user, camera_id, Action.RECORDINGS)
        if verdict.decision is Decision.HIDDEN:
            raise _not_found()
        return _unless_denied(camera, verdict), verdict.window

    def _decide(self, user: User, camera_id: UUID, action: Action) -> tuple[CameraRow, Verdict]:
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


def _unless_denied(camera: CameraRow, verdict: Verdict) -> CameraRow:
    if verdict.decision is Decision.INACTIVE:
        raise CameraInactive("the camera is inactive")
    if verdict.decision is not Decision.ALLOWED:
        raise Denied("this camera does not allow you to do this")
    return camera
