"""What is at a camera's address: asked once, bounded, and believed in nothing but a redirect."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from streamwarden.app.api_role import ask_camera
from streamwarden.mediamtx.camera_source import CameraAnswer
from streamwarden.mediamtx.source_urls import parse_source

OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"


class FakeCamera:
    """Answers each connection by ``says``; ``asked`` is what the last one sent."""

    def __init__(self, says: Callable[[socket.socket], None]) -> None:
        self._says = says
        self.asked = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(30)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                try:
                    self.asked = connection.recv(4096)
                    self._says(connection)
                except OSError:
                    continue


Meet = Callable[[Callable[[socket.socket], None]], FakeCamera]


@pytest.fixture
def meet() -> Iterator[Meet]:
    met: list[FakeCamera] = []

    def camera(says: Callable[[socket.socket], None]) -> FakeCamera:
        met.append(FakeCamera(says))
        return met[-1]

    yield camera
    for one in met:
        one.close()


def asked(port: int, *, within_s: float = 30, scheme: str = "rtsp") -> CameraAnswer:
    url, _ = parse_source(f"{scheme}://cam.lan:{port}/x?y=1")
    return ask_camera("127.0.0.1", url, within_s=within_s)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"RTSP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nv=0\r\nm=video\r\n", CameraAnswer.RTSP),
        (b"RTSP/1.0 401 Unauthorized\r\n\r\n", CameraAnswer.RTSP),
        (b"RTSP/2.0 404 Not Found\r\n\r\n", CameraAnswer.RTSP),
        (b"RTSP/1.0 503 Busy\r\n\r\n", CameraAnswer.RTSP),
        (
            b"RTSP/1.0 301 Moved\r\nLocation: rtsp://10.0.0.1/\r\n\r\n",
            CameraAnswer.REDIRECTS,
        ),
        (b"RTSP/1.0 302 Found\r\n\r\n", CameraAnswer.REDIRECTS),
        (b"RTSP/1.0 305 Use Proxy\r\n\r\n", CameraAnswer.REDIRECTS),
        (b"RTSP/1.0 200 OK\r\n\r\n", CameraAnswer.OTHER),
        (b"HTTP/1.1 301 Moved\r\n\r\n", CameraAnswer.OTHER),
        (b"SSH-2.0-OpenSSH_9.2\r\n", CameraAnswer.OTHER),
        (b"\x00\xff\x00\xff", CameraAnswer.OTHER),
        (b"RTSP/1.0 2000 OK\r\n\r\n", CameraAnswer.OTHER),
        (b"RTSP/1.0", CameraAnswer.NONE),
        (b"", CameraAnswer.NONE),
    ],
)
def test_its_answer_tells_what_it_is(meet: Meet, said: bytes, found: CameraAnswer) -> None:
    assert asked(meet(lambda connection: connection.sendall(said)).port) is found


def test_it_is_asked_for_the_stream_and_shown_nothing(meet: Meet) -> None:
    camera = meet(lambda connection: connection.sendall(OK))
    asked(camera.port)
    line, *headers = camera.asked.decode().split("\r\n")
    assert line == f"DESCRIBE rtsp://127.0.0.1:{camera.port}/x?y=1 RTSP/1.0"
    assert not any(header.lower().startswith("authorization") for header in headers)


def test_somebody_who_says_nothing_is_given_up(meet: Meet) -> None:
    ended = threading.Event()

    def silent(_: socket.socket) -> None:
        ended.wait(30)

    camera = meet(silent)
    assert asked(camera.port, within_s=0.5) is CameraAnswer.NONE
    ended.set()


def test_somebody_who_talks_without_end_is_given_up(meet: Meet) -> None:
    def endless(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x" * 4096)

    assert asked(meet(endless).port) is CameraAnswer.OTHER


def test_nobody_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert asked(port) is CameraAnswer.NONE


def test_somebody_without_tls_is_none_where_tls_was_asked_for(meet: Meet) -> None:
    camera = meet(lambda connection: connection.sendall(OK))
    assert asked(camera.port, scheme="rtsps") is CameraAnswer.NONE
