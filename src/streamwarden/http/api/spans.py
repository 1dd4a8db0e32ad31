"""Stretches of time as callers leave them out."""

from __future__ import annotations

from datetime import datetime, timedelta

from streamwarden.errors import InvalidInput

DEFAULT_SPAN = timedelta(days=1)


def before(to: datetime, span: timedelta) -> datetime:
    """Return the moment ``span`` before ``to``; raise InvalidInput where there is none."""
    try:
        return to - span
    except OverflowError:
        raise InvalidInput("to: must be later", field="to") from None
