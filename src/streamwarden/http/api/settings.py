"""Settings that an administrator changes while the program runs."""

from __future__ import annotations

from dataclasses import dataclass

import falcon
from pydantic import Field

from streamwarden.auth.users import User
from streamwarden.errors import NotFound
from streamwarden.http.api.access import require_admin
from streamwarden.http.api.ports import Cameras, SettingsStore, Wishes
from streamwarden.http.api.segment_length import KEY, MAX_S, MIN_S, segment_seconds
from streamwarden.http.api.streams import StreamService
from streamwarden.http.intake import body_of, user_of
from streamwarden.http.models import BodyInteger, Model, answer
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.request_ids import name_request


class SettingNotFound(NotFound):
    """No setting of this name."""

    code = "setting_not_found"


class SettingBody(Model):
    """The new value."""

    value: BodyInteger = Field(ge=MIN_S, le=MAX_S)


class Setting(Model):
    """A setting as it is in force."""

    key: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingService:
    """Reads and changes settings, and tells the running streams."""

    settings: SettingsStore
    cameras: Cameras
    wishes: Wishes
    streams: StreamService

    def put(self, value: int, *, request_id: str) -> None:
        """Set the length of segments; wanted streams take it over, make before break.

        The first stream that cannot be told ends the round: the streaming role reads the setting
        itself when it reconciles.
        """
        self.settings.put(KEY, value)
        wanted = {wish.camera_id for wish in self.wishes.all() if wish.wanted}
        for camera in self.cameras.all_active():
            if camera.id in wanted and not self.streams.hand_over(camera, request_id):
                return


class SettingItem(Resource):
    """``/api/v1/settings/{key}``."""

    def __init__(self, service: SettingService) -> None:
        self._service = service

    @operation("A setting", access=Access.BEARER, answers={200: Setting}, refusals=(403, 404, 503))
    def on_get(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Answer what is in force; role admin."""
        _admit(user_of(req), key)
        answer(resp, Setting(key=KEY, value=segment_seconds(self._service.settings)))

    @operation(
        "Change a setting",
        access=Access.BEARER,
        body=SettingBody,
        answers={200: Setting},
        refusals=(403, 404, 503),
    )
    def on_put(self, req: falcon.Request, resp: falcon.Response, key: str) -> None:
        """Answer what is in force from now on; role admin."""
        _admit(user_of(req), key)
        value = body_of(req, SettingBody).value
        self._service.put(value, request_id=name_request(req))
        answer(resp, Setting(key=KEY, value=value))


def _admit(user: User, key: str) -> None:
    require_admin(user)
    if key != KEY:
        raise SettingNotFound("there is no such setting")
