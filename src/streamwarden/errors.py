"""Errors by what a caller can do about them, one class for each code that crosses a wall between roles.

`by_code` makes of a problem (RFC 9457) the same error that the other role has raised. An error that
stays in one room is defined where it is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final


class StreamwardenError(Exception):
    """An error with a stable ``code``. ``status`` is its HTTP status, None if no caller is shown it.

    ``reason`` is for operators alone: the words of what has refused, such as a database.
    """

    code = "internal_error"
    status: int | None = None
    reason = ""


def in_full(error: BaseException) -> str:
    """Return an error's message with its reason, for the log and for commands."""
    reason = getattr(error, "reason", "")
    return f"{error}: {reason}" if reason else str(error)


class InvalidInput(StreamwardenError):
    """The caller must change what it sent; ``field`` names the part at fault."""

    code = "invalid_request"
    status = 400

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class NotFound(StreamwardenError):
    """No such thing, or none that this caller may see."""

    code = "not_found"
    status = 404


class Denied(StreamwardenError):
    """The caller is known and may not."""

    code = "permission_denied"
    status = 403


class Conflict(StreamwardenError):
    """The request contradicts the present state."""

    code = "conflict"
    status = 409


class TooManyRequests(StreamwardenError):
    """The caller is over its rate limit; the same call succeeds after ``retry_after_s``."""

    code = "too_many_requests"
    status = 429

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(StreamwardenError):
    """A dependency does not answer; the same call may succeed later."""

    code = "unavailable"
    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ConfigError(StreamwardenError):
    """The program cannot start as configured; the message names the setting."""

    code = "config_error"


class OtherOwner(Conflict):
    """The camera is being recorded for another owner."""

    code = "other_owner"


class ChildNotFound(NotFound):
    """The supervision tree has no such child."""

    code = "child_not_found"


class NotRestartable(Conflict):
    """The child is no recorder; the supervisor restarts every other child by itself."""

    code = "not_restartable"


class SegmentNotFound(NotFound):
    """No such segment of this camera, or its file is gone."""

    code = "segment_not_found"


class NotLive(NotFound):
    """The camera is not being recorded now."""

    code = "not_live"


class NoPicture(NotFound):
    """No recording of the camera has a picture."""

    code = "no_picture"


class PicturesBusy(Unavailable):
    """Too many pictures are being made."""

    code = "pictures_busy"


class NothingRecorded(NotFound):
    """The time range has no recordings."""

    code = "nothing_recorded"


class RangeTooLong(InvalidInput):
    """The time range has more segments than one export or playlist may hold."""

    code = "range_too_long"


class ExportNotFound(NotFound):
    """No such export, none of this user's, or no longer."""

    code = "export_not_found"


class FormatChanged(StreamwardenError):
    """The camera's format changes in the range of an export; each part of one format can be exported."""

    code = "format_changed"


class ExportNotReady(NotFound):
    """The export has no file yet, or never will."""

    code = "export_not_ready"


class ProofNotAvailable(NotFound):
    """The export has no proof: no key is set, or a source differs from what was stored."""

    code = "proof_not_available"


class ExportsBusy(Unavailable):
    """Too many exports are waiting."""

    code = "exports_busy"


class TooManyExports(TooManyRequests):
    """The user has as many exports as one user may have."""

    code = "too_many_exports"

    def __init__(self, detail: str, *, retry_after_s: int = 60) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NoSpace(Unavailable):
    """The export would take disk space that is kept in reserve."""

    code = "no_space"


class StreamingUnavailable(Unavailable):
    """The streaming role does not answer, or not as this version of it does."""

    code = "streaming_unavailable"


_BETWEEN_ROLES: Final[Mapping[str, type[StreamwardenError]]] = {
    kind.code: kind
    for kind in (
        OtherOwner,
        ChildNotFound,
        NotRestartable,
        NotLive,
        NoPicture,
        PicturesBusy,
        NothingRecorded,
        RangeTooLong,
        ExportNotFound,
        ExportNotReady,
        ProofNotAvailable,
        ExportsBusy,
        TooManyExports,
        NoSpace,
    )
}
"""Without SegmentNotFound: a file's 404 is passed on as a status, and elsewhere the index had the row."""


def by_code(status: int, code: str, detail: str) -> StreamwardenError | None:
    """Return the error that the other role has raised, None if it is not one that a caller can act on."""
    kind = _BETWEEN_ROLES.get(code)
    return kind(detail) if kind is not None and kind.status == status else None
