"""Errors, told apart by what the caller can do about them."""

from __future__ import annotations


class StreamwardenError(Exception):
    """Something that the caller should know; ``code`` is stable and goes into problem details."""

    code = "internal_error"


class InvalidInput(StreamwardenError):
    """The caller must change what it sent; ``field`` names the part at fault."""

    code = "invalid_request"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class NotFound(StreamwardenError):
    """No such thing, or none that this caller may see."""

    code = "not_found"


class Denied(StreamwardenError):
    """The caller is known and may not."""

    code = "permission_denied"


class Conflict(StreamwardenError):
    """The request contradicts what is already so."""

    code = "conflict"


class TooManyRequests(StreamwardenError):
    """The caller has called oftener than it may; the same call succeeds after ``retry_after_s``."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(StreamwardenError):
    """Something that is needed does not answer; the same call may succeed later."""

    code = "unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ConfigError(StreamwardenError):
    """The program cannot start as configured; the message says what to set."""

    code = "config_error"
