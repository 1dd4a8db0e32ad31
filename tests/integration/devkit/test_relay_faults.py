from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from streamwarden.devkit.relay.faults import Fault, FaultAction, Misbehaviour, Silence
from streamwarden.devkit.relay.relay_server import RelayServer
from tests.integration.devkit.relay_client import RtspClient, frame

RTP = struct.pack(">BBHII", 0x80, 96, 7, 1000, 1) + b"media"
REPORT = struct.pack(">BBHIQIII", 0x80, 200, 6, 1, 10 << 32, 1000, 0, 0)


@pytest.fixture
def relay() -> Iterator[RelayServer]:
    with RelayServer() as running:
        yield running


@contextmanager
def _reading(relay: RelayServer, path: str = "a") -> Iterator[tuple[RtspClient, RtspClient]]:
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish(path)
        reader.read(path)
        yield camera, reader


def test_silent_media_lets_reports_and_answers_through(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set("a", Fault(silence=Silence.MEDIA))
        camera.socket.sendall(frame(0, RTP) + frame(1, REPORT))
        assert reader.frame() == (1, REPORT)
        assert reader.ask("GET_PARAMETER", "a").status == 200
        relay.faults.clear("a")
        camera.socket.sendall(frame(0, RTP))
        assert reader.frame() == (0, RTP)


def test_silent_sound_lets_the_picture_and_all_reports_through(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set("a", Fault(silence=Silence.SOUND))
        camera.socket.sendall(frame(2, RTP) + frame(3, REPORT) + frame(0, RTP))
        assert [reader.frame(), reader.frame()] == [(3, REPORT), (0, RTP)]


def test_full_silence_answers_nothing_and_closes_nothing(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set("a", Fault(silence=Silence.ALL))
        camera.socket.sendall(frame(0, b"lost") + frame(1, REPORT))
        assert camera.ask("OPTIONS", "a").status == 200
        reader.send("GET_PARAMETER", "a")
        reader.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            reader.frame()
        reader.socket.settimeout(10)
        relay.faults.clear()
        camera.socket.sendall(frame(0, b"seen"))
        assert reader.frame() == (0, b"seen")


def test_a_wrong_clock_reaches_the_readers_of_its_path_only(relay: RelayServer) -> None:
    with _reading(relay, "a") as (camera, reader), _reading(relay, "b") as (other, other_reader):
        relay.faults.set("a", Fault(sender_clock_shift_s=3600))
        camera.socket.sendall(frame(1, REPORT))
        other.socket.sendall(frame(1, REPORT))
        assert struct.unpack_from(">I", reader.frame()[1], 8) == (3610,)
        assert other_reader.frame() == (1, REPORT)


def test_timestamps_jump_by_each_tracks_own_clock(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set(None, Fault(timestamp_jump_s=2))
        camera.socket.sendall(frame(0, RTP) + frame(2, RTP) + frame(3, REPORT))
        assert struct.unpack_from(">I", reader.frame()[1], 4) == (1000 + 2 * 90000,)
        assert struct.unpack_from(">I", reader.frame()[1], 4) == (1000 + 2 * 44100,)
        assert struct.unpack_from(">I", reader.frame()[1], 16) == (1000 + 2 * 44100,)


def test_the_pictures_timestamps_jump_alone(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set(None, Fault(picture_jump_s=2))
        camera.socket.sendall(frame(0, RTP) + frame(1, REPORT) + frame(2, RTP) + frame(3, REPORT))
        assert struct.unpack_from(">I", reader.frame()[1], 4) == (1000 + 2 * 90000,)
        assert struct.unpack_from(">I", reader.frame()[1], 16) == (1000 + 2 * 90000,)
        assert [reader.frame(), reader.frame()] == [(2, RTP), (3, REPORT)]


def test_delayed_frames_come_late_and_in_order(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set("a", Fault(delay_s=0.3))
        started = monotonic()
        for number in range(3):
            camera.socket.sendall(frame(0, b"%d" % number))
        assert reader.frame() == (0, b"0")
        assert monotonic() - started >= 0.3
        relay.faults.clear()
        camera.socket.sendall(frame(0, b"3"))
        assert [reader.frame()[1] for _ in range(3)] == [b"1", b"2", b"3"]


def test_throttled_frames_come_at_the_given_rate(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.faults.set("a", Fault(bytes_per_s=100_000))
        started = monotonic()
        camera.socket.sendall(frame(0, bytes(30_000)))
        assert reader.frame()[0] == 0
        assert monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("action", "with_fin"), [(FaultAction.RESET_READERS, False), (FaultAction.CLOSE_READERS, True)]
)
def test_readers_are_reset_or_closed_and_the_publisher_stays(
    relay: RelayServer, action: FaultAction, with_fin: bool
) -> None:
    with _reading(relay, "a") as (_, reader), _reading(relay, "b") as (other, other_reader):
        assert relay.faults.act("a", action) == 1
        assert reader.ends() is with_fin
        assert len(relay.paths()) == 2
        other.socket.sendall(frame(0, b"unhurt"))
        assert other_reader.frame() == (0, b"unhurt")


@pytest.mark.parametrize(
    ("action", "with_fin"),
    [(FaultAction.RESET_PUBLISHER, False), (FaultAction.CLOSE_PUBLISHER, True)],
)
def test_a_publisher_that_is_cut_off_takes_its_readers_along(
    relay: RelayServer, action: FaultAction, with_fin: bool
) -> None:
    with _reading(relay) as (camera, reader):
        assert relay.faults.act(None, action) == 1
        assert camera.ends() is with_fin
        camera.socket.close()
        assert reader.ends()
        assert relay.paths() == []


@pytest.mark.parametrize("status", [401, 404, 500, 599])
def test_describe_is_answered_with_any_status(relay: RelayServer, status: int) -> None:
    with RtspClient(relay.ports.rtsp) as reader:
        relay.faults.set("a", Fault(describe_status=status))
        assert reader.ask("DESCRIBE", "a").status == status


def test_a_hanging_describe_is_never_answered_and_forgotten_with_its_client(
    relay: RelayServer,
) -> None:
    relay.faults.set("a", Fault(describe=Misbehaviour.HANG))
    with RtspClient(relay.ports.rtsp) as reader:
        reader.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            reader.ask("DESCRIBE", "a")
    with RtspClient(relay.ports.rtsp) as other:
        assert other.ask("OPTIONS", "").status == 200


def test_what_is_not_rtsp_comes_instead_of_an_answer(relay: RelayServer) -> None:
    relay.faults.set("a", Fault(describe=Misbehaviour.NOT_RTSP))
    with RtspClient(relay.ports.rtsp) as reader:
        reader.send("DESCRIBE", "a")
        assert reader.socket.recv(64).startswith(b"220 ")
        assert reader.ends()


def test_endless_headers_go_on_until_the_client_leaves(relay: RelayServer) -> None:
    relay.faults.set("a", Fault(describe=Misbehaviour.ENDLESS_HEADERS))
    with RtspClient(relay.ports.rtsp) as reader:
        reader.send("DESCRIBE", "a")
        received = 0
        while received < 200_000:
            received += len(reader.socket.recv(65536))
    with RtspClient(relay.ports.rtsp) as other:
        assert other.ask("OPTIONS", "").status == 200


def test_an_absurd_description_is_larger_than_any_real_one(relay: RelayServer) -> None:
    relay.faults.set("a", Fault(describe=Misbehaviour.ABSURD_SDP))
    with RtspClient(relay.ports.rtsp) as reader:
        assert len(reader.ask("DESCRIBE", "a").body) > 1_000_000


def test_ten_tracks_can_all_be_set_up(relay: RelayServer) -> None:
    relay.faults.set("a", Fault(describe=Misbehaviour.TEN_TRACKS))
    with RtspClient(relay.ports.rtsp) as camera, RtspClient(relay.ports.rtsp) as reader:
        camera.publish("a")
        reader.read("a", channels=tuple(range(0, 20, 2)))
        camera.socket.sendall(frame(0, b"media"))
        assert reader.frame() == (0, b"media")


def test_a_closed_listener_refuses_and_comes_back_on_its_port(relay: RelayServer) -> None:
    with _reading(relay) as (camera, reader):
        relay.refuse_connections()
        with pytest.raises(ConnectionRefusedError):
            RtspClient(relay.ports.rtsp)
        camera.socket.sendall(frame(0, b"goes on"))
        assert reader.frame() == (0, b"goes on")
        relay.accept_connections()
        with RtspClient(relay.ports.rtsp) as other:
            assert other.ask("OPTIONS", "").status == 200
