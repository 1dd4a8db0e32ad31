"""A client of the relay that says exactly what a test wants said, and nothing else."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

TIMEOUT_S = 60.0
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/1\r\na=control:streamid=1\r\n"
)


def frame(channel: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0x24, channel, len(payload)) + payload


class Answer:
    def __init__(self, head: bytes, body: bytes) -> None:
        first, *rest = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
        }
        self.body = body.decode()


class RtspClient:
    """Speaks RTSP over one socket; ``session`` is sent once the server has named it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._base = f"rtsp://127.0.0.1:{port}/"
        self._buffer = b""
        self._session = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, method: str, target: str, body: str = "", **headers: str) -> None:
        lines = [f"{method} {self._base}{target} RTSP/1.0", "CSeq: 1", "User-Agent: test"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if self._session:
            lines.append(f"Session: {self._session}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def ask(self, method: str, target: str, body: str = "", **headers: str) -> Answer:
        self.send(method, target, body, **headers)
        return self.answer()

    def answer(self) -> Answer:
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = int(Answer(head, b"").headers.get("content-length", "0"))
        answer = Answer(head, self._exactly(length))
        self._session = answer.headers.get("session", self._session).partition(";")[0]
        return answer

    def frame(self) -> tuple[int, bytes]:
        """Return the next frame's channel and payload."""
        dollar, channel, length = struct.unpack(">BBH", self._exactly(4))
        assert dollar == 0x24
        return channel, self._exactly(length)

    def ends(self) -> bool:
        """Read to the end; True for FIN, False for RST."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return False
        return True

    def announce(self, target: str, sdp: str = SDP) -> Answer:
        return self.ask("ANNOUNCE", target, sdp, Content_Type="application/sdp")

    def publish(self, path: str, query: str = "", sdp: str = SDP) -> None:
        target = path + query
        assert self.announce(target, sdp).status == 200
        for track in range(sdp.count("m=")):
            transport = f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1};mode=record"
            setup = self.ask("SETUP", f"{target}/streamid={track}", Transport=transport)
            assert setup.status == 200
        assert self.ask("RECORD", target).status == 200

    def set_up(self, target: str, track: int, channel: int) -> Answer:
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        return self.ask("SETUP", f"{target}/trackID={track}", Transport=transport)

    def read(self, path: str, query: str = "", channels: tuple[int, ...] = (0, 2)) -> None:
        target = path + query
        assert self.ask("DESCRIBE", target).status == 200
        for track, channel in enumerate(channels):
            assert self.set_up(target, track, channel).status == 200
        assert self.ask("PLAY", target).status == 200

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data
