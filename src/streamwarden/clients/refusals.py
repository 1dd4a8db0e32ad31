"""What the streaming role refuses, as errors of ours with the same codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamwarden.errors import Conflict, InvalidInput, NotFound, StreamwardenError, Unavailable


class StreamingUnavailable(Unavailable):
    """The StreamingServer does not answer, or cannot do it now."""

    code = "streaming_unavailable"


class OtherOwner(Conflict):
    """The camera is being recorded for another owner."""

    code = "other_owner"


class NotLive(NotFound):
    """Nothing is being recorded of the camera now."""

    code = "not_live"


class NoPicture(NotFound):
    """Nothing has been recorded of the camera that holds a picture."""

    code = "no_picture"


class PicturesBusy(Unavailable):
    """Too many pictures are being made; ask again soon."""

    code = "pictures_busy"


class ChildNotFound(NotFound):
    """The supervision tree has no such child."""

    code = "child_not_found"


class NotRestartable(Conflict):
    """Only recorders are restarted by hand."""

    code = "not_restartable"


class ExportNotReady(NotFound):
    """The export is not done."""

    code = "export_not_ready"


class ProofNotAvailable(NotFound):
    """The export has no proof."""

    code = "proof_not_available"


class ExportNotFound(NotFound):
    """No such export, or no longer."""

    code = "export_not_found"


class NothingRecorded(NotFound):
    """Nothing was recorded in the range."""

    code = "nothing_recorded"


class RangeTooLong(InvalidInput):
    """The range holds more than one export may."""

    code = "range_too_long"


class ExportsBusy(Unavailable):
    """Too many exports are waiting already."""

    code = "exports_busy"


class NoSpace(Unavailable):
    """The disk has no room for the export beside its reserve."""

    code = "no_space"


REFUSALS: Final[Mapping[tuple[int, str], type[StreamwardenError]]] = {
    (409, OtherOwner.code): OtherOwner,
    (404, NotLive.code): NotLive,
    (404, NoPicture.code): NoPicture,
    (404, ChildNotFound.code): ChildNotFound,
    (404, ExportNotFound.code): ExportNotFound,
    (404, ExportNotReady.code): ExportNotReady,
    (404, ProofNotAvailable.code): ProofNotAvailable,
    (404, NothingRecorded.code): NothingRecorded,
    (400, RangeTooLong.code): RangeTooLong,
    (503, ExportsBusy.code): ExportsBusy,
    (503, NoSpace.code): NoSpace,
    (409, NotRestartable.code): NotRestartable,
    (503, PicturesBusy.code): PicturesBusy,
}
