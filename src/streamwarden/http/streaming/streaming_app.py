"""The app on port 8082."""

from __future__ import annotations

from streamwarden.actors.gateway import StreamGateway
from streamwarden.actors.ops import StreamingOps
from streamwarden.auth.rtsp_urls import RtspTargets
from streamwarden.http.falcon_app import App, AppContext, build_app
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
from streamwarden.recordings.exports import Exports
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.serving import IndexedFiles
from streamwarden.recordings.snapshots import SnapshotMaker


def create_streaming_app(
    context: AppContext,
    *,
    gateway: StreamGateway,
    files: IndexedFiles,
    live: LiveIndex,
    pictures: SnapshotMaker,
    exports: Exports,
    ops: StreamingOps,
    rtsp_targets: RtspTargets,
) -> App:
    """Return the app that the API role calls; ``rtsp_targets`` are where FFmpeg may connect to."""
    camera = "/streams/{camera_id}"
    return build_app(
        context,
        {
            "/streams": Streams(gateway),
            "/streams/start": Start(gateway, rtsp_targets),
            "/streams/stop": Stop(gateway),
            camera: Stream(gateway),
            f"{camera}/restart": Restart(gateway),
            f"{camera}/segments/{{segment_id}}": SegmentFile(files),
            f"{camera}/segments/{{segment_id}}/fragments": SegmentFragments(files),
            f"{camera}/live": LiveWindow(live),
            f"{camera}/live/{{name}}": LiveFile(live),
            f"{camera}/snapshot": Snapshot(pictures),
            f"{camera}/exports": ExportCollection(exports),
            f"{camera}/exports/{{export_id}}": ExportItem(exports),
            f"{camera}/exports/{{export_id}}/file": ExportFile(exports),
            f"{camera}/exports/{{export_id}}/proof": ExportProof(exports),
            "/summary": Summary(ops),
            "/supervision": Tree(ops),
            "/supervision/{child}/restart": RestartChild(ops),
        },
        title="streamwarden: streaming role",
    )
