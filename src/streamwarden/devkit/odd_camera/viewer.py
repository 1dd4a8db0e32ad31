"""One connection to an odd camera: RTSP requests, answers, and the viewer's transports (RFC 2326)."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import socket
import struct
from contextlib import suppress
from typing import Final
from uuid import uuid4

from streamwarden.devkit.odd_camera.camera_state import CameraState
from streamwarden.devkit.odd_camera.playback import Playback
from streamwarden.devkit.relay.auth_hook import AccessRequest
from streamwarden.devkit.relay.interleaved import DOLLAR
from streamwarden.devkit.relay.password_auth import PasswordAuth
from streamwarden.devkit.relay.rtsp import (
    MalformedRequest,
    Request,
    Response,
    body_length,
    credentials_of,
    interleaved_channel,
    parse_head,
    parse_track_target,
)

_log = logging.getLogger(__name__)

_METHODS: Final = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER")

_BODY_BYTES: Final = 64 * 1024

_QUEUE_BYTES: Final = 8 * 1024 * 1024
"""A viewer that takes its packets so much too slowly is disconnected."""

_PORT_PAIRS: Final = 50  # tries to bind an even port and the next one

_CLIENT_PORTS: Final = re.compile(r"client_port=(\d{1,5})-(\d{1,5})")

_LAST_PORT: Final = 65535


class Viewer:
    """One client of the camera, over TCP or UDP."""

    def __init__(
        self,
        camera: CameraState,
        auth: PasswordAuth,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._camera = camera
        self._auth = auth
        self._reader = reader
        self._writer = writer
        self._session = secrets.token_hex(8)
        self._channels: dict[int, int] = {}
        self._ports: dict[int, int] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._playing: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Answer requests until the client or the camera closes the connection."""
        try:
            while (request := await self._next_request()) is not None:
                response = await self._answer(request)
                self._camera.answers.append((request.method, response.status))
                self._respond(response, request)
                await self._writer.drain()
                if request.method == "PLAY" and response.status == 200:  # noqa: PLR2004 - OK
                    self._play()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone, or was disconnected
        except MalformedRequest as error:
            _log.warning("a request cannot be read: %s", error)
        finally:
            self._leave()

    def disconnect(self) -> None:
        """Close the connection, as a camera that reboots does."""
        self._writer.close()

    def send(self, channel: int, packet: bytes) -> None:
        """Send a packet, as `Send` says; a track that was not set up is left out."""
        track, rtcp = divmod(channel, 2)
        if track in self._channels:
            if self._writer.is_closing():
                return
            head = struct.pack(">BBH", DOLLAR, self._channels[track] + rtcp, len(packet))
            self._writer.write(head + packet)
            if self._writer.transport.get_write_buffer_size() > _QUEUE_BYTES:
                _log.warning("a viewer is too slow and is disconnected")
                self._writer.transport.abort()
        elif track in self._ports and self._sockets is not None:
            host = self._writer.get_extra_info("peername")[0]
            # A full buffer or a closed port loses the packet, as UDP does.
            with suppress(BlockingIOError, ConnectionRefusedError):
                self._sockets[rtcp].sendto(packet, (host, self._ports[track] + rtcp))

    async def _next_request(self) -> Request | None:
        """Read one request, past the client's receiver reports; None at the end of the connection."""
        while (first := await self._reader.read(1)) and first[0] == DOLLAR:
            head = await self._reader.readexactly(3)
            await self._reader.readexactly(head[1] << 8 | head[2])
        if not first:
            return None
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        request = parse_head(head[:-4])
        body = await self._reader.readexactly(body_length(request, _BODY_BYTES))
        return Request(request.method, request.url, request.headers, body)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(self._camera.oddities.options_status, {"Public": ", ".join(_METHODS)})
        if not await self._may_watch(request):
            return Response(401, {"WWW-Authenticate": self._auth.challenges})
        return self._answer_viewer(request)

    def _answer_viewer(self, request: Request) -> Response:
        match request.method:
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._set_up(request)
            case "PLAY" if not (self._channels or self._ports):
                return Response(455)
            case "PLAY" | "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN":
                close = request.method == "TEARDOWN"
                return Response(200, {"Session": self._session}, close=close)
            case _:
                return Response(501)

    async def _may_watch(self, request: Request) -> bool:
        credentials = credentials_of(request, "")
        access = AccessRequest(
            ip="127.0.0.1",
            credentials=credentials,
            action="read",
            path="",
            id=uuid4(),
            query="",
            user_agent=request.headers.get("user-agent", ""),
            method=request.method,
            authorization=request.headers.get("authorization", ""),
        )
        return await self._auth.allows(access)

    def _describe(self, request: Request) -> Response:
        oddities = self._camera.oddities
        if oddities.describe_status is not None:
            return Response(oddities.describe_status)
        if oddities.viewers is not None and len(self._camera.viewers) >= oddities.viewers:
            return Response(453)
        headers = {"Content-Base": f"{request.url}/", "Content-Type": "application/sdp"}
        return Response(200, headers, self._camera.description())

    def _set_up(self, request: Request) -> Response:
        oddities = self._camera.oddities
        track = parse_track_target(request.url).track
        if track is None:
            return Response(404)
        offer = request.headers.get("transport", "")
        channel = interleaved_channel(offer, 2 * track)
        if channel is not None and "tcp" in oddities.transports:
            self._channels[track] = channel
            taken = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        elif channel is None and "udp" in oddities.transports and "multicast" not in offer:
            ports = _CLIENT_PORTS.search(offer)
            if ports is None or not 0 < int(ports[1]) < _LAST_PORT:
                return Response(400)
            self._sockets = self._sockets or _socket_pair()
            self._ports[track] = int(ports[1])
            ours = self._sockets[0].getsockname()[1]
            taken = (
                f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={ours}-{ours + 1}"
            )
        else:
            return Response(oddities.transport_status)
        return Response(200, {"Transport": taken, "Session": f"{self._session};timeout=60"})

    def _respond(self, response: Response, request: Request) -> None:
        data = response.encode(request.headers.get("cseq"))
        if self._camera.oddities.bare_line_feeds:
            head, _, body = data.partition(b"\r\n\r\n")
            data = head.replace(b"\r\n", b"\n") + b"\n\n" + body
        self._writer.write(data)
        if response.close:
            self._writer.close()

    def _play(self) -> None:
        if self._playing is None:
            self._camera.viewers.add(self.disconnect)
            self._playing = asyncio.get_running_loop().create_task(self._send_until_reboot())

    async def _send_until_reboot(self) -> None:
        await Playback(self._camera, self.send).run()
        self.disconnect()

    def _leave(self) -> None:
        self._camera.viewers.discard(self.disconnect)
        if self._playing is not None:
            self._playing.cancel()
        for one in self._sockets or ():
            one.close()
        self._writer.close()


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Bind an even port and the next one on loopback, for RTP and RTCP."""
    for _ in range(_PORT_PAIRS):
        first = _bound(0)
        port = first.getsockname()[1]
        if port % 2 == 0:
            with suppress(OSError):
                return first, _bound(port + 1)
        first.close()
    raise OSError("no two UDP ports in a row are free")


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.settimeout(0)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound
