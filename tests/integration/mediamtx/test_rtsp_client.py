"""DESCRIBE to cameras of the devkit, and to servers that answer badly."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamwarden.devkit.camera_server import CameraServer
from streamwarden.devkit.relay.faults import Fault, Misbehaviour
from streamwarden.mediamtx.rtsp_client import (
    CameraUrl,
    Challenge,
    Login,
    NotDescribed,
    Trouble,
    authorization,
    describe,
    distrusted,
    parse_camera_url,
    parse_challenge,
    tracks_of,
)
from tests.integration.devkit.relay_client import RtspClient

LOGIN = Login("viewer", 'p@ss: "word"/%')
WITHIN_S = 120.0


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
        asked = parse_challenge(thief.ask("DESCRIBE", "a").headers["www-authenticate"])
        offer = Challenge("digest", {**asked.parameters, "realm": "devkit camera", "nonce": "old"})
        proof = authorization([offer], LOGIN, method="DESCRIBE", uri=both.url("a"))
        assert thief.ask("DESCRIBE", "a", Authorization=proof or "").status == 401


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(redirect="rtsp://u:p@198.51.100.7/x"), (Trouble.REDIRECT, "rtsp://198.51.100.7/x")),
        (Fault(redirect="http://h/"), (Trouble.REDIRECT, "somewhere that is no RTSP URL")),
        (Fault(describe_status=403), (Trouble.FORBIDDEN, "")),
        (Fault(describe_status=500), (Trouble.SERVER_ERROR, "500")),
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


def test_a_camera_over_tls_describes_itself_and_its_certificate_is_looked_at(
    tmp_path: Path,
) -> None:
    sdp = b"v=0\r\nm=video 0 RTP/AVP 26\r\n"
    said = b"RTSP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(sdp), sdp)
    with answering(said, said, tls=self_signed(tmp_path)) as port:
        url = parse_camera_url(f"rtsps://localhost:{port}/")
        assert describe(url, timeout_s=WITHIN_S) == sdp.decode()
        assert "self-signed" in (distrusted(url) or "").replace("self signed", "self-signed")
    with answering(said) as port:
        assert trouble(parse_camera_url(f"rtsps://localhost:{port}/"))[0] is Trouble.TLS


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate as a camera makes one for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "camera.pem"
    file.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@contextmanager
def answering(*answers: bytes, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that says one thing to each connection, whatever it is asked, and closes it."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for said in answers:
            plain, _ = server.accept()
            with plain, suppress(OSError):  # who distrusts us goes at once
                plain.settimeout(WITHIN_S)
                connection = tls.wrap_socket(plain, server_side=True) if tls else plain
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(WITHIN_S)
        server.close()
