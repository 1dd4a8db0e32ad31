"""The apps of the API role: the users' API (port 8081) and the internal API (8083)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamwarden.auth.audit_sink import AuditSink
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.clock import Clock
from streamwarden.http.api.access import CameraAccess, PlayAccess
from streamwarden.http.api.audit_routes import CAMERA, Audit, AuditTrail
from streamwarden.http.api.camera_routes import CameraCollection, CameraItem, CameraService
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.export_routes import (
    ExportAccess,
    ExportCollection,
    ExportFile,
    ExportItem,
    ExportProofFile,
)
from streamwarden.http.api.grant_routes import (
    BlockedUserCollection,
    BlockedUserItem,
    GrantCollection,
    GrantItem,
    RefuseBlocked,
)
from streamwarden.http.api.hook_routes import CheckStreamPassword, HookCallers, IssueReadToken
from streamwarden.http.api.link_routes import LivePreview, Publish, WithdrawLinks
from streamwarden.http.api.ops_routes import (
    CoverageCache,
    OpsRestart,
    OpsSummary,
    OpsTree,
    SettingItem,
    SettingService,
)
from streamwarden.http.api.playback_routes import (
    LiveFile,
    LivePlaylist,
    RecordingPlaylist,
    SignPlayToken,
    Snapshot,
)
from streamwarden.http.api.recording_routes import RecordingCollection, RecordingFile
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import Connect, Disconnect, Status, StreamService
from streamwarden.http.falcon_app import App, AppContext, build_app
from streamwarden.http.operations import Resource
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.validation import UserVerifier
from streamwarden.mediamtx.control_secret import ControlSecrets
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


def create_api_app(
    context: AppContext,
    routes: Mapping[str, Resource],
    *,
    users: UserVerifier,
    play_tokens: PlayTokens,
    denied: DenialList,
    audit: AuditSink,
    clock: Clock,
) -> App:
    """Return the users' app with the routes of the functions below."""
    app = build_app(
        context, routes, title="streamwarden: API", users=users, players=play_tokens, docs=True
    )
    # After RequestValidator, which identifies the user.
    app.add_middleware([AuditTrail(audit, clock, context.proxies), RefuseBlocked(denied)])
    return app


def create_internal_app(
    context: AppContext,
    *,
    tokens: StreamTokens,
    auth_metrics: AuthMetrics,
    denied: DenialList,
    sessions: SessionClaims,
    pulled: PulledPaths,
    desired: DesiredCache,
    rtsp_internal_url: str,
    hosts: Iterable[str] = (),
) -> App:
    """Return the app that MediaMTX and the streaming role call. It needs no database.

    ``hosts`` are the names with a dot by which MediaMTX calls.
    """
    return build_app(
        context,
        {
            "/api/v1/m2m/check-stream-pwd": CheckStreamPassword(
                tokens,
                auth_metrics,
                denied=denied,
                sessions=sessions,
                pulled=pulled,
                control=ControlSecrets((context.internal_token or "").split(",")),
                callers=HookCallers(hosts),
            ),
            "/api/v1/m2m/read-token": IssueReadToken(
                desired.look_up, tokens, rtsp_internal_url, moment=denied.moment
            ),
        },
        title="streamwarden: internal API",
    )


def camera_routes(
    *,
    access: CameraAccess,
    cameras: CameraService,
    grants: GrantRepository,
    streams: StreamService,
    revocations: Revocations,
    denied: DenialList,
    tokens: StreamTokens,
    play_tokens: PlayTokens,
    rtsp_publish_url: str,
    whep_url: str | None,
) -> dict[str, Resource]:
    """Return the routes of cameras, their grants, streams and links.

    URLs are bases without a path; ``whep_url`` is None if the media server has no WebRTC.
    """
    return {
        "/api/v1/camera": CameraCollection(cameras),
        CAMERA: CameraItem(cameras, access),
        f"{CAMERA}/stream/connect": Connect(streams),
        f"{CAMERA}/stream/disconnect": Disconnect(streams),
        f"{CAMERA}/stream/status": Status(streams),
        f"{CAMERA}/publish_rtsp_url": Publish(access, tokens, revocations, rtsp_publish_url),
        f"{CAMERA}/publish_rtsp_url/revoke": WithdrawLinks(access, revocations),
        f"{CAMERA}/grants": GrantCollection(access, grants),
        f"{CAMERA}/grants/{{user}}": GrantItem(access, grants, revocations, denied),
        f"{CAMERA}/preview": LivePreview(access, tokens, play_tokens, revocations, whep_url),
    }


def recording_routes(
    *,
    access: CameraAccess,
    play_tokens: PlayTokens,
    denied: DenialList,
    cameras: CameraRepository,
    segments: SegmentRepository,
    recordings: RecordingsRepository,
    streaming: StreamingClient,
    clock: Clock,
) -> dict[str, Resource]:
    """Return the routes of recordings: lists, playback, live HLS, snapshots and exports."""
    play = PlayAccess(access, denied)
    exports = ExportAccess(access, play, streaming)
    file = RecordingFile(segments, play, streaming)
    return {
        f"{CAMERA}/recordings": RecordingCollection(recordings, access, clock),
        f"{CAMERA}/exports": ExportCollection(access, streaming),
        f"{CAMERA}/exports/{{export_id}}": ExportItem(exports, streaming),
        f"{CAMERA}/exports/{{export_id}}/file": ExportFile(exports, streaming, cameras),
        f"{CAMERA}/exports/{{export_id}}/proof": ExportProofFile(exports, streaming, cameras),
        f"{CAMERA}/snapshot.jpg": Snapshot(play, streaming),
        f"{CAMERA}/live.m3u8": LivePlaylist(play, streaming),
        f"{CAMERA}/live/{{name}}": LiveFile(play, streaming),
        f"{CAMERA}/recordings/play_token": SignPlayToken(access, play_tokens, denied, clock),
        f"{CAMERA}/recordings/playlist.m3u8": RecordingPlaylist(play, segments, streaming, clock),
        f"{CAMERA}/recordings/{{segment_id}}": file,
        # The same file with the extension .mp4: FFmpeg rejects others in a playlist.
        f"{CAMERA}/recordings/{{segment_id}}.mp4": file,
    }


def operator_routes(
    *,
    settings: SettingService,
    revocations: Revocations,
    denials: DenialRepository,
    audit_log: AuditRepository,
    coverage: CoverageRepository,
    streaming: StreamingClient,
    clock: Clock,
) -> dict[str, Resource]:
    """Return the routes of administrators: settings, blocked users, audit, operation."""
    return {
        "/api/v1/settings/{key}": SettingItem(settings),
        "/api/v1/user/blocked": BlockedUserCollection(denials),
        "/api/v1/user/blocked/{user}": BlockedUserItem(revocations),
        "/api/v1/ops/audit": Audit(audit_log, clock),
        "/api/v1/ops/summary": OpsSummary(CoverageCache(coverage, clock), streaming, clock),
        "/api/v1/ops/supervision": OpsTree(streaming),
        "/api/v1/ops/supervision/{child}/restart": OpsRestart(streaming),
    }
