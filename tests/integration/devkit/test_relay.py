from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.relay import PortBusy
from streamwarden.devkit.relay.relay_server import RelayServer
from tests.integration.devkit.relay_client import SDP, TIMEOUT_S, RtspClient, frame


@pytest.fixture
def relay() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


def _client(relay: RelayServer) -> RtspClient:
    return RtspClient(relay.ports.rtsp)


def test_what_is_published_reaches_every_reader(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as one, _client(relay) as other:
        camera.publish("cam/a", "?token=x")
        one.read("cam/a", "?token=y")
        other.read("cam/a")
        camera.socket.sendall(frame(0, b"video") + frame(1, b"report") + frame(2, b"audio"))
        for reader in (one, other):
            assert [reader.frame() for _ in range(3)] == [
                (0, b"video"),
                (1, b"report"),
                (2, b"audio"),
            ]


def test_a_frame_cut_in_two_by_tcp_arrives_whole(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        reader.read("a")
        data = frame(0, b"x" * 5000)
        for part in (data[:2], data[2:777], data[777:]):
            camera.socket.sendall(part)
        assert reader.frame() == (0, b"x" * 5000)


def test_a_reader_may_choose_other_channels_and_fewer_tracks(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        reader.read("a", channels=(6,))
        camera.socket.sendall(frame(2, b"audio") + frame(0, b"video") + frame(1, b"report"))
        assert [reader.frame(), reader.frame()] == [(6, b"video"), (7, b"report")]


def test_the_description_is_passed_on_with_the_relays_controls(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        described = reader.ask("DESCRIBE", "a?token=x")
        assert described.headers["content-base"].endswith("/a?token=x/")
        assert described.body == SDP.replace("streamid", "trackID")


def test_nobody_publishing_is_404_and_the_end_of_the_connection(relay: RelayServer) -> None:
    with _client(relay) as reader:
        assert reader.ask("DESCRIBE", "a").status == 404
        assert reader.ends()


def test_a_publisher_that_leaves_takes_its_readers_along(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        reader.read("a")
        camera.socket.sendall(frame(0, b"last"))
        assert camera.ask("TEARDOWN", "a").status == 200
        assert reader.frame() == (0, b"last")
        assert reader.ends()
        with _client(relay) as late:
            assert late.ask("DESCRIBE", "a").status == 404


def test_a_second_publisher_takes_the_path_over(relay: RelayServer) -> None:
    with _client(relay) as first, _client(relay) as second, _client(relay) as reader:
        first.publish("a")
        second.publish("a")
        assert first.ends()
        reader.read("a")
        second.socket.sendall(frame(0, b"second"))
        assert reader.frame() == (0, b"second")
        assert len(relay.paths()) == 1


def test_a_slow_reader_is_disconnected_and_the_others_are_not_hurt() -> None:
    limits = RelayLimits(reader_queue_bytes=256 * 1024, reader_socket_bytes=16 * 1024)
    with (
        RelayServer(limits=limits) as relay,
        _client(relay) as camera,
        _client(relay) as slow,
        _client(relay) as quick,
    ):
        camera.publish("a")
        slow.read("a")
        quick.read("a")
        sent = 0
        while len(relay.sessions()) == 3:
            assert sent < 5000
            camera.socket.sendall(frame(0, bytes(10_000)))
            assert quick.frame() == (0, bytes(10_000))
            sent += 1
        camera.socket.sendall(frame(0, b"still here"))
        assert quick.frame() == (0, b"still here")


def test_keepalives_are_answered_and_none_are_needed() -> None:
    with (
        RelayServer(limits=RelayLimits(idle_s=0.2)) as relay,
        _client(relay) as camera,
        _client(relay) as reader,
        _client(relay) as idle,
    ):
        camera.publish("a")
        reader.read("a")
        assert idle.ends()  # by then the reader has been silent just as long
        assert reader.ask("GET_PARAMETER", "a").status == 200
        assert reader.ask("OPTIONS", "a").headers["session"].endswith(";timeout=60")


@pytest.mark.parametrize("method", ["PLAY", "RECORD", "TEARDOWN"])
def test_a_method_without_its_session_is_454(relay: RelayServer, method: str) -> None:
    with _client(relay) as client:
        assert client.ask(method, "a").status == 454


def test_another_sessions_name_is_no_use(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        assert reader.set_up("a", 0, 0).status == 200
        reader._session = "guess"
        assert reader.ask("PLAY", "a").status == 454


def test_udp_is_refused_with_461(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as reader:
        camera.publish("a")
        transport = "RTP/AVP;unicast;client_port=5000-5001"
        assert reader.ask("SETUP", "a/trackID=0", Transport=transport).status == 461


def test_a_track_is_set_up_once_and_must_exist(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as one, _client(relay) as other:
        camera.publish("a")
        assert one.set_up("a", 0, 0).status == 200
        assert one.set_up("a", 0, 2).status == 400
        assert other.set_up("a", 2, 0).status == 400


@pytest.mark.parametrize(
    "sdp", ["v=0\r\n", SDP + "m=video 0 RTP/AVP 96\r\n" * 15, "x" * 70_000], ids=["0", "17", "big"]
)
def test_a_description_is_bounded(relay: RelayServer, sdp: str) -> None:
    with _client(relay) as camera:
        assert camera.announce("a", sdp).status in {400, 413}
        assert camera.ends() in {True, False}
    assert relay.sessions() == []


@pytest.mark.parametrize(
    "junk",
    [
        b"A" * 20_000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 20_000,
        b"OPTIONS * RTSP/1.0\r\nx\r\n\r\n",
    ],
)
def test_junk_is_answered_400_and_sent_away(relay: RelayServer, junk: bytes) -> None:
    with _client(relay) as client:
        client.socket.sendall(junk)
        assert client.answer().status == 400
        client.ends()
    with _client(relay) as client:
        assert client.ask("OPTIONS", "").status == 200


def test_a_flood_of_requests_is_cut_off(relay: RelayServer) -> None:
    with _client(relay) as client:
        request = b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n"
        client.socket.sendall(request * 100)
        while client.answer().status == 200:
            pass
        client.ends()


def test_connections_are_bounded() -> None:
    with RelayServer(limits=RelayLimits(connections=1)) as relay, _client(relay) as first:
        assert first.ask("OPTIONS", "").status == 200
        with _client(relay) as second:
            second.ends()
        assert first.ask("OPTIONS", "").status == 200


def test_it_starts_again_on_the_ports_that_it_had(relay: RelayServer) -> None:
    with _client(relay) as camera:
        camera.publish("a")
        relay.stop()
        camera.ends()
    assert relay.start() == relay.ports
    with _client(relay) as camera:
        camera.publish("a")
        assert relay.wait_for_publisher("a", timeout_s=TIMEOUT_S)


def test_a_busy_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for busy in (RelayServer(rtsp_port=port), RelayServer(control_port=port)):
            with pytest.raises(PortBusy, match=str(port)):
                busy.start()
            busy.stop()


def test_one_session_reads_one_path(relay: RelayServer) -> None:
    with _client(relay) as camera, _client(relay) as other, _client(relay) as reader:
        camera.publish("a")
        other.publish("b")
        assert reader.set_up("a", 0, 0).status == 200
        assert reader.set_up("b", 1, 2).status == 400
