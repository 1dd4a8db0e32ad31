"""The setting ``video_segment_seconds``, with the flow's fallback of 30."""

from __future__ import annotations

import structlog

from streamwarden.http.api.ports import SettingsStore

KEY = "video_segment_seconds"
FALLBACK_S = 30
MIN_S = 1
MAX_S = 3600

_LOG = structlog.get_logger(__name__)


def segment_seconds(settings: SettingsStore) -> int:
    """Return the length of segments; the fallback where it is not set, or to nothing usable."""
    value = settings.get(KEY)
    if value is None:
        return FALLBACK_S
    if isinstance(value, int) and not isinstance(value, bool) and MIN_S <= value <= MAX_S:
        return value
    _LOG.warning("setting_ignored", key=KEY, fallback=FALLBACK_S)
    return FALLBACK_S
