"""The app on port 8082."""

from __future__ import annotations

from dataclasses import dataclass

from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.http.falcon_app import App, Shared, build_app
from streamwarden.http.streaming.ports import Gateway, Insides, Playback
from streamwarden.http.streaming.stored_files import SegmentFile, SegmentFragments
from streamwarden.http.streaming.streaming_routes import (
    ExportCollection,
    ExportFile,
    ExportItem,
    ExportProof,
    LiveFile,
    LiveWindow,
    Restart,
    RestartChild,
    Snapshot,
    Start,
    Stop,
    Stream,
    Streams,
    Summary,
    Tree,
)
from streamwarden.recordings.serving import IndexedFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingDeps:
    """What the app is made of. ``rtsp_targets`` are where FFmpeg may be sent to."""

    shared: Shared
    gateway: Gateway
    files: IndexedFiles
    playback: Playback
    insides: Insides
    rtsp_targets: RtspTargets


def create_streaming_app(deps: StreamingDeps) -> App:
    """Return the app that the API role calls."""
    gateway = deps.gateway
    return build_app(
        deps.shared,
        {
            "/streams": Streams(gateway),
            "/streams/start": Start(gateway, deps.rtsp_targets),
            "/streams/stop": Stop(gateway),
            "/streams/{camera_id}": Stream(gateway),
            "/streams/{camera_id}/restart": Restart(gateway),
            "/streams/{camera_id}/segments/{segment_id}": SegmentFile(deps.files),
            "/streams/{camera_id}/segments/{segment_id}/fragments": SegmentFragments(deps.files),
            "/streams/{camera_id}/live": LiveWindow(deps.playback.live),
            "/streams/{camera_id}/live/{name}": LiveFile(deps.playback.live),
            "/streams/{camera_id}/snapshot": Snapshot(deps.playback.pictures),
            "/streams/{camera_id}/exports": ExportCollection(deps.playback.exports),
            "/streams/{camera_id}/exports/{export_id}": ExportItem(deps.playback.exports),
            "/streams/{camera_id}/exports/{export_id}/file": ExportFile(deps.playback.exports),
            "/streams/{camera_id}/exports/{export_id}/proof": ExportProof(deps.playback.exports),
            "/summary": Summary(deps.insides),
            "/supervision": Tree(deps.insides),
            "/supervision/{child}/restart": RestartChild(deps.insides),
        },
        title="streamwarden: streaming role",
    )
