"""MediaMTX's program, from PATH or a pinned download, and its command for the demo and the tests."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tarfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import structlog

from streamwarden.devkit.children import ChildCommand, plain_environment
from streamwarden.devkit.media_server import MediaPorts, MediaServerPlan
from streamwarden.errors import ConfigError, StreamwardenError

log = structlog.get_logger(__name__)


VERSION = "v1.20.1"


PROGRAM_VARIABLE = "STREAMWARDEN_MEDIAMTX"


_ANSWER_WITHIN_S = 5.0


_DOWNLOAD_WITHIN_S = 60.0


_MOST_BYTES = 200 * 1024 * 1024


_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Pin:
    """One release archive of MediaMTX and the SHA-256 that it must have."""

    archive: str
    sha256: str

    @property
    def url(self) -> str:
        """URL of the release."""
        return f"https://github.com/bluenviron/mediamtx/releases/download/{VERSION}/{self.archive}"


PINS: Mapping[str, Pin] = {
    "x86_64": Pin(
        f"mediamtx_{VERSION}_linux_amd64.tar.gz",
        "81b143f55a5d23d4a8c028d52869c14ea4a59919900528698fcc97a747fd69c6",
    ),
    "aarch64": Pin(
        f"mediamtx_{VERSION}_linux_arm64.tar.gz",
        "d1689f0bfefb1864e5ed3dcc8495eb2d7ec0a654f90bf3cd48980cb3bd08718a",
    ),
}
"""The archives by ``platform.machine()``."""


Open = Callable[[str, float], BinaryIO]
"""Opens a URL for reading; the number is the longest wait for an answer in seconds."""


class MediaMtxMissing(StreamwardenError):
    """MediaMTX is not installed and cannot be downloaded; the message says why."""


def open_url(url: str, timeout_s: float) -> BinaryIO:
    """Open an https URL."""
    answer: BinaryIO = urllib.request.urlopen(url, timeout=timeout_s)  # noqa: S310 - pinned, https
    return answer


def find_mediamtx(environ: Mapping[str, str], *, open_url: Open = open_url) -> Path:
    """Return the program: STREAMWARDEN_MEDIAMTX, PATH, the user's cache, or the pinned release.

    Raises:
        ConfigError: STREAMWARDEN_MEDIAMTX names no program.
        MediaMtxMissing: There is none, and none could be downloaded.
    """
    if named := environ.get(PROGRAM_VARIABLE):
        return _named_program(named)
    if on_path := shutil.which("mediamtx", path=environ.get("PATH")):
        return Path(on_path)
    machine = platform.machine()
    cached = _cache_dir(environ) / f"mediamtx-{VERSION}-{machine}"
    if not _runnable(cached):
        if machine not in PINS:
            raise MediaMtxMissing(f"MediaMTX {VERSION} is not pinned for {machine}")
        download(PINS[machine], cached, open_url=open_url)
    return cached


def download(pin: Pin, target: Path, *, open_url: Open = open_url) -> None:
    """Download the program of the release ``pin`` to ``target``, atomically.

    Raises:
        MediaMtxMissing: No network, timeout, too large, or the wrong digest.
    """
    log.info("mediamtx_download", url=pin.url)
    try:
        _download(pin, target, open_url)
    except (OSError, tarfile.TarError, KeyError) as error:
        raise MediaMtxMissing(f"{pin.url} could not be downloaded: {error}") from error


def config_file() -> Path:
    """Return MediaMTX's configuration file; ``deploy/mediamtx.yml`` is a link to it."""
    return Path(__file__).with_name("mediamtx.yml")


def mediamtx_plan(
    program: Path,
    ports: MediaPorts,
    *,
    hook_url: str,
    internal_token: str,
    environ: Mapping[str, str],
) -> MediaServerPlan:
    """Return the plan for MediaMTX on loopback, with ``mediamtx.yml`` and the demo's ports."""
    host = "127.0.0.1"
    addresses = {
        "MTX_AUTHHTTPADDRESS": hook_url,
        "MTX_APIADDRESS": f"{host}:{ports.control}",
        "MTX_METRICSADDRESS": f"{host}:{ports.metrics}",
        "MTX_RTSPADDRESS": f"{host}:{ports.rtsp}",
        "MTX_WEBRTCADDRESS": f"{host}:{ports.whep}",
        "MTX_WEBRTCLOCALUDPADDRESS": f"{host}:{ports.webrtc_udp}",
        "MTX_LOGLEVEL": "warn",
    }
    argv = (str(program), str(config_file()))
    return MediaServerPlan(
        kind="mediamtx",
        spec=ChildCommand(
            name="mediamtx", argv=argv, env={**plain_environment(environ, "MTX_"), **addresses}
        ),
        host=host,
        ports=ports,
        whep_url=f"http://{host}:{ports.whep}",
        internal_token=internal_token,
    )


def _named_program(named: str) -> Path:
    path = Path(named).expanduser()
    if not _runnable(path):
        raise ConfigError(f"{PROGRAM_VARIABLE}: {named} is not a program that can be run")
    return path.absolute()


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _cache_dir(environ: Mapping[str, str]) -> Path:
    configured = environ.get("XDG_CACHE_HOME")
    return (Path(configured) if configured else Path.home() / ".cache") / "streamwarden"


def _download(pin: Pin, target: Path, open_url: Open) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with TemporaryDirectory(dir=target.parent) as workplace:
        archive = Path(workplace) / "archive.tar.gz"
        _fetch(pin, archive, open_url)
        program = Path(workplace) / "mediamtx"
        _unpack(archive, program)
        program.chmod(0o755)
        program.replace(target)


def _unpack(archive: Path, program: Path) -> None:
    # Copied, not extracted, so that no name in the archive determines a path.
    with tarfile.open(archive) as tar, program.open("wb") as file:
        content = tar.extractfile("mediamtx")
        if content is None:
            raise MediaMtxMissing("the archive's mediamtx is no file")
        shutil.copyfileobj(content, file)


def _fetch(pin: Pin, archive: Path, open_url: Open) -> None:
    digest, size_bytes = hashlib.sha256(), 0
    deadline = time.monotonic() + _DOWNLOAD_WITHIN_S
    with open_url(pin.url, _ANSWER_WITHIN_S) as answer, archive.open("wb") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > _MOST_BYTES or time.monotonic() > deadline:
                raise MediaMtxMissing(f"{pin.url} is too large or comes too slowly")
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != pin.sha256:
        raise MediaMtxMissing(f"{pin.url} is not the pinned release: its SHA-256 differs")
