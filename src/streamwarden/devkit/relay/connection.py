"""One TCP connection: parses requests and interleaved frames, sends answers and frames."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from uuid import uuid4

from streamwarden.devkit.relay import sdp
from streamwarden.devkit.relay.dialogue import Dialogue
from streamwarden.devkit.relay.faults import Misbehaviour
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.interleaved import DOLLAR, whole_frames
from streamwarden.devkit.relay.rtsp import (
    MalformedRequest,
    Request,
    Response,
    body_length,
    parse_head,
)
from streamwarden.devkit.relay.session import Traffic
from streamwarden.devkit.relay.stream import FrameBatch

_log = logging.getLogger(__name__)


_LINGER_S = 2.0  # how long a client has to close its side after our FIN


_FLOOD_PAUSE_S = 0.01  # limits the endless headers of a fault


_RESET = struct.pack("ii", 1, 0)


class RelayConnection(asyncio.Protocol):
    """One client's connection. Used only on the event loop's thread."""

    def __init__(
        self, hub: Hub, connections: set[RelayConnection], admits: Callable[[], bool]
    ) -> None:
        self.id = uuid4()
        self.inbound = Traffic()
        self.outbound = Traffic()
        self.ip = self.remote = ""
        self._hub = hub
        self._connections = connections
        self._admits = admits
        self._dialogue = Dialogue(hub, self)
        self._rest = b""
        self._requests: deque[Request] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport
        self._finished = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, unless there are too many or the relay is stopping."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP's transport is one
        self._transport = transport
        if not self._admits():
            transport.abort()
            return
        self._connections.add(self)
        host, port = transport.get_extra_info("peername")[:2]
        self.ip, self.remote = host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._watch_idleness()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is gone
        """Remove the connection from its stream and session."""
        self._finished = True
        self._connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        if self._serving is not None:
            self._serving.cancel()
        self._dialogue.end()
        self._hub.changed()

    def pause_writing(self) -> None:
        """Record that the write buffer is above its high-water mark."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Record that the write buffer has drained."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes: frames are forwarded at once, requests answered in order."""
        self.inbound.add(len(data))
        if self._finished:
            return
        try:
            self._rest = self._consume(self._rest + data if self._rest else data)
        except MalformedRequest as error:
            self._respond(Response(error.status, close=True), None)

    def deliver(self, batch: FrameBatch) -> None:
        """Send frames; disconnect a reader whose queue is too long."""
        if self._finished or self._transport.is_closing():
            return
        self._transport.write(batch.data)
        self.outbound.add(len(batch.data), batch.rtp, batch.rtcp)
        if self._transport.get_write_buffer_size() > self._hub.limits.reader_queue_bytes:
            _log.warning("reader %s is too slow and is disconnected", self.remote)
            self._transport.abort()

    def finish(self) -> None:
        """Send the queue, then FIN; abort if the client does not close its side."""
        if self._finished or self._transport.is_closing():
            return
        self._finished = True
        self._transport.write_eof()
        self._dialogue.end()  # counts as closed now, not when the client closes its side
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)

    def reset(self) -> None:
        """Disconnect with RST: closing with a linger time of zero sends one (socket(7))."""
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    def abort(self) -> None:
        """Disconnect at once, whatever is queued."""
        self._transport.abort()

    async def misbehave(self, how: Misbehaviour, request: Request) -> None:
        """Commit the fault ``how``, until the client disconnects or the wrong answer is sent."""
        match how:
            case Misbehaviour.NOT_RTSP:
                self._write(b"220 mail.example ESMTP ready\r\n" * 8)
                self.finish()
            case Misbehaviour.ABSURD_SDP:
                answer = Response(200, {"Content-Type": "application/sdp"}, sdp.absurd().encode())
                self._respond(answer, request)
            case Misbehaviour.ENDLESS_HEADERS:
                await self._flood()
            case _:
                await asyncio.Event().wait()  # cancelled by connection_lost

    async def _flood(self) -> None:
        self._write(b"RTSP/1.0 200 OK\r\n")
        while not self._finished:
            self._write(b"X-Endless: header\r\n" * 1000)
            await self._writable.wait()
            await asyncio.sleep(_FLOOD_PAUSE_S)

    def _consume(self, data: bytes) -> bytes:
        """Consume complete frames and requests; return the rest."""
        while data and not self._finished:
            taken = self._take_frames(data) if data[0] == DOLLAR else self._take_request(data)
            if taken == 0:
                break
            data = data[taken:]
        return data

    def _take_frames(self, data: bytes) -> int:
        span = whole_frames(data)
        if span.end:
            frames = data if span.end == len(data) else data[: span.end]
            self.inbound.add(0, span.rtp, span.rtcp)
            self._dialogue.frames(frames, span)
        return span.end

    def _take_request(self, data: bytes) -> int:
        limits = self._hub.limits
        end = data.find(b"\r\n\r\n", 0, limits.header_bytes)
        if end < 0:
            if len(data) >= limits.header_bytes:
                raise MalformedRequest("the header is too large")
            return 0
        request = parse_head(data[:end])
        start = end + 4
        length = body_length(request, limits.sdp_bytes)
        if len(data) < start + length:
            return 0
        body = data[start : start + length]
        self._queue(Request(request.method, request.url, request.headers, body))
        return start + length

    def _queue(self, request: Request) -> None:
        if len(self._requests) >= self._hub.limits.pipelined_requests:
            raise MalformedRequest("too many requests at once")
        self._requests.append(request)
        self._watch_idleness()
        if self._serving is None or self._serving.done():
            self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        while self._requests and not self._finished:
            request = self._requests.popleft()
            try:
                response = await self._dialogue.answer(request)
            except Exception:  # noqa: BLE001 - an edge: a bug costs its connection, not the relay
                _log.exception("answering %s failed", request.method)
                response = Response(500, close=True)
            if response is not None:
                self._respond(response, request)

    def _respond(self, response: Response, request: Request | None) -> None:
        self._write(response.encode(request.headers.get("cseq") if request else None))
        if response.close:
            self.finish()
        elif self._dialogue.established:
            self._widen()

    def _write(self, data: bytes) -> None:
        if not self._finished and not self._transport.is_closing():
            self._transport.write(data)
            self.outbound.add(len(data))

    def _widen(self) -> None:
        """A session that plays or publishes has no idle timeout; TCP reports its end."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        size = self._hub.limits.reader_socket_bytes
        if size is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _watch_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if not self._dialogue.established:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._hub.limits.idle_s, self._on_idle)

    def _on_idle(self) -> None:
        self._idle = None
        if self._serving is not None and not self._serving.done():
            self._watch_idleness()  # we owe it an answer, so it is not idle
        else:
            self._transport.abort()
