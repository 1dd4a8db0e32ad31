"""The kernel's count of what a child has read, over loopback connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from streamwarden.ffmpeg.received import ReceivedBytes
from tests.integration.ffmpeg.recording_listener import eventually

_READER = """
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
left = int(sys.argv[3])
while left:
    left -= len(c.recv(left))
sys.stdin.read()
"""


@contextmanager
def reading(host: str, limit: int) -> Iterator[tuple[int, socket.socket]]:
    """A child that reads ``limit`` bytes of a connection and then no more."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as server:
        server.bind((host, 0))
        server.listen()
        argv = [sys.executable, "-c", _READER, host, str(server.getsockname()[1]), str(limit)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
            peer, _ = server.accept()
            with closing(peer):
                yield child.pid, peer
            child.kill()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_a_child_has_read_is_counted_and_what_waits_is_not(host: str) -> None:
    received = ReceivedBytes()
    with closing(received), reading(host, 1_500) as (pid, peer):
        assert received.of([pid]) == {pid: 0}
        peer.sendall(bytes(1_000))
        assert eventually(lambda: received.of([pid]) == {pid: 1_000})
        peer.sendall(bytes(4_000))
        assert eventually(lambda: received.of([pid]) == {pid: 1_500})


def test_of_a_child_without_a_connection_nothing_is_known() -> None:
    received = ReceivedBytes()
    with closing(received):
        assert received.of([os.getpid()]).get(1) is None
        with reading("127.0.0.1", 10) as (pid, _):
            assert pid in received.of([pid])
        assert received.of([pid]) == {}
        received.forget(pid)
