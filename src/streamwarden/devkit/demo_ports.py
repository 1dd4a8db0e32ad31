"""The demo's ports, checked before anything is started."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass

from streamwarden.devkit.media_server import MediaPorts
from streamwarden.errors import ConfigError

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPorts:
    """One port for each listener."""

    webui: int
    api: int
    streaming: int
    internal_api: int
    rtsp: int
    whep: int
    media_control: int
    media_metrics: int
    webrtc_udp: int

    @property
    def media(self) -> MediaPorts:
        """The ports of the media server."""
        return MediaPorts(
            rtsp=self.rtsp,
            whep=self.whep,
            control=self.media_control,
            metrics=self.media_metrics,
            webrtc_udp=self.webrtc_udp,
        )


_OFFSETS = {
    "webui": 0,
    "api": 1,
    "streaming": 2,
    "internal_api": 3,
    "rtsp": 10,
    "whep": 11,
    "media_control": 12,
    "media_metrics": 13,
    "webrtc_udp": 14,
}


class PortTaken(ConfigError):
    """Something else listens on a port that the demo needs."""


def demo_ports(base: int) -> DemoPorts:
    """Return the ports from ``base`` on, all free at the moment; for 0 any free ones.

    Raises:
        PortTaken: One is taken; the message names it and the option that moves them.
    """
    wanted = {name: base + offset if base else 0 for name, offset in _OFFSETS.items()}
    with ExitStack() as held:
        # All are bound at the same time, so that they differ.
        return DemoPorts(**{name: _free(held, name, port) for name, port in wanted.items()})


def _free(held: ExitStack, name: str, port: int) -> int:
    kind = socket.SOCK_DGRAM if name == "webrtc_udp" else socket.SOCK_STREAM
    probe = held.enter_context(socket.socket(socket.AF_INET, kind))
    if kind == socket.SOCK_STREAM:
        # As the servers do: a port with connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((_HOST, port))
        if kind == socket.SOCK_STREAM:
            probe.listen(1)
    except OSError as error:
        raise PortTaken(
            f"port {port} ({name}) cannot be used: {error.strerror}; move all ports with "
            "--port-base, such as --port-base 9000"
        ) from error
    found: int = probe.getsockname()[1]
    return found
