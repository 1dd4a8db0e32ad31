"""An RTSP camera that misbehaves, with H.264 or H.265 from FFmpeg, for development and tests.

In a test, which changes it while it is recorded:

    library = StreamLibrary(ffmpeg, folder)  # encodes what is asked for, once for each folder
    oddities = Oddities(sound="pcma", sound_after_s=None)  # announced and silent
    with OddCamera(library, "small", "large", oddities=oddities) as camera:
        ...  # have ``camera.url`` pulled
        camera.show("large")  # a new size in mid-stream
        camera.change(hang_after_s=0)  # the connection stays, nothing comes
        camera.change(hang_after_s=None)
        camera.reboot()

By hand: ``python -m streamwarden.devkit.odd_camera --port 8700 small large --swap 12``. ``oddities`` lists
everything that it can do wrong.
"""

from __future__ import annotations

from streamwarden.devkit.odd_camera.elementary_streams import STREAMS, StreamLibrary
from streamwarden.devkit.odd_camera.odd_camera import OddCamera
from streamwarden.devkit.odd_camera.oddities import (
    Dropout,
    Oddities,
    ReportKind,
    Reports,
    Sets,
    StampKind,
    Stamps,
)
from streamwarden.devkit.odd_camera.sounds import SOUNDS

__all__ = [
    "SOUNDS",
    "STREAMS",
    "Dropout",
    "OddCamera",
    "Oddities",
    "ReportKind",
    "Reports",
    "Sets",
    "StampKind",
    "Stamps",
    "StreamLibrary",
]
