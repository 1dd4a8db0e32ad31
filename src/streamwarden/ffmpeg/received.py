"""Bytes that child processes have read from their TCP connections, as the kernel counts them.

``sock_diag(7)`` answers for a connection that belongs to another process, without privileges: FFmpeg says
nothing about packets until it has a key frame to begin a file with. ``/proc/PID/fd`` names a process's
sockets by inode; one dump of the established connections leads from an inode to the connection's
addresses, by which it is asked for from then on.
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_INET_DIAG_INFO: Final = 2
_OPEN_STATES: Final = 1 << 1 | 1 << 8
"""ESTABLISHED and CLOSE_WAIT."""
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI")
_ANY_CONNECTION: Final = bytes(48)
_NO_COOKIE: Final = b"\xff" * 8
_ATTRIBUTES_AT: Final = 72
_ATTRIBUTE_HEAD_BYTES: Final = 4
_BYTES_RECEIVED_AT: Final = 128
"""Offset of ``tcpi_bytes_received`` in ``struct tcp_info``, Linux 4.1 and later."""
_READ_BYTES: Final = 65536
_ANSWER_S: Final = 1.0
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class _TcpState:
    """An answer of the kernel: which connection, and how much its owner has read from it."""

    family: int
    addresses: bytes
    inode: int
    read_bytes: int


class ReceivedBytes:
    """How much processes have read from their connections. One thread; it waits for the kernel alone."""

    def __init__(self) -> None:
        self._known: dict[int, _TcpState] = {}
        self._socket: socket.socket | None = None
        self._broken = False

    def of(self, pids: list[int]) -> dict[int, int]:
        """Return the bytes that each process has read; without those of which nothing is known."""
        found: dict[int, int] = {}
        if self._broken:
            return found
        try:
            unknown = [pid for pid in pids if not self._ask_again(pid, found)]
            if unknown:
                self._look_up(unknown, found)
        except (OSError, struct.error) as error:
            # A kernel without sock_diag, or a sandbox: it will not change while this process lives.
            self._broken = True
            log.warning("received_bytes_unknown", error=str(error))
        return found

    def forget(self, pid: int) -> None:
        """Drop a process that has ended."""
        self._known.pop(pid, None)

    def close(self) -> None:
        """Close the socket to the kernel."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask_again(self, pid: int, found: dict[int, int]) -> bool:
        known = self._known.get(pid)
        if known is None:
            return False
        addresses = known.addresses[:-8] + _NO_COOKIE
        for answer in self._query(known.family, addresses, dump=False):
            if answer.inode == known.inode:
                found[pid] = answer.read_bytes
                return True
        del self._known[pid]
        return False

    def _look_up(self, pids: list[int], found: dict[int, int]) -> None:
        owners = {inode: pid for pid in pids for inode in _sockets_of(pid)}
        if not owners:
            return
        for family in (socket.AF_INET, socket.AF_INET6):
            for answer in self._query(family, _ANY_CONNECTION, dump=True):
                pid = owners.get(answer.inode)
                if pid is not None:
                    self._known[pid] = answer
                    found[pid] = answer.read_bytes

    def _query(self, family: int, addresses: bytes, *, dump: bool) -> Iterator[_TcpState]:
        kernel = self._kernel()
        info = 1 << (_INET_DIAG_INFO - 1)
        body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, info, _OPEN_STATES) + addresses
        flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
        kernel.send(
            _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body
        )
        while True:
            data = kernel.recv(_READ_BYTES)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, at)
                if kind in {_NLMSG_DONE, _NLMSG_ERROR} or length < _HEADER.size:
                    _refuse_unsupported(data, at, kind, dump=dump)
                    return
                yield _connection(family, data[at + _HEADER.size : at + length])
                at += length + 3 & ~3
            if not dump:
                return

    def _kernel(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
            self._socket.settimeout(_ANSWER_S)
        return self._socket


def _refuse_unsupported(data: bytes, at: int, kind: int, *, dump: bool) -> None:
    """Raise OSError for a dump that the kernel refuses. A single connection may be gone."""
    if kind == _NLMSG_ERROR and dump:
        (code,) = struct.unpack_from("=i", data, at + _HEADER.size)
        if code:
            raise OSError(-code, os.strerror(-code))


def _connection(family: int, message: bytes) -> _TcpState:
    waiting, _, _, inode = struct.unpack_from("=IIII", message, 56)
    received, at = 0, _ATTRIBUTES_AT
    while at + _ATTRIBUTE_HEAD_BYTES <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < _ATTRIBUTE_HEAD_BYTES:
            break
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE_HEAD_BYTES + _BYTES_RECEIVED_AT + 8:
            (received,) = struct.unpack_from(
                "=Q", message, at + _ATTRIBUTE_HEAD_BYTES + _BYTES_RECEIVED_AT
            )
        at += length + 3 & ~3
    return _TcpState(family, message[4:52], inode, max(0, received - waiting))


def _sockets_of(pid: int) -> list[int]:
    folder = f"/proc/{pid}/fd"
    try:
        targets = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]  # noqa: PTH208, PTH115 - called for every start
    except OSError:
        return []  # it has ended, or belongs to an account that this one may not look into
    return [int(found[1]) for target in targets if (found := _SOCKET.fullmatch(target))]
