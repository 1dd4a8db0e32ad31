"""The relay's RTSP client: it reads a pulled camera's packets as they are, like MediaMTX (gortsplib)."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from streamwarden.devkit.relay.interleaved import DOLLAR, WholeFrames, whole_frames
from streamwarden.errors import StreamwardenError
from streamwarden.mediamtx.rtsp_client import (
    CameraUrl,
    Challenge,
    authorization,
    parse_challenge,
    sections_of,
    tracks_of,
)

Feed = Callable[[bytes, WholeFrames], None]
"""Takes complete interleaved frames: RTP of track N on channel 2 N, its RTCP on the next one."""

_ANSWER_S: Final = 15.0  # MediaMTX's readTimeout, for answers and for packets

_FIRST_DATAGRAM_S: Final = 3.0  # gortsplib's InitialUDPReadTimeout

_KEEPALIVE_S: Final = 25.0  # sessions live for 60 s by default, RFC 2326 section 12.37

_LOOK_EVERY_S: Final = 0.5

_ANSWER_BYTES: Final = 256 * 1024

_PORT_PAIRS: Final = 50  # tries to bind an even port and the next one

_DATAGRAM_BUFFER_BYTES: Final = 1024 * 1024

_OK, _UNAUTHORIZED, _NOT_FOUND, _UNSUPPORTED_TRANSPORT = 200, 401, 404, 461

_GROUP: Final = re.compile(r"destination=([0-9.]+).*?port=(\d{1,5})-\d{1,5}")


class CameraLost(StreamwardenError):
    """The camera cannot be read, or no longer; the message says why, without its URL."""


class TransportRefused(CameraLost):
    """The camera does not serve this transport, or nothing arrives over it."""


@dataclass(frozen=True, slots=True)
class _CameraAnswer:
    status: int
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def first(self, name: str) -> str:
        return next(iter(self.headers.get(name, ())), "")


class CameraClient:
    """One session with a camera over ``transport``: ``tcp``, ``udp`` or ``multicast``.

    ``open`` it once, ``copy`` its packets, then ``close`` it. Certificates are not checked.
    """

    def __init__(self, url: CameraUrl, transport: str) -> None:
        self._url = url
        self._transport = transport
        self._rest = b""
        self._sequence = 0
        self._session = ""
        self._challenges: Sequence[Challenge] = ()
        self._base = url.clean
        self._sockets: list[socket.socket] = []
        self._channels: dict[int, int] = {}
        """The number of a socket to its channel."""
        self._heard_at = 0.0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> str:
        """Connect, set up every track and start; return the description without back channels."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._open()
        except TimeoutError as error:
            raise CameraLost("it does not answer") from error
        except (OSError, ssl.SSLError) as error:
            raise CameraLost(error.strerror or "it cannot be reached") from error

    async def copy(self, feed: Feed) -> None:
        """Hand packets to ``feed`` until the camera is lost; always raises CameraLost."""
        loop = asyncio.get_running_loop()
        self._heard_at = began = time.monotonic()
        for number, each in enumerate(self._sockets):
            loop.add_reader(each, self._receive_datagrams, each, self._channels[number], feed)
        asked_at = began
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._receive()
            except TimeoutError:
                pass
            except OSError as error:
                raise CameraLost(error.strerror or "the connection is lost") from error
            self._take_frames(feed)
            now = time.monotonic()
            if self._sockets and self._heard_at == began and now - began > _FIRST_DATAGRAM_S:
                raise TransportRefused("nothing arrives over UDP")
            if now - self._heard_at > _ANSWER_S:
                raise CameraLost("no packet has come for 10 s")
            if now - asked_at > _KEEPALIVE_S:
                asked_at = now
                self._send("GET_PARAMETER", self._base, {})

    def close(self) -> None:
        """End the session and the connection."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            loop.remove_reader(each)
            each.close()
        if self._writer is not None:
            if self._session:
                self._send("TEARDOWN", self._base, {})
            self._writer.close()

    async def _open(self) -> str:
        context = _unverified() if self._url.secure else None
        self._reader, self._writer = await asyncio.open_connection(
            self._url.host, self._url.port, ssl=context
        )
        options = await self._ask("OPTIONS", self._base)
        if options.status not in {_OK, _NOT_FOUND}:
            raise CameraLost(f"OPTIONS is answered with {options.status}")
        described = await self._ask("DESCRIBE", self._base, {"Accept": "application/sdp"})
        self._check("DESCRIBE", described)
        self._base = described.first("content-base") or self._base
        sdp = without_back_channels(described.body.decode("utf-8", "replace"))
        for number, track in enumerate(tracks_of(sdp)):
            await self._set_up(number, track.control)
        self._check("PLAY", await self._ask("PLAY", self._base, {"Range": "npt=0-"}))
        return sdp

    async def _set_up(self, number: int, control: str) -> None:
        whole = control.startswith(("rtsp://", "rtsps://"))
        url = control if whole else f"{self._base.rstrip('/')}/{control}"
        if self._transport == "tcp":
            offer = f"RTP/AVP/TCP;unicast;interleaved={2 * number}-{2 * number + 1}"
        elif self._transport == "multicast":
            offer = "RTP/AVP;multicast"
        else:
            rtp, rtcp = _socket_pair()
            self._add_socket(rtp, 2 * number)
            self._add_socket(rtcp, 2 * number + 1)
            port = rtp.getsockname()[1]
            offer = f"RTP/AVP;unicast;client_port={port}-{port + 1}"
        answer = await self._ask("SETUP", url, {"Transport": offer})
        if answer.status == _UNSUPPORTED_TRANSPORT:
            raise TransportRefused(f"it does not serve {self._transport}")
        self._check("SETUP", answer)
        if self._transport == "multicast":
            group = _GROUP.search(answer.first("transport"))
            if group is None:
                raise TransportRefused("it names no multicast group")
            for count in (0, 1):
                self._add_socket(_member(group[1], int(group[2]) + count), 2 * number + count)

    def _add_socket(self, each: socket.socket, channel: int) -> None:
        self._channels[len(self._sockets)] = channel
        self._sockets.append(each)

    @staticmethod
    def _check(method: str, answer: _CameraAnswer) -> None:
        if answer.status != _OK:
            raise CameraLost(f"{method} is answered with {answer.status}")

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> _CameraAnswer:
        """Send a request and read its answer; after a challenge once more with the password."""
        self._send(method, url, headers or {})
        answer = await self._answer()
        challenges = [parse_challenge(one) for one in answer.headers.get("www-authenticate", ())]
        if answer.status == _UNAUTHORIZED and self._url.login is not None and challenges:
            self._challenges = challenges
            self._send(method, url, headers or {})
            answer = await self._answer()
        self._session = answer.first("session").partition(";")[0] or self._session
        return answer

    def _send(self, method: str, url: str, headers: Mapping[str, str]) -> None:
        self._sequence += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sequence}", "User-Agent: relay"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenges and self._url.login is not None:
            proof = authorization(self._challenges, self._url.login, method=method, uri=url)
            lines += [f"Authorization: {proof}"] if proof is not None else []
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def _answer(self) -> _CameraAnswer:
        while True:
            answer, self._rest = _parsed(self._rest)
            if answer is not None:
                return answer
            await self._receive()

    async def _receive(self) -> None:
        data = await self._reader.read(65536)
        if not data:
            raise CameraLost("it has closed the connection")
        self._rest += data
        if len(self._rest) > _ANSWER_BYTES:
            raise CameraLost("it does not speak RTSP")

    def _take_frames(self, feed: Feed) -> None:
        """Feed the complete frames of the TCP connection; drop answers to keepalives."""
        while self._rest:
            if self._rest[0] != DOLLAR:
                answer, self._rest = _parsed(self._rest)
                if answer is None:
                    return
                continue
            span = whole_frames(self._rest)
            if span.end == 0:
                return
            frames, self._rest = self._rest[: span.end], self._rest[span.end :]
            self._heard_at = time.monotonic()
            feed(frames, span)

    def _receive_datagrams(self, each: socket.socket, channel: int, feed: Feed) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            while packet := each.recv(65535):
                self._heard_at = time.monotonic()
                frame = struct.pack(">BBH", DOLLAR, channel, len(packet)) + packet
                feed(frame, whole_frames(frame))


def without_back_channels(sdp: str) -> str:
    """Drop the tracks that are for sound to the camera (ONVIF Streaming, 5.3: ``a=sendonly``)."""
    head, *media = sections_of(sdp)
    kept = [section for section in media if "a=sendonly" not in section]
    return "\r\n".join([*head, *(line for section in kept for line in section)]) + "\r\n"


def _parsed(data: bytes) -> tuple[_CameraAnswer | None, bytes]:
    """Return the answer at the start of ``data`` and what follows; None if it is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None, data
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if not first.startswith("RTSP/") or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004
        raise CameraLost("it does not speak RTSP")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    length = headers.get("content-length", ["0"])[0]
    size = int(length) if length.isdigit() else 0
    body = data[end + 4 : end + 4 + size]
    if len(body) < size:
        return None, data
    return _CameraAnswer(int(words[1]), headers, body), data[end + 4 + size :]


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    """Bind an even port and the next one, for RTP and RTCP (RFC 3550, section 11)."""
    for _ in range(_PORT_PAIRS):
        first = _bound(("", 0))
        port = first.getsockname()[1]
        if port % 2 == 0:
            with suppress(OSError):
                return first, _bound(("", port + 1))
        first.close()
    raise CameraLost("no two UDP ports in a row are free")


def _member(group: str, port: int) -> socket.socket:
    """Bind a port of a multicast group."""
    member = _bound((group, port))
    wanted = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")  # noqa: S104 - any interface
    member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
    return member


def _bound(address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.settimeout(0)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DATAGRAM_BUFFER_BYTES)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
