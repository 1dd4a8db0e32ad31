"""Asking cameras of the devkit, and worse things, what they send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamwarden.clients.rtsp import CameraUrl, NotDescribed, Trouble, describe, parse_camera_url
from streamwarden.clients.sdp import tracks_of
from streamwarden.devkit.camera_server import CameraServer, Login
from streamwarden.devkit.relay.faults import Fault, Misbehaviour
from streamwarden.tests.integration.relay_client import RtspClient

LOGIN = Login("viewer", 'p@ss: "word"/%')
WITHIN_S = 30.0


@contextmanager
def camera(*schemes: str) -> Iterator[CameraServer]:
    """A camera with a picture, which nobody had to encode."""
    with (
        CameraServer(ffmpeg="/none", login=LOGIN, schemes=schemes) as server,
        RtspClient(server.relay.ports.rtsp) as publisher,
    ):
        publisher.publish("a", f"?token={server.publish_token}")
        yield server


@pytest.fixture(scope="module")
def both() -> Iterator[CameraServer]:
    with camera("Digest", "Basic") as server:
        yield server


def trouble(url: CameraUrl, *, timeout_s: float = WITHIN_S) -> tuple[Trouble, str]:
    with pytest.raises(NotDescribed) as failed:
        describe(url, timeout_s=timeout_s)
    return failed.value.trouble, failed.value.detail


@pytest.mark.parametrize("schemes", [("Digest",), ("Basic",), ("Basic", "Digest")])
def test_a_camera_describes_itself_to_who_knows_the_password(schemes: tuple[str, ...]) -> None:
    with camera(*schemes) as server:
        sdp = describe(CameraUrl(server.url("a"), LOGIN), timeout_s=WITHIN_S)
        assert [track.codec for track in tracks_of(sdp)] == ["H264", "MPEG4-GENERIC"]
        for login in (Login(LOGIN.user, "guess"), Login("other", LOGIN.password)):
            assert trouble(CameraUrl(server.url("a"), login))[0] is Trouble.LOGIN_WRONG
        assert trouble(CameraUrl(server.url("a")))[0] is Trouble.LOGIN_MISSING
        assert trouble(CameraUrl(server.url("b"), LOGIN))[0] is Trouble.NOT_FOUND


def test_a_password_proves_nothing_with_somebody_elses_nonce(both: CameraServer) -> None:
    with RtspClient(both.relay.ports.rtsp) as thief:
        shown = 'Digest username="viewer", realm="x", nonce="old", uri="rtsp://h/a", response="0"'
        assert thief.ask("DESCRIBE", "a", Authorization=shown).status == 401


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(redirect="rtsp://u:p@198.51.100.7/x"), (Trouble.REDIRECT, "rtsp://198.51.100.7/x")),
        (Fault(redirect="http://h/"), (Trouble.REDIRECT, "somewhere that is no RTSP URL")),
        (Fault(describe_status=403), (Trouble.FORBIDDEN, "")),
        (Fault(describe_status=500), (Trouble.ERROR, "500")),
        (Fault(describe=Misbehaviour.NOT_RTSP), (Trouble.NOT_RTSP, "")),
        (Fault(describe=Misbehaviour.ENDLESS_HEADERS), (Trouble.NOT_RTSP, "endless headers")),
    ],
)
def test_what_is_wrong_is_told_apart(
    both: CameraServer, fault: Fault, expected: tuple[Trouble, str]
) -> None:
    both.fault("a", fault)
    try:
        assert trouble(CameraUrl(both.url("a"), LOGIN)) == expected
    finally:
        both.relay.faults.clear("a")


def test_a_camera_that_never_answers_is_given_up_in_time(both: CameraServer) -> None:
    both.fault("a", Fault(describe=Misbehaviour.HANG))
    try:
        assert trouble(CameraUrl(both.url("a")), timeout_s=0.3)[0] is Trouble.TIMEOUT
    finally:
        both.relay.faults.clear("a")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", (Trouble.NOT_RTSP, "a web server")),
        (b"", (Trouble.CLOSED, "")),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
         (Trouble.NOT_RTSP, "an answer of absurd length")),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
         (Trouble.NOT_RTSP, "an answer of absurd length")),
        (b"RTSP/1.0 200 OK\r\n\r\n", (Trouble.NOT_RTSP, "no session description")),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=", (Trouble.CLOSED, "")),
        (b"RTSP/1.0 OK\r\n\r\n", (Trouble.NOT_RTSP, "")),
        (b"RTSP/1.0 401 No\r\nWWW-Authenticate: Token x\r\n\r\n", (Trouble.LOGIN_UNKNOWN, "token")),
    ],
)  # fmt: skip
def test_garbage_is_bounded_and_named(said: bytes, expected: tuple[Trouble, str]) -> None:
    with answering(said) as port:
        assert trouble(parse_camera_url(f"rtsp://u:p@127.0.0.1:{port}/")) == expected


def test_who_closes_the_connection_with_its_401_is_asked_on_a_new_one() -> None:
    first = b'RTSP/1.0 401 No\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
    sdp = b"v=0\r\nm=video 0 RTP/AVP 26\r\n"
    second = b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(sdp), sdp)
    with answering(first, second) as port:
        told = describe(parse_camera_url(f"rtsp://u:p@127.0.0.1:{port}/"), timeout_s=WITHIN_S)
    assert told == sdp.decode()


def test_where_nothing_listens_the_connection_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert trouble(CameraUrl(f"rtsp://127.0.0.1:{port}/"))[0] is Trouble.REFUSED
    assert trouble(CameraUrl("rtsp://camera.invalid/"))[0] is Trouble.UNRESOLVED


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that says one thing to each connection, whatever it is asked, and closes it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for said in answers:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(WITHIN_S)
                connection.recv(4096)
                connection.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(WITHIN_S)
        server.close()
