"""Secrets with which tests sign tokens, and the time at which they do."""

from __future__ import annotations

from datetime import UTC, datetime

SECRET = "user-secret-of-at-least-32-bytes-length"
KEY = "stream-key-of-at-least-32-bytes-length"
OTHER_KEY = "another-stream-key-of-at-least-32-bytes"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
