"""Finds a camera for a user who may do something with it, or says what they may be told."""

from __future__ import annotations

from uuid import UUID

from streamwarden.auth.access import Action, Decision, decide, is_admin
from streamwarden.auth.users import User
from streamwarden.errors import Denied, NotFound
from streamwarden.http.api.ports import CameraRow, Cameras, Grants


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
        """
        camera, decision = self._decide(user, camera_id, action)
        if decision is Decision.HIDDEN:
            raise _not_found()
        return _unless_denied(camera, decision)

    def find_for_connect(self, user: User, camera_id: UUID) -> CameraRow:
        """Return the camera as ``find`` does, but say 403 for one that is hidden, as the flow has it.

        Raises:
            CameraNotFound: no such camera.
            Denied: not for this user.
            CameraInactive: nobody may now.
        """
        camera, decision = self._decide(user, camera_id, Action.CONTROL)
        return require_active(_unless_denied(camera, decision))

    def _decide(self, user: User, camera_id: UUID, action: Action) -> tuple[CameraRow, Decision]:
        camera = self._cameras.get(camera_id)
        if camera is None:
            raise _not_found()
        known = is_admin(user) or camera.owner == user.sub
        granted = frozenset[str]() if known else self._grants.actions(camera_id, user.sub)
        return camera, decide(user, camera.owner, granted=granted, action=action)


def require_admin(user: User) -> None:
    """Raise Denied unless ``user`` has the role admin."""
    if not is_admin(user):
        raise Denied("this needs the role admin")


def require_active(camera: CameraRow) -> CameraRow:
    """Return ``camera``; raise CameraInactive if it is set to inactive."""
    if camera.status != "active":
        raise CameraInactive("the camera is inactive")
    return camera


def _not_found() -> CameraNotFound:
    return CameraNotFound("there is no such camera")


def _unless_denied(camera: CameraRow, decision: Decision) -> CameraRow:
    if decision is not Decision.ALLOWED:
        raise Denied("this camera does not allow you to do this")
    return camera
