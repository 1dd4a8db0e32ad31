"""Pulled cameras: each is read by the relay's RTSP client, and its packets are copied as they are.

Simpler than MediaMTX: always on, no certificate check.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final, Protocol
from uuid import uuid4

from streamwarden.devkit.relay.camera_client import CameraClient, CameraLost, TransportRefused
from streamwarden.devkit.relay.faults import FaultTable
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.path_config import PathConfig
from streamwarden.devkit.relay.session import RelaySession, SessionState, Traffic
from streamwarden.devkit.relay.stream import FrameBatch, PublishedStream
from streamwarden.errors import InvalidInput
from streamwarden.mediamtx.rtsp_client import parse_camera_url, tracks_of

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 5.0
"""MediaMTX's wait after each failure of a static source; a change of the path ends it."""

_QUERY: Final = "$MTX_QUERY"
"""MediaMTX puts the reader's query here: for a path that is not on demand, nothing."""


class Publishing(Protocol):
    """Where a pulled camera's stream is published: the hub."""

    faults: FaultTable
    limits: RelayLimits

    def publish(self, stream: PublishedStream) -> None:
        """Put ``stream`` on its path."""

    def unpublish(self, stream: PublishedStream) -> None:
        """End ``stream`` and free its path."""


class Pull:
    """One pulled camera, read from construction to ``stop``."""

    def __init__(self, config: PathConfig, source: str, hub: Publishing) -> None:
        self.config = config
        self._source = source.replace(_QUERY, "")
        self._hub = hub
        self._client: CameraClient | None = None
        self._task = asyncio.get_running_loop().create_task(self._read_for_ever())

    def __repr__(self) -> str:
        return f"Pull({self.config.name})"

    async def stop(self) -> None:
        """Stop reading, and wait for the end."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def deliver(self, batch: FrameBatch) -> None:
        """Nothing is sent to a camera."""

    def finish(self) -> None:
        """Close the connection to the camera; it is read again after a pause."""
        if self._client is not None:
            self._client.close()

    def reset(self) -> None:
        """Close the connection to the camera."""
        self.finish()

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
            except CameraLost as error:
                _log.warning("the camera of %s is not read: %s", self.config.name, error)
            except Exception:  # noqa: BLE001 - an edge: a bug costs this attempt, not the camera
                _log.exception("reading the camera of %s failed", self.config.name)
            await asyncio.sleep(_PAUSE_S)

    async def _read(self) -> None:
        """Read until the camera is lost; ``automatic`` means UDP, and TCP where that is refused."""
        if self.config.transport != "automatic":
            await self._read_over(self.config.transport)
            return
        try:
            await self._read_over("udp")
        except TransportRefused:
            await self._read_over("tcp")

    async def _read_over(self, transport: str) -> None:
        try:
            url = parse_camera_url(self._source)
        except InvalidInput as error:
            raise CameraLost(str(error)) from error
        self._client = client = CameraClient(url, transport)
        stream: PublishedStream | None = None
        try:
            stream = self._stream(await client.open())
            self._hub.publish(stream)
            await client.copy(stream.feed)
        finally:
            self._client = None
            client.close()
            if stream is not None:
                self._hub.unpublish(stream)

    def _stream(self, sdp: str) -> PublishedStream:
        tracks = tracks_of(sdp)
        if not tracks:
            raise CameraLost("it describes no track")
        session = RelaySession(
            connection_id=uuid4(),
            remote="",
            path=self.config.name,
            query="",
            user="",
            user_agent="",
            inbound=Traffic(),
            outbound=Traffic(),
            state=SessionState.PUBLISH,
            channels={number: 2 * number for number in range(len(tracks))},
        )
        return PublishedStream(
            sdp=sdp,
            session=session,
            publisher=self,
            faults=self._hub.faults,
            limits=self._hub.limits,
        )


class Pulls:
    """The pulled cameras by path. Used only on the event loop's thread."""

    def __init__(self, hub: Publishing) -> None:
        self._hub = hub
        self._running: dict[str, Pull] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __contains__(self, name: object) -> bool:
        """Whether the path has a pulled camera, connected or not."""
        return name in self._running

    def __iter__(self) -> Iterator[str]:
        """List the paths."""
        return iter(self._running)

    def set(self, name: str, config: PathConfig | None) -> bool:
        """Set the configuration of a path, None for no pull; return whether it changed.

        Any change begins anew, as in MediaMTX.
        """
        source = config.source if config is not None else None
        before = self._running.get(name)
        if before is None and source is None:
            return False
        if before is not None and config is not None and _same(before.config, config):
            return False
        if before is not None:
            del self._running[name]
            self._end(before)
        if config is not None and source is not None:
            self._running[name] = Pull(config, source, self._hub)
        return True

    async def stop(self) -> None:
        """Stop reading every camera."""
        for pull in self._running.values():
            self._end(pull)
        self._running.clear()
        await asyncio.gather(*self._ending)

    def _end(self, pull: Pull) -> None:
        ending = asyncio.get_running_loop().create_task(pull.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _same(before: PathConfig, after: PathConfig) -> bool:
    return before.to_json() == after.to_json()
