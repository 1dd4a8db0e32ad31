"""JSON between the roles, one model for each document, and what routes on both sides declare alike.

The streaming role writes it from values of the rooms below; the API role checks it and passes it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field, ValidationError

from streamwarden.actors.messages import LastError, RecorderState, StreamStatus
from streamwarden.actors.ops import StreamingSummary, TreeNode
from streamwarden.http.models import Id, Model, QueryInteger, Timestamp, UserId
from streamwarden.http.operations import Content, Media
from streamwarden.model import LastSegment
from streamwarden.recordings.export_pieces import Tracks
from streamwarden.recordings.exports import Export, ExportPart, ExportState, PartOf
from streamwarden.recordings.live import LiveWindow
from streamwarden.supervision import ChildInfo


class LastErrorModel(Model):
    """Why the last FFmpeg ended, or why none could start."""

    cause: str
    message: str
    at: Timestamp


class LastSegmentModel(Model):
    """The newest segment on disk."""

    started_at: Timestamp
    ended_at: Timestamp
    size_bytes: int = Field(alias="bytes")


class StatusModel(Model):
    """One camera's recording. ``run`` counts its FFmpeg runs from 1, 0 before the first.

    ``respawns`` counts FFmpegs that followed a loss, ``restarts`` recorders that followed a bug.
    """

    camera_id: Id
    status: RecorderState
    since: Timestamp
    run: int
    respawns: int
    restarts: int
    segment_seconds: int | None
    last_error: LastErrorModel | None
    next_retry_at: Timestamp | None
    last_segment: LastSegmentModel | None


class StatusList(Model):
    """Every camera that is or was recorded since the streaming role started."""

    items: list[StatusModel]


def status_to_json(status: StreamStatus) -> StatusModel:
    """Return the model of a status."""
    return StatusModel(
        camera_id=status.camera_id,
        status=status.status,
        since=status.since,
        run=status.run,
        respawns=status.respawns,
        restarts=status.restarts,
        segment_seconds=status.segment_seconds,
        last_error=_error(status.last_error),
        next_retry_at=status.next_retry_at,
        last_segment=_segment(status.last_segment),
    )


def status_from_json(value: Mapping[str, object]) -> StatusModel:
    """Return the status in an answer of the streaming role; raise ValueError if it is none."""
    try:
        return StatusModel.model_validate(value)
    except ValidationError as error:
        raise ValueError("not a stream's status") from error


def _error(last: LastError | None) -> LastErrorModel | None:
    if last is None:
        return None
    return LastErrorModel(cause=last.cause, message=last.message, at=last.at)


def _segment(last: LastSegment | None) -> LastSegmentModel | None:
    if last is None:
        return None
    return LastSegmentModel(
        started_at=last.started_at, ended_at=last.ended_at, bytes=last.size_bytes
    )


class DiskModel(Model):
    """The disk under the record root; ``keep_days`` is how long recordings are kept.

    ``floor_reached``: less than the reserve is free, and what is left is younger than RETENTION_MIN.
    """

    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    keep_days: float
    floor_reached: bool = False


class IndexModel(Model):
    """Rows that wait to be written to the index, and the age of the oldest."""

    journal_segments: int
    lag_seconds: float


class RetentionWaitModel(Model):
    """A deletion that waits for its grace time, or until an operator confirms it.

    ``value`` is what waits: the seconds that the clock is ahead (``clock``), an age in seconds (``age``),
    bytes (``total_quota``, ``camera_quota``), or the number of segments (``share``).
    """

    reason: str
    value: float
    goes_on_in_seconds: float


class CauseCount(Model):
    """The number of events of one cause."""

    cause: str
    count: int


class RoleSummary(Model):
    """The streaming role's part: its cameras by state, its disk and its index.

    ``respawns`` are counted since the role has started.
    """

    by_state: dict[str, int]
    respawns: int
    respawn_causes: list[CauseCount]
    disk: DiskModel
    index: IndexModel
    retention_waits: list[RetentionWaitModel] = Field(default_factory=list)


class ChildState(Model):
    """One child of a supervisor."""

    id: str
    type: str
    status: str
    incarnation: int
    restarts: int


class ChildModel(ChildState):
    """A child with the children that it supervises itself."""

    children: list[ChildModel] = Field(default_factory=list)


class Supervision(Model):
    """The supervision tree."""

    root: ChildModel


def summary_to_json(summary: StreamingSummary) -> RoleSummary:
    """Return the model of a summary."""
    disk, index = summary.disk, summary.index
    return RoleSummary(
        by_state=dict(summary.by_state),
        respawns=summary.respawns,
        respawn_causes=[CauseCount(cause=cause, count=n) for cause, n in summary.respawn_causes],
        disk=DiskModel(
            total_bytes=disk.total_bytes,
            free_bytes=disk.free_bytes,
            reserve_bytes=disk.reserve_bytes,
            keep_days=disk.keep_days,
            floor_reached=disk.floor_reached,
        ),
        index=IndexModel(journal_segments=index.segments, lag_seconds=index.lag_s),
        retention_waits=[
            RetentionWaitModel(
                reason=wait.reason, value=wait.value, goes_on_in_seconds=wait.goes_on_in_s
            )
            for wait in summary.retention_waits
        ],
    )


def child_to_json(info: ChildInfo) -> ChildState:
    """Return the model of a supervisor's child."""
    return ChildState(
        id=info.child_id,
        type=info.type.value,
        status=info.status.value,
        incarnation=info.incarnation,
        restarts=info.restarts,
    )


def tree_to_json(node: TreeNode) -> ChildModel:
    """Return the model of a supervision tree."""
    own = _ROOT if node.info is None else child_to_json(node.info)
    return ChildModel(**own.model_dump(), children=[tree_to_json(one) for one in node.children])


_ROOT: Final = ChildState(id="root", type="supervisor", status="running", incarnation=1, restarts=0)


PROOF_TYPE: Final = "text/plain"


PROOF_ANSWERS: Final[Mapping[int, Content]] = {
    200: Media(content_type=PROOF_TYPE, about="A line of JSON and its signature in base64")
}


class Stretch(Model):
    """A time range without a gap."""

    from_: Timestamp = Field(alias="from")
    to: Timestamp


class TracksModel(Model):
    """The tracks of a recording. ``width`` and ``height`` are null where its header does not tell them."""

    codec: str
    width: int | None
    height: int | None
    sound_codec: str | None
    sound_rate: int | None
    sound_channels: int | None


class ExportChange(Model):
    """A moment at which the tracks change. ``cut``: a file ends there, and the next part begins."""

    at: Timestamp
    before: TracksModel
    after: TracksModel
    cut: bool


class ExportGap(Model):
    """Time of the range that was wanted and not recorded; ``ended_at`` is null while it lasts."""

    started_at: Timestamp
    ended_at: Timestamp | None
    cause: str


class ExportPartModel(Stretch):
    """A range of one format. ``id`` is the export that holds it, null where there are too many parts."""

    number: int
    id: Id | None
    tracks: TracksModel


class PartOfModel(Model):
    """The place of a part among those of the export ``id``, from 1 on."""

    id: Id
    number: int
    count: int


class ExportModel(Model):
    """A time range exported to one MP4. ``progress`` is 0 to 1, ``expires_at`` when it is deleted.

    ``name`` is the name of its file. ``covers`` are the ranges that were recorded: the file plays one after
    the other. ``gaps`` are the first 200 gaps of the range, ``changes`` those of the camera's tracks.
    ``proven``: it has a proof, with which others can check it. ``error_code`` is ``format_changed`` where
    one file cannot hold the range: each of ``parts`` is an export of its own, which names this one in
    ``part``.
    """

    id: Id
    state: ExportState
    progress: float
    from_: Timestamp = Field(alias="from")
    to: Timestamp
    size_bytes: int | None = Field(alias="bytes")
    error: str | None
    error_code: str | None = None
    name: str = ""
    parts: list[ExportPartModel] = Field(default_factory=list)
    part: PartOfModel | None = None
    gaps: list[ExportGap] = Field(default_factory=list)
    changes: list[ExportChange] = Field(default_factory=list)
    created_at: Timestamp
    expires_at: Timestamp
    covers: list[Stretch]
    proven: bool = False


class OwnedExport(ExportModel):
    """An export and the user who asked for it."""

    user_id: UserId


def export_to_json(export: Export) -> OwnedExport:
    """Return the model of an export."""
    return OwnedExport(
        id=export.id,
        state=export.state,
        progress=export.progress,
        to=export.to,
        error=export.error,
        error_code=export.error_code,
        parts=[_export_part(one) for one in export.parts],
        part=None if export.part is None else _part_of(export.part),
        gaps=[
            ExportGap(started_at=one.started_at, ended_at=one.ended_at, cause=one.cause)
            for one in export.gaps
        ],
        changes=[
            ExportChange(
                at=one.at, before=_tracks(one.before), after=_tracks(one.after), cut=one.cut
            )
            for one in export.changes
        ],
        created_at=export.created_at,
        expires_at=export.expires_at,
        covers=[Stretch(**{"from": one.from_}, to=one.to) for one in export.covers],
        proven=export.proven,
        user_id=export.user_id,
        **{"from": export.from_, "bytes": export.size_bytes},
    )


def _export_part(part: ExportPart) -> ExportPartModel:
    return ExportPartModel(
        number=part.number,
        id=part.export_id,
        tracks=_tracks(part.tracks),
        to=part.range.to,
        **{"from": part.range.from_},
    )


def _part_of(part: PartOf) -> PartOfModel:
    return PartOfModel(id=part.export_id, number=part.number, count=part.count)


def _tracks(tracks: Tracks) -> TracksModel:
    width, height = tracks.size or (None, None)
    return TracksModel(
        codec=tracks.codec,
        width=width,
        height=height,
        sound_codec=tracks.sound_codec,
        sound_rate=tracks.sound_rate,
        sound_channels=tracks.sound_channels,
    )


class OwnedExports(Model):
    """A camera's exports, newest first."""

    items: list[OwnedExport]


class ExportOrder(Model):
    """The time range to export, and the user who asks for it."""

    user_id: UserId
    from_: Timestamp = Field(alias="from")
    to: Timestamp


class LivePartModel(Model):
    """Some bytes of a file that play for ``media_ms``."""

    name: str
    init_bytes: int
    offset: int
    size_bytes: int = Field(alias="bytes")
    media_ms: int
    started_at: Timestamp


class LiveModel(Model):
    """The newest parts; ``sequence`` and ``discontinuities`` number the first."""

    parts: list[LivePartModel]
    sequence: int
    discontinuities: int
    target_s: int


def live_to_json(window: LiveWindow) -> LiveModel:
    """Return the model of a live window."""
    return LiveModel(
        parts=[
            LivePartModel(
                name=part.name,
                init_bytes=part.init_bytes,
                offset=part.offset,
                bytes=part.size_bytes,
                media_ms=part.media_ms,
                started_at=part.started_at,
            )
            for part in window.parts
        ],
        sequence=window.sequence,
        discontinuities=window.discontinuities,
        target_s=window.target_s,
    )


JPEG: Final = "image/jpeg"


PICTURE_ANSWER: Final = Media(content_type=JPEG, about="The last picture")


class WidthQuery(Model):
    """The greatest width of the picture in pixels, and its greatest age."""

    width: QueryInteger = Field(default=640, ge=64, le=1_920)
    max_age: QueryInteger | None = Field(
        default=None, ge=1, le=31_536_000, description="404 `no_picture` if it is older, in seconds"
    )


class OwnPictureQuery(WidthQuery):
    """The width, and the id of the user who asks: each has some places where pictures are made."""

    user_id: str = Field(default="", max_length=255)


class PictureQuery(WidthQuery):
    """The width, and a play token for players that send no header."""

    token: str | None = Field(default=None, max_length=2_048)


VIDEO_MP4 = "video/mp4"


class PlaceQuery(Model):
    """The place of a file in a playlist: its decode times begin at ``at`` ms, without it at 0."""

    at: QueryInteger = Field(default=0, ge=0, le=10**11)


FILE_HEADERS: Mapping[str, str] = {
    "Range": "One range of bytes (RFC 9110, 14.2); several are answered with the whole file",
    "If-Range": "An entity tag or a date: the range counts only if it still matches",
    "If-None-Match": "An entity tag: 304 if it still matches",
}


FILE_ANSWERS: Mapping[int, Content] = {
    200: Media(content_type=VIDEO_MP4, about="The whole file"),
    206: Media(content_type=VIDEO_MP4, about="The range asked for"),
    304: None,
}
