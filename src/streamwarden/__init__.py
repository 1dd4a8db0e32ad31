"""streamwarden: records RTSP cameras, whatever breaks, and says so when a second is lost."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("streamwarden")
