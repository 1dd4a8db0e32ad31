"""The relay itself: its two listeners on one event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from streamwarden.devkit.relay.connection import Connection
from streamwarden.devkit.relay.control import ControlApi
from streamwarden.devkit.relay.hook import HttpGate, OpenGate
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.limits import Limits
from streamwarden.errors import ConfigError

_LOOPBACK = "127.0.0.1"
_STOP_S = 2.0


class PortBusy(ConfigError):
    """Another program listens on ``port``."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} cannot be listened on: is it taken?")
        self.port = port


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """How a relay is run; port 0 picks a free one.

    ``auth_url`` is the hook (None lets everyone in); ``auth_failure_delay_s`` stands for the
    pause that MediaMTX makes at random before it answers a client whose credentials failed.
    """

    host: str = _LOOPBACK
    rtsp_port: int = 0
    control_port: int = 0
    auth_url: str | None = None
    auth_failure_delay_s: float = 0.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """Where a running relay listens."""

    rtsp: int
    control: int


class Relay:
    """Listens for RTSP on ``settings.host`` and for control calls on loopback."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self.hub = Hub(
            gate=HttpGate(settings.auth_url) if settings.auth_url else OpenGate(),
            limits=settings.limits,
            auth_failure_delay_s=settings.auth_failure_delay_s,
        )
        self._connections: set[Connection] = set()
        self._rtsp: asyncio.Server | None = None
        self._control: asyncio.Server | None = None
        self._rtsp_port = settings.rtsp_port
        self._stopping = False

    async def start(self) -> RelayPorts:
        """Listen; raises PortBusy."""
        await self.accept_connections()
        api = ControlApi(self.hub, self)
        port = self._settings.control_port
        try:
            self._control = await asyncio.start_server(api.serve, _LOOPBACK, port, limit=16 * 1024)
        except OSError as error:
            await self.stop()
            raise PortBusy(port) from error
        return RelayPorts(self._rtsp_port, _port_of(self._control))

    async def stop(self) -> None:
        """Stop listening and disconnect everyone; it is not started again."""
        self._stopping = True
        await self.refuse_connections()
        if self._control is not None:
            self._control.close()
        for connection in tuple(self._connections):
            connection.abort()
        async with asyncio.timeout(_STOP_S):
            await self.hub.until(lambda: not self._connections)

    async def refuse_connections(self) -> None:
        """Close the RTSP listener, so that a connect is refused; who is connected stays."""
        if self._rtsp is not None:
            self._rtsp.close()
            self._rtsp = None

    async def accept_connections(self) -> None:
        """Open the RTSP listener, on the same port as before; raises PortBusy."""
        if self._rtsp is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._rtsp = await loop.create_server(
                self._connection, self._settings.host, self._rtsp_port, backlog=512
            )
        except OSError as error:
            raise PortBusy(self._rtsp_port) from error
        self._rtsp_port = _port_of(self._rtsp)

    def _connection(self) -> Connection:
        return Connection(self.hub, self._connections, self._admits)

    def _admits(self) -> bool:
        room = len(self._connections) < self._settings.limits.connections
        return room and not self._stopping


def _port_of(server: asyncio.Server) -> int:
    port = server.sockets[0].getsockname()[1]
    assert isinstance(port, int)  # noqa: S101 - an Internet socket's name has its port there
    return port
