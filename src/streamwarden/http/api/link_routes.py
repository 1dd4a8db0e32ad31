"""Routes of publish URLs and of the live preview."""

from __future__ import annotations

from uuid import UUID

import falcon
from pydantic import Field

from streamwarden.auth.permissions import CameraAction
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.rtsp_urls import publish_url
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import rfc3339
from streamwarden.errors import Conflict
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.audit_routes import describe
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.models import Empty, Model, QueryInteger, Timestamp, respond
from streamwarden.http.operations import Access, Resource, operation
from streamwarden.http.validation import query_of, user_of


class CameraIsPulled(Conflict):
    """The media server fetches this camera's stream itself: nothing is published to its path."""

    code = "camera_is_pulled"


class PublishQuery(Model):
    """The life of the URL, in seconds."""

    ttl: QueryInteger = Field(default=86_400, ge=60, le=31_536_000)


class PublishLink(Model):
    """The URL that the camera publishes to; its token is checked when the camera connects."""

    publish_rtsp_url: str
    ttl: int
    expires_at: Timestamp


class Withdrawn(Model):
    """URLs that were issued at this time or earlier are refused."""

    issued_before: Timestamp


class PreviewQuery(Model):
    """The life of a preview's tokens, in seconds."""

    ttl: QueryInteger = Field(default=300, ge=30, le=3_600)


class Preview(Model):
    """URLs of the live stream. ``whep_url`` takes ``token`` as a bearer; null without WebRTC.

    ``hls_url`` is relative to the address that was asked (RFC 3986, 5), and holds its own token.
    """

    whep_url: str | None
    token: str
    hls_url: str | None
    expires_at: Timestamp


class Publish(Resource):
    """``GET /api/v1/camera/{camera_id}/publish_rtsp_url``."""

    def __init__(
        self,
        access: CameraAccess,
        tokens: StreamTokens,
        revocations: Revocations,
        rtsp_publish_url: str,
    ) -> None:
        self._access = access
        self._tokens = tokens
        self._revocations = revocations
        self._rtsp_publish_url = rtsp_publish_url

    @operation(
        "The URL that a camera pushes to",
        access=Access.BEARER,
        query=PublishQuery,
        answers={200: PublishLink},
        rate_limit="sign",
        refusals=(403, 404, 409, 503),
        about="403 `camera_inactive` for a camera that is set to inactive; 409 `camera_is_pulled` for "
        "one that has a `source_url`.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Sign a publish token in the user's name."""
        user, ttl_s = user_of(req), query_of(req, PublishQuery).ttl
        asked_at = self._revocations.moment()
        camera = self._access.find(user, camera_id, CameraAction.PUBLISH)
        if camera.source_url is not None:
            raise CameraIsPulled("this camera has a source_url: it is pulled, nothing publishes it")
        signed = self._tokens.sign_publish(user.sub, camera.path, ttl_s=ttl_s, asked_at=asked_at)
        describe(req, expires_at=rfc3339(signed.expires_at))
        url = publish_url(self._rtsp_publish_url, camera.path, signed.token)
        respond(resp, PublishLink(publish_rtsp_url=url, ttl=ttl_s, expires_at=signed.expires_at))


class WithdrawLinks(Resource):
    """``POST /api/v1/camera/{camera_id}/publish_rtsp_url/revoke``."""

    def __init__(
        self,
        access: CameraAccess,
        revocations: Revocations,
    ) -> None:
        self._access = access
        self._revocations = revocations

    @operation(
        "Withdraw every publish URL of a camera",
        access=Access.BEARER,
        body=Empty,
        answers={200: Withdrawn},
        refusals=(403, 404, 503),
        about=(
            "Clients that publish with such a URL are disconnected. URLs issued later are valid."
        ),
    )
    def on_post(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Answer with the time up to which issued URLs are denied."""
        camera = self._access.find(user_of(req), camera_id, CameraAction.WITHDRAW_LINKS)
        at = self._revocations.links_withdrawn(camera)
        respond(resp, Withdrawn(issued_before=at))


class LivePreview(Resource):
    """``GET /api/v1/camera/{camera_id}/preview``. ``whep_url`` None: the media server has no WebRTC."""

    def __init__(
        self,
        access: CameraAccess,
        tokens: StreamTokens,
        play_tokens: PlayTokens,
        revocations: Revocations,
        whep_url: str | None,
    ) -> None:
        self._access = access
        self._tokens = tokens
        self._play_tokens = play_tokens
        self._revocations = revocations
        self._whep_url = whep_url

    @operation(
        "The URLs and token of a live preview",
        access=Access.BEARER,
        query=PreviewQuery,
        answers={200: Preview},
        rate_limit="sign",
        refusals=(403, 404, 503),
        about="403 `camera_inactive` for a camera that is set to inactive.",
    )
    def on_get(self, req: falcon.Request, resp: falcon.Response, camera_id: UUID) -> None:
        """Sign a view token in the user's name."""
        user, ttl_s = user_of(req), query_of(req, PreviewQuery).ttl
        asked_at = self._revocations.moment()
        camera = self._access.find(user, camera_id, CameraAction.VIEW)
        signed = self._tokens.sign_view(user.sub, camera.path, ttl_s=ttl_s, asked_at=asked_at)
        base = self._whep_url
        whep = None if base is None else f"{base.rstrip('/')}/{camera.path}/whep"
        played = self._play_tokens.sign(
            user.sub, camera_id, live=True, recorded=None, ttl_s=ttl_s, asked_at=asked_at
        )
        respond(
            resp,
            Preview(
                whep_url=whep,
                token=signed.token,
                hls_url=f"live.m3u8?token={played.token}",
                expires_at=min(signed.expires_at, played.expires_at),
            ),
        )
