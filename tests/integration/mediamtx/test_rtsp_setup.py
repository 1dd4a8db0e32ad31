"""What cameras answer when they are asked for their stream, transport by transport."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import pytest

from streamwarden.devkit.odd_camera import OddCamera, Oddities, StreamLibrary
from streamwarden.mediamtx.credentials import CameraCredentials, CredentialCipher
from streamwarden.mediamtx.rtsp_client import CameraUrl, Login, NotDescribed, Trouble, set_up
from streamwarden.mediamtx.source_checks import SourceAnswer, SourceAsker
from streamwarden.mediamtx.source_urls import SourceTargets
from streamwarden.model import CameraSource, SourceTrouble, Transport
from tests.integration.mediamtx.test_rtsp_client import answering as serving_in_turn
from tests.integration.mediamtx.test_rtsp_client import self_signed

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WITHIN_S = 20.0
TCP, UDP, MULTICAST = Transport.TCP, Transport.UDP, Transport.MULTICAST
CAMERA = UUID("11111111-1111-1111-1111-111111111111")
CIPHER = CredentialCipher([b"k" * 32])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StreamLibrary:
    return StreamLibrary(FFMPEG, tmp_path_factory.mktemp("streams"))


@contextmanager
def odd(library: StreamLibrary, **oddities: Any) -> Iterator[OddCamera]:  # noqa: ANN401 - fields of Oddities
    with OddCamera(library, "small", oddities=Oddities(**oddities)) as camera:
        yield camera


def trouble(url: CameraUrl, transport: Transport = TCP) -> Trouble | None:
    try:
        set_up(url, transport, timeout_s=WITHIN_S)
    except NotDescribed as error:
        return error.trouble
    return None


@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        (("tcp", "udp"), (None, None)),
        (("tcp",), (None, Trouble.TRANSPORT_REFUSED)),
        (("udp",), (Trouble.TRANSPORT_REFUSED, None)),
    ],
)
def test_each_transport_is_asked_for_by_itself_and_nothing_is_played(
    library: StreamLibrary,
    transports: tuple[str, ...],
    expected: tuple[Trouble | None, Trouble | None],
) -> None:
    with odd(library, transports=transports) as camera:
        url = CameraUrl(camera.url)
        assert (trouble(url), trouble(url, UDP)) == expected
        methods = {method for method, _ in camera.answers}
        assert methods == {"DESCRIBE", "SETUP", "TEARDOWN"}
        assert camera.viewers == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, Trouble.LOGIN_MISSING),
        (403, Trouble.FORBIDDEN),
        (404, Trouble.NOT_FOUND),
        (406, Trouble.NOT_ACCEPTABLE),
        (453, Trouble.BUSY),
        (454, Trouble.NO_SESSION),
        (461, Trouble.TRANSPORT_REFUSED),
        (500, Trouble.SERVER_ERROR),
        (503, Trouble.BUSY),
        (551, Trouble.SERVER_ERROR),
        (451, Trouble.ERROR),
    ],
)
def test_each_status_has_its_word_in_either_answer(
    library: StreamLibrary, status: int, expected: Trouble
) -> None:
    with odd(library, describe_status=status) as camera:
        assert trouble(CameraUrl(camera.url)) is expected
        camera.change(describe_status=None, transports=("udp",), transport_status=status)
        assert trouble(CameraUrl(camera.url)) is expected


@pytest.mark.parametrize("schemes", [("Digest",), ("Basic",)])
@pytest.mark.parametrize("password", ["", "p@ss:w/rd#%"])
def test_every_request_is_signed_also_with_an_empty_password(
    library: StreamLibrary, schemes: tuple[str, ...], password: str
) -> None:
    login = Login("root", password)
    with odd(library, login=login, schemes=schemes) as camera:
        assert trouble(CameraUrl(camera.url, login)) is None
        assert trouble(CameraUrl(camera.url, Login("root", "guess"))) is Trouble.LOGIN_WRONG
        assert trouble(CameraUrl(camera.url)) is Trouble.LOGIN_MISSING


def test_a_camera_that_is_full_says_so(library: StreamLibrary) -> None:
    with odd(library, viewers=0) as camera:
        assert trouble(CameraUrl(camera.url)) is Trouble.BUSY


@contextmanager
def answering(reply: bytes) -> Iterator[CameraUrl]:
    """Serve ``reply`` to whatever one client says first."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)
                connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield CameraUrl(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x")
        thread.join(WITHIN_S)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Trouble.NOT_RTSP),
        (b"\x15\x03\x03\x00\x02\x02\x46", Trouble.TLS_NEEDED),
        (b"\x15\x03\x01\x00\x02\x02\x0a", Trouble.TLS_NEEDED),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Trouble.NOT_RTSP),
    ],
)
def test_another_protocol_is_told_apart(reply: bytes, expected: Trouble) -> None:
    with answering(reply) as url:
        assert trouble(url) is expected


def test_a_port_that_takes_tls_alone_says_so(tmp_path: Path) -> None:
    context = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                plain, _ = server.accept()
                with plain, suppress(OSError), context.wrap_socket(plain, server_side=True):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        assert trouble(CameraUrl(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x")) is (
            Trouble.TLS_NEEDED
        )
        thread.join(WITHIN_S)


def test_who_closes_the_connection_with_its_401_is_asked_on_a_new_one() -> None:
    challenge = b'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
    with serving_in_turn(challenge, b"RTSP/1.0 453 Not Enough Bandwidth\r\n\r\n") as port:
        url = CameraUrl(f"rtsp://127.0.0.1:{port}/x", Login("root", ""))
        assert trouble(url) is Trouble.BUSY


def a_row(camera: OddCamera, transport: Transport, *, password: str | None = None) -> CameraSource:
    encrypted = None
    if password is not None:
        encrypted = CIPHER.encrypt(CAMERA, CameraCredentials("root", password))
    return CameraSource(
        camera_id=CAMERA,
        path="cam",
        status="active",
        url=camera.url,
        encrypted=encrypted,
        transport=transport,
    )


ASKER = SourceAsker(targets=SourceTargets(("127.0.0.1",)), cipher=CIPHER)


@pytest.mark.parametrize(
    ("takes", "status", "wanted", "expected"),
    [
        (("tcp", "udp"), 461, Transport.AUTOMATIC, SourceAnswer(transport=TCP)),
        (("udp",), 461, Transport.AUTOMATIC, SourceAnswer(transport=UDP)),
        (("udp",), 406, Transport.AUTOMATIC, SourceAnswer(transport=UDP)),
        ((), 461, Transport.AUTOMATIC, SourceAnswer(trouble=SourceTrouble.TRANSPORT_REFUSED)),
        (("udp",), 461, TCP, SourceAnswer(trouble=SourceTrouble.TRANSPORT_REFUSED)),
        (("tcp",), 461, UDP, SourceAnswer(trouble=SourceTrouble.TRANSPORT_REFUSED)),
        (("udp",), 461, UDP, SourceAnswer()),
    ],
)
def test_an_automatic_camera_is_asked_for_the_other_ways_and_no_other_is(
    library: StreamLibrary,
    takes: tuple[str, ...],
    status: int,
    wanted: Transport,
    expected: SourceAnswer,
) -> None:
    with odd(library, transports=takes, transport_status=status) as camera:
        assert ASKER.find(a_row(camera, wanted)) == expected


def test_a_wrong_password_a_silent_port_and_what_may_not_be_asked_have_their_reasons(
    library: StreamLibrary,
) -> None:
    with odd(library, login=Login("root", "")) as camera:
        assert ASKER.find(a_row(camera, TCP, password="")) == SourceAnswer()
        wrong = SourceAnswer(trouble=SourceTrouble.LOGIN_WRONG)
        assert ASKER.find(a_row(camera, TCP, password="guess")) == wrong
        row = a_row(camera, TCP)
        asked = len(camera.answers)
        strict = SourceAsker(targets=SourceTargets(("10.0.0.0/8",)), cipher=CIPHER)
        assert strict.find(row) == SourceAnswer(trouble=SourceTrouble.NOT_ALLOWED)
        other = SourceAsker(
            targets=SourceTargets(("127.0.0.1",)), cipher=CredentialCipher([b"o" * 32])
        )
        unreadable = other.find(a_row(camera, TCP, password="x"))
        assert unreadable == SourceAnswer(trouble=SourceTrouble.CREDENTIALS)
        assert len(camera.answers) == asked
    assert ASKER.find(row) == SourceAnswer(trouble=SourceTrouble.REFUSED)
