"""A command under a unit's filters of system calls and address families, as systemd sets them.

    python unit_filter.py UNIT COMMAND...

systemd is not needed: the unit's ``SystemCallFilter`` and ``RestrictAddressFamilies`` become the same
seccomp filters by libseccomp, which systemd itself uses. The contents of the groups are systemd's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import socket
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_GROUPS = Path(__file__).parents[2] / "recorded" / "syscall_groups.txt"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_NO_NEW_PRIVS = 38
_EQUAL = 4
_FAMILIES = range(1, 46)
_UNKNOWN_HERE = -1
"""``__NR_SCMP_ERROR``; other negative numbers are calls of other architectures."""


class _Compared(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


@cache
def libseccomp() -> ctypes.CDLL | None:
    """Return the library; None where it is not installed. Debian's apt and systemd need it."""
    for name in ("libseccomp.so.2", ctypes.util.find_library("seccomp")):
        try:
            found = ctypes.CDLL(name or "")
        except OSError:
            continue
        found.seccomp_init.restype = ctypes.c_void_p
        return found
    return None


def lines_of(unit: Path, name: str) -> list[str]:
    """Return the values of a directive, in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{name}=")]


def groups() -> dict[str, list[str]]:
    """Return systemd's groups of system calls by name."""
    lines = _GROUPS.read_text(encoding="utf-8").splitlines()
    return {name: names for name, *names in map(str.split, lines) if name != "#"}


def allowed_calls(unit: Path) -> set[str]:
    """Return the calls that the unit's ``SystemCallFilter`` lines leave, read as systemd reads them."""
    known, allowed = groups(), set[str]()
    for line in lines_of(unit, "SystemCallFilter"):
        named = set(_expanded(line.removeprefix("~").split(), known))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed | set(_expanded(["@default"], known))


def _expanded(names: Iterable[str], known: dict[str, list[str]]) -> Iterable[str]:
    for name in names:
        if name.startswith("@"):
            yield from _expanded(known[name], known)
        else:
            yield name


def confine(unit: Path) -> None:
    """Put this process, and what it becomes, under the unit's filters."""
    library = libseccomp()
    assert library is not None, "no libseccomp"
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    families = {getattr(socket, name) for line in lines_of(unit, "RestrictAddressFamilies")
                for name in line.split()}  # fmt: skip
    _load(library, _ALLOW, [
        (_number(library, "socket"), errno.EAFNOSUPPORT, _Compared(0, _EQUAL, family, 0))
        for family in _FAMILIES if families and family not in families
    ])  # fmt: skip
    # As systemd: a call that it does not know is "not implemented", so that the C library falls back.
    allowed = allowed_calls(unit)
    numbers = {name: _number(library, name) for name in {*groups()["@known"], *allowed}}
    _load(library, _ERRNO | errno.ENOSYS, [
        (number, 0 if name in allowed else errno.EPERM, None)
        for name, number in numbers.items() if number != _UNKNOWN_HERE
    ])  # fmt: skip


def _number(library: ctypes.CDLL, name: str) -> int:
    return int(library.seccomp_syscall_resolve_name(name.encode()))


def _load(
    library: ctypes.CDLL, default: int, rules: list[tuple[int, int, _Compared | None]]
) -> None:
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for number, error, compared in rules:
        action = ctypes.c_uint32(_ERRNO | error if error else _ALLOW)
        count = ctypes.c_uint(0 if compared is None else 1)
        array = None if compared is None else ctypes.byref(compared)
        done = library.seccomp_rule_add_array(context, action, number, count, array)
        # -EDOM: a call of another architecture; it cannot be made here.
        assert done in {0, -errno.EDOM, -errno.EINVAL} or number < 0, (number, done)
    assert library.seccomp_load(context) == 0
    library.seccomp_release(context)


def under(unit: Path) -> tuple[str, ...]:
    """Return the words to put before a command."""
    return (sys.executable, __file__, str(unit))


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the command of a test
