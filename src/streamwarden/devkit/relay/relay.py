"""The relay: its RTSP and control listeners on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from streamwarden.devkit.relay.auth_hook import AllowAll, Authenticator, AuthHook
from streamwarden.devkit.relay.connection import RelayConnection
from streamwarden.devkit.relay.control import HEAD_BYTES, ControlApi
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.listener import Listener
from streamwarden.errors import ConfigError

_LOOPBACK = "127.0.0.1"
_STOP_S = 2.0
TOKEN_VARIABLE = "STREAMWARDEN_RELAY_TOKEN"  # noqa: S105 - a variable's name


class PortBusy(ConfigError):
    """Another program listens on ``port``."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} cannot be listened on: is it taken?")
        self.port = port


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Settings of a relay; port 0: any free one.

    ``auth_url`` is the hook, None for no authentication. ``auth_failure_delay_s`` replaces MediaMTX's
    random pause before it answers wrong credentials.
    """

    host: str = _LOOPBACK
    rtsp_port: int = 0
    control_port: int = 0
    auth_url: str | None = None
    auth_failure_delay_s: float = 0.0
    limits: RelayLimits = field(default_factory=RelayLimits)
    authenticator: Authenticator | None = None
    """Used instead of the hook."""
    control_token: str | None = field(default=None, repr=False)
    """Opens the control API, also the routes of faults, beside what the hook accepts."""


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """Ports of a running relay."""

    rtsp: int
    control: int


class Relay:
    """Listens for RTSP on ``settings.host`` and for control calls on loopback."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        authenticator = settings.authenticator or _authenticator(settings.auth_url)
        self.hub = Hub(
            authenticator=authenticator,
            limits=settings.limits,
            auth_failure_delay_s=settings.auth_failure_delay_s,
        )
        self._api = ControlApi(
            self.hub,
            accept=self.accept_connections,
            refuse=self.refuse_connections,
            hook=AuthHook(settings.auth_url) if settings.auth_url else None,
            token=settings.control_token,
        )
        self._connections: set[RelayConnection] = set()
        self._rtsp: Listener | None = None
        self._control: Listener | None = None
        self._rtsp_port = settings.rtsp_port
        self._stopping = False

    async def start(self) -> RelayPorts:
        """Listen; raises PortBusy."""
        await self.accept_connections()
        try:
            self._control = _listen(_LOOPBACK, self._settings.control_port, self._control_call)
        except PortBusy:
            await self.stop()
            raise
        return RelayPorts(self._rtsp_port, self._control.port)

    async def stop(self) -> None:
        """Stop listening and disconnect all clients; final."""
        self._stopping = True
        await self.hub.pulls.stop()
        await self.refuse_connections()
        if self._control is not None:
            await self._control.close()
        for connection in tuple(self._connections):
            connection.abort()
        async with asyncio.timeout(_STOP_S):
            await self.hub.until(lambda: not self._connections)

    async def refuse_connections(self) -> None:
        """Close the RTSP listener; new connections are refused, existing ones stay."""
        listener, self._rtsp = self._rtsp, None
        if listener is not None:
            await listener.close()

    async def accept_connections(self) -> None:
        """Open the RTSP listener, on the same port as before; raises PortBusy."""
        if self._rtsp is None:
            self._rtsp = _listen(self._settings.host, self._rtsp_port, self._connection)
            self._rtsp_port = self._rtsp.port

    def _connection(self) -> RelayConnection:
        return RelayConnection(self.hub, self._connections, self._admits)

    def _control_call(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=HEAD_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._api.serve)

    def _admits(self) -> bool:
        room = len(self._connections) < self._settings.limits.connections
        return room and not self._stopping


def _authenticator(auth_url: str | None) -> Authenticator:
    return AuthHook(auth_url) if auth_url else AllowAll()


def _listen(host: str, port: int, protocol: Callable[[], asyncio.Protocol]) -> Listener:
    try:
        return Listener(host, port, protocol)
    except OSError as error:
        raise PortBusy(port) from error
