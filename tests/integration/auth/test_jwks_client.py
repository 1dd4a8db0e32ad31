"""The client against servers that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from streamwarden.auth.users import MAX_BYTES, JwksClient
from streamwarden.errors import Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads one request and then does as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    answer(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def fetch(url: str, *, whole_s: float = 10.0) -> bytes:
    client = JwksClient(url, whole_s=whole_s)
    try:
        return client.fetch()
    finally:
        client.close()


def test_the_document_is_returned_as_it_is() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"Content-Length: 11\r\n\r\n" + b'{"keys":[]}')

    with answering(answer) as url:
        assert fetch(url) == b'{"keys":[]}'


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 100\r\n\r\ncut short",
        b"not HTTP at all\r\n\r\n",
        b"",
    ],
    ids=["redirect", "status 500", "cut short", "no HTTP", "nothing"],
)
def test_any_other_answer_is_an_outage(text: bytes) -> None:
    with answering(lambda peer: peer.sendall(text)) as url, pytest.raises(Unavailable):
        fetch(url)


def test_a_document_without_an_end_is_not_read_to_its_end() -> None:
    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"\r\n")
        for _ in range(4 * MAX_BYTES // 4096):
            peer.sendall(b" " * 4096)

    with answering(answer) as url, pytest.raises(Unavailable, match="more than"):
        fetch(url)


def test_a_document_that_drips_is_given_up() -> None:
    done = threading.Event()

    def answer(peer: socket.socket) -> None:
        peer.sendall(HEAD + b"\r\n")
        while not done.wait(0.05):
            peer.sendall(b" ")

    with answering(answer) as url:
        try:
            with pytest.raises(Unavailable, match="takes too long"):
                fetch(url, whole_s=0.3)
        finally:
            done.set()


def test_an_outage_names_neither_the_answer_nor_the_url() -> None:
    with pytest.raises(Unavailable) as caught:
        fetch("http://127.0.0.1:1/secret-path")
    assert "secret-path" not in str(caught.value)
