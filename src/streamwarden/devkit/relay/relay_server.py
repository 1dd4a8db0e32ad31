"""A relay on its own thread, for tests and the demo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from streamwarden.devkit.loop_thread import LoopThread
from streamwarden.devkit.relay.auth_hook import Authenticator
from streamwarden.devkit.relay.faults import Fault, FaultAction
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.relay import Relay, RelayPorts, RelaySettings
from streamwarden.devkit.relay.session import SessionState
from streamwarden.devkit.relay.views import path_item, session_item

_T = TypeVar("_T")


_CALL_S = 5.0


class RelayServer:
    """Runs a relay on its own thread and event loop. Thread-safe.

    A restart after ``stop`` uses the same ports.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        rtsp_port: int = 0,
        control_port: int = 0,
        auth_url: str | None = None,
        *,
        auth_failure_delay_s: float = 0.0,
        limits: RelayLimits | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        self._settings = RelaySettings(
            host,
            rtsp_port,
            control_port,
            auth_url,
            auth_failure_delay_s,
            limits or RelayLimits(),
            authenticator=authenticator,
        )
        self._loop: LoopThread | None = None
        self._relay: Relay | None = None
        self.faults = Faults(self)

    def start(self) -> RelayPorts:
        """Listen and return the bound ports; raises PortBusy."""
        self._loop = LoopThread("relay")
        self._relay = Relay(self._settings)
        try:
            ports = self._await(self._relay.start())
        except BaseException:
            self._end_loop()
            raise
        self._settings = replace(self._settings, rtsp_port=ports.rtsp, control_port=ports.control)
        return ports

    def stop(self) -> None:
        """Disconnect all clients and end the thread; no effect when repeated."""
        if self._relay is None:
            return
        try:
            self._await(self._relay.stop())
        finally:
            self._end_loop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def ports(self) -> RelayPorts:
        """The current ports, or the last ones."""
        return RelayPorts(self._settings.rtsp_port, self._settings.control_port)

    @property
    def rtsp_url(self) -> str:
        """The base of every path's URL."""
        return f"rtsp://{self._settings.host}:{self._settings.rtsp_port}"

    @property
    def control_url(self) -> str:
        """The base of the control API."""
        return f"http://127.0.0.1:{self._settings.control_port}"

    def paths(self) -> list[dict[str, object]]:
        """List the published paths, as the control API shows them."""
        return self.call(lambda hub: [path_item(stream) for stream in hub.streams.values()])

    def sessions(self) -> list[dict[str, object]]:
        """List the sessions, oldest first, as the control API shows them."""
        return self.call(lambda hub: [session_item(session) for session in hub.sessions()])

    def kick(self, session_id: UUID) -> bool:
        """Disconnect a session; False if there is none with that id."""
        return self.call(lambda hub: hub.kick(session_id))

    def wait_for_publisher(self, path: str, *, timeout_s: float) -> bool:
        """Wait until ``path`` is published; False on timeout."""
        return self.wait_until(lambda hub: path in hub.streams, timeout_s=timeout_s)

    def wait_for_readers(self, path: str, count: int, *, timeout_s: float) -> bool:
        """Wait until exactly ``count`` sessions read ``path``; False on timeout."""
        return self.wait_until(lambda hub: _readers(hub, path) == count, timeout_s=timeout_s)

    def wait_until(self, condition: Callable[[Hub], bool], *, timeout_s: float) -> bool:
        """Wait until ``condition`` is true; it is evaluated on the relay's thread after each change."""
        hub = self._running().hub

        async def wait() -> bool:
            try:
                async with asyncio.timeout(timeout_s):
                    await hub.until(lambda: condition(hub))
            except TimeoutError:
                return False
            return True

        return self._await(wait(), timeout_s + _CALL_S)

    def refuse_connections(self) -> None:
        """Close the RTSP listener; new connections are refused, existing ones stay."""
        self._await(self._running().refuse_connections())

    def accept_connections(self) -> None:
        """Open the RTSP listener again, on the same port."""
        self._await(self._running().accept_connections())

    def call(self, use: Callable[[Hub], _T]) -> _T:
        """Run ``use`` on the relay's thread and return its result."""
        hub = self._running().hub

        async def run() -> _T:
            return use(hub)

        return self._await(run())

    def _running(self) -> Relay:
        if self._relay is None:
            raise RuntimeError("the relay is not running")
        return self._relay

    def _await(self, work: Coroutine[Any, Any, _T], timeout_s: float = _CALL_S) -> _T:
        loop = self._loop
        if loop is None:
            work.close()
            raise RuntimeError("the relay is not running")
        return loop.run(work, timeout_s)

    def _end_loop(self) -> None:
        loop, self._loop, self._relay = self._loop, None, None
        if loop is not None:
            loop.end()


class Faults:
    """The faults of a running relay; each takes effect before the call returns."""

    def __init__(self, server: RelayServer) -> None:
        self._server = server

    def set(self, path: str | None, fault: Fault) -> None:
        """Set the fault of one path, or with None that of all paths without their own."""
        self._server.call(lambda hub: hub.faults.set(path, fault))

    def clear(self, path: str | None = None) -> None:
        """Clear the fault of one path, or with None all faults."""
        self._server.call(lambda hub: hub.faults.clear(path))

    def act(self, path: str | None, action: FaultAction) -> int:
        """Disconnect readers or the publisher of one path, or with None of all; return the number."""
        return self._server.call(lambda hub: hub.act(path, action))


def _readers(hub: Hub, path: str) -> int:
    return sum(
        session.path == path and session.state is SessionState.READ for session in hub.sessions()
    )
