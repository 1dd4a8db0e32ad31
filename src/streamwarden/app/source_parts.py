"""What is needed where a camera's source is set or given to the media server, made from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from streamwarden.auth.source_changes import CameraAnswer, SourcePlanner
from streamwarden.auth.source_secrets import SourceSealer, parse_source_keys
from streamwarden.auth.source_targets import SourceTargets
from streamwarden.auth.source_urls import SourceUrl
from streamwarden.auth.targets import Resolve, resolve
from streamwarden.clients.camera_urls import CameraUrl
from streamwarden.clients.rtsp import NotDescribed, Trouble, describe
from streamwarden.config.settings import Settings
from streamwarden.storage.pool import hosts_of

_WITHIN_S: Final = 3.0
_ANSWERS: Final = {
    Trouble.REDIRECT: CameraAnswer.REDIRECTS,
    Trouble.NOT_RTSP: CameraAnswer.OTHER,
    **dict.fromkeys(
        (Trouble.REFUSED, Trouble.UNREACHABLE, Trouble.TIMEOUT, Trouble.CLOSED, Trouble.TLS),
        CameraAnswer.NONE,
    ),
}
"""Any other trouble is told in RTSP: it wants credentials, or has no such path."""


def source_planner(settings: Settings) -> SourcePlanner:
    """Return what plans changes of sources; raise ConfigError where the keys are none."""
    return SourcePlanner(
        sealer=source_sealer(settings),
        targets=source_targets(settings),
        ask=ask_camera,
        pulls=settings.mediamtx_api_url is not None,
    )


def source_sealer(settings: Settings) -> SourceSealer | None:
    """Return what seals and opens credentials, None where no key is set; raise ConfigError."""
    if settings.source_secret_keys is None:
        return None
    return SourceSealer(parse_source_keys(settings.source_secret_keys.get_secret_value()))


def source_targets(settings: Settings, resolve: Resolve = resolve) -> SourceTargets:
    """Return what judges where cameras may be."""
    return SourceTargets(allowed=settings.source_networks, own=own_hosts(settings), resolve=resolve)


def ask_camera(address: str, url: SourceUrl, *, within_s: float = _WITHIN_S) -> CameraAnswer:
    """Ask once, without credentials; of the answer nothing is kept."""
    try:
        describe(CameraUrl(url.at(address)), timeout_s=within_s)
    except NotDescribed as error:
        return _ANSWERS.get(error.trouble, CameraAnswer.RTSP)
    return CameraAnswer.RTSP


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the hosts that serve streamwarden itself, as they are configured."""
    return tuple(dict.fromkeys(_own(settings)))


def _own(settings: Settings) -> Iterator[str]:
    urls = (
        *(settings.rtsp_internal_url, settings.rtsp_publish_url, settings.mediamtx_api_url),
        *(settings.streaming_url, settings.internal_api_url, settings.api_url),
    )
    for url in urls:
        host = urlsplit(url).hostname if url else None
        if host:
            yield host
    if settings.database_url is not None:
        yield from hosts_of(settings.database_url.get_secret_value())
