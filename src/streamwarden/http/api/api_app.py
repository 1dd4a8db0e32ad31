"""The apps on ports 8081 and 8083."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamwarden.auth.audit_sink import AuditSink
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import Clock
from streamwarden.http.api.access import CameraAccess, PlayAccess
from streamwarden.http.api.audit_routes import Audit, AuditTrail
from streamwarden.http.api.camera_routes import CameraCollection, CameraItem, CameraService, Sources
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.export_routes import (
    ExportCollection,
    ExportFile,
    Exporting,
    ExportItem,
    ExportProof,
)
from streamwarden.http.api.grant_routes import (
    BlockedUserCollection,
    BlockedUserItem,
    GrantCollection,
    GrantItem,
    RefuseBlocked,
    Sharing,
)
from streamwarden.http.api.hook_routes import CheckStreamPassword, IssueReadToken
from streamwarden.http.api.link_routes import Links, LivePreview, Publish, WithdrawLinks
from streamwarden.http.api.ops_routes import (
    RestartChild,
    SettingItem,
    SettingService,
    Summary,
    Sums,
    Tree,
)
from streamwarden.http.api.playback_routes import (
    LiveFile,
    LivePlaylist,
    Playing,
    RecordingPlaylist,
    SignPlayToken,
    Snapshot,
)
from streamwarden.http.api.recording_routes import RecordingCollection, RecordingFile
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import (
    Connect,
    Disconnect,
    Status,
    StreamLocks,
    StreamService,
)
from streamwarden.http.falcon_app import App, AppContext, build_app
from streamwarden.http.operations import Resource
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import UserVerifier
from streamwarden.mediamtx.sessions import SessionClaims
from streamwarden.mediamtx.source_paths import PulledPaths
from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import CameraRepository, GrantRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.recording_index import (
    CoverageRepository,
    RecordingsRepository,
    SegmentRepository,
)
from streamwarden.storage.streams import SettingsRepository, StreamRepository

CAMERA = "/api/v1/camera/{camera_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What keeps out who has lost access, and notes who did what. ``wake`` has sessions looked at."""

    denied: DenialList
    denials: DenialRepository
    wake: Callable[[], None]
    audit: AuditSink
    audit_log: AuditRepository


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDeps:
    """What the users' app is made of. URLs are bases without a path; WHEP may be missing."""

    shared: AppContext
    users: UserVerifier
    tokens: StreamTokens
    play_tokens: PlayTokens
    cameras: CameraRepository
    grants: GrantRepository
    settings: SettingsRepository
    wishes: StreamRepository
    segments: SegmentRepository
    recordings: RecordingsRepository
    coverage: CoverageRepository
    guard: Guard
    sources: Sources
    memory: DesiredCache
    streaming: StreamingClient
    clock: Clock
    rtsp_internal_url: str
    rtsp_publish_url: str
    whep_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InternalDeps:
    """What the internal app is made of: no database but behind the wishes' memory."""

    shared: AppContext
    tokens: StreamTokens
    auth_metrics: AuthMetrics
    denied: DenialList
    sessions: SessionClaims
    pulled: PulledPaths
    memory: DesiredCache
    rtsp_internal_url: str


def create_api_app(deps: ApiDeps) -> App:
    """Return the app that users call through the BFF."""
    app = build_app(
        deps.shared,
        _routes(deps),
        title="streamwarden: API",
        users=deps.users,
        players=deps.play_tokens,
    )
    # After the intake, which knows who calls.
    app.add_middleware(
        [
            AuditTrail(deps.guard.audit, deps.clock, deps.shared.proxies),
            RefuseBlocked(deps.guard.denied),
        ]
    )
    return app


def create_internal_app(deps: InternalDeps) -> App:
    """Return the app that MediaMTX and the streaming role call."""
    return build_app(
        deps.shared,
        {
            "/api/v1/m2m/check-stream-pwd": CheckStreamPassword(
                deps.tokens,
                deps.auth_metrics,
                denied=deps.denied,
                sessions=deps.sessions,
                pulled=deps.pulled,
            ),
            "/api/v1/m2m/read-token": IssueReadToken(
                deps.memory.look_up,
                deps.tokens,
                deps.rtsp_internal_url,
                moment=deps.denied.moment,
            ),
        },
        title="streamwarden: internal API",
    )


def _routes(deps: ApiDeps) -> dict[str, Resource]:
    access = CameraAccess(deps.cameras, deps.grants)
    revocations = Revocations(
        table=deps.guard.denials,
        denied=deps.guard.denied,
        wake=deps.guard.wake,
    )
    streams = _stream_service(deps, access, revocations)
    return {
        **_camera_routes(deps, access, streams, revocations),
        **_footage_routes(deps, access),
        **_operators_routes(deps, streams, revocations),
    }


def _camera_routes(
    deps: ApiDeps, access: CameraAccess, streams: StreamService, revocations: Revocations
) -> dict[str, Resource]:
    """Return what cameras there are, who may do what with them, and what is done with them now."""
    cameras = _camera_service(deps, streams, revocations)
    links = _links(deps, access, revocations)
    sharing = Sharing(access=access, grants=deps.grants, revocations=revocations)
    return {
        "/api/v1/camera": CameraCollection(cameras),
        CAMERA: CameraItem(cameras, access),
        f"{CAMERA}/stream/connect": Connect(streams),
        f"{CAMERA}/stream/disconnect": Disconnect(streams),
        f"{CAMERA}/stream/status": Status(streams),
        f"{CAMERA}/publish_rtsp_url": Publish(links),
        f"{CAMERA}/publish_rtsp_url/revoke": WithdrawLinks(links),
        f"{CAMERA}/grants": GrantCollection(sharing),
        f"{CAMERA}/grants/{{user}}": GrantItem(sharing),
        f"{CAMERA}/preview": LivePreview(links),
    }


def _footage_routes(deps: ApiDeps, access: CameraAccess) -> dict[str, Resource]:
    """Return what was recorded of a camera, to be listed, played and taken away."""
    playing = _playing(deps, access)
    exporting = Exporting(access, playing.play, deps.streaming, deps.cameras)
    file = RecordingFile(deps.segments, playing.play, deps.streaming)
    return {
        f"{CAMERA}/recordings": RecordingCollection(deps.recordings, access, deps.clock),
        f"{CAMERA}/exports": ExportCollection(exporting),
        f"{CAMERA}/exports/{{export_id}}": ExportItem(exporting),
        f"{CAMERA}/exports/{{export_id}}/file": ExportFile(exporting),
        f"{CAMERA}/exports/{{export_id}}/proof": ExportProof(exporting),
        f"{CAMERA}/snapshot.jpg": Snapshot(playing),
        f"{CAMERA}/live.m3u8": LivePlaylist(playing),
        f"{CAMERA}/live/{{name}}": LiveFile(playing),
        f"{CAMERA}/recordings/play_token": SignPlayToken(playing),
        f"{CAMERA}/recordings/playlist.m3u8": RecordingPlaylist(playing),
        f"{CAMERA}/recordings/{{segment_id}}": file,
        # The same under a name that players take for a video: FFmpeg refuses others in a playlist.
        f"{CAMERA}/recordings/{{segment_id}}.mp4": file,
    }


def _operators_routes(
    deps: ApiDeps, streams: StreamService, revocations: Revocations
) -> dict[str, Resource]:
    """Return what administrators set, whom they keep out, and what they look at."""
    settings = SettingService(
        settings=deps.settings, cameras=deps.cameras, wishes=deps.wishes, streams=streams
    )
    return {
        "/api/v1/settings/{key}": SettingItem(settings),
        "/api/v1/user/blocked": BlockedUserCollection(deps.guard.denials),
        "/api/v1/user/blocked/{user}": BlockedUserItem(revocations),
        "/api/v1/ops/audit": Audit(deps.guard.audit_log, deps.clock),
        "/api/v1/ops/summary": Summary(Sums(deps.coverage, deps.clock), deps.streaming, deps.clock),
        "/api/v1/ops/supervision": Tree(deps.streaming),
        "/api/v1/ops/supervision/{child}/restart": RestartChild(deps.streaming),
    }


def _links(deps: ApiDeps, access: CameraAccess, revocations: Revocations) -> Links:
    return Links(
        access=access,
        tokens=deps.tokens,
        rtsp_publish_url=deps.rtsp_publish_url,
        whep_url=deps.whep_url,
        play_tokens=deps.play_tokens,
        revocations=revocations,
    )


def _playing(deps: ApiDeps, access: CameraAccess) -> Playing:
    return Playing(
        access=access,
        play=PlayAccess(access, deps.guard.denied),
        tokens=deps.play_tokens,
        segments=deps.segments,
        streaming=deps.streaming,
        clock=deps.clock,
        moment=deps.guard.denied.moment,
    )


def _stream_service(deps: ApiDeps, access: CameraAccess, revocations: Revocations) -> StreamService:
    return StreamService(
        access=access,
        tokens=deps.tokens,
        settings=deps.settings,
        wishes=deps.wishes,
        memory=deps.memory,
        streaming=deps.streaming,
        clock=deps.clock,
        rtsp_internal_url=deps.rtsp_internal_url,
        locks=StreamLocks(),
        revocations=revocations,
    )


def _camera_service(
    deps: ApiDeps, streams: StreamService, revocations: Revocations
) -> CameraService:
    return CameraService(
        cameras=deps.cameras,
        desired=deps.wishes,
        segments=deps.segments,
        streams=streams,
        revocations=revocations,
        sources=deps.sources,
        clock=deps.clock,
    )
