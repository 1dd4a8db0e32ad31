"""Where FFmpeg is: the setting, then PATH, then the one that comes with imageio-ffmpeg."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]  # has no types

from streamwarden.errors import ConfigError


def find_ffmpeg(setting: Path | None) -> str:
    """Return the absolute path of the FFmpeg to use.

    Raises:
        ConfigError: the one that is set cannot be executed, or there is none.
    """
    if setting is not None:
        found = shutil.which(str(setting))
        if found is None:
            raise ConfigError(
                f"STREAMWARDEN_FFMPEG: {setting} is not a program that can be executed"
            )
        # Not what a link leads to: a program may ask for the name by which it was called.
        return os.path.abspath(found)  # noqa: PTH100 - Path.resolve would follow the link
    if (found := shutil.which("ffmpeg")) is not None:
        return os.path.abspath(found)  # noqa: PTH100 - likewise
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ConfigError("no FFmpeg was found; install it, or set STREAMWARDEN_FFMPEG") from error


def require_setpriv() -> None:
    """Raise ConfigError unless ``setpriv`` and ``prlimit`` are there.

    Without the one FFmpegs could outlive us, without the other they would have no limits.
    """
    for name in ("setpriv", "prlimit"):
        if shutil.which(name, path="/usr/bin:/bin") is None:
            raise ConfigError(f"{name} was not found in /usr/bin; install util-linux")
