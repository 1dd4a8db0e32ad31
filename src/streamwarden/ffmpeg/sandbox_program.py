"""A program that gives up rights and becomes another: ``sandbox_program.py RULES -- PROGRAM ARGUMENTS``.

It runs as ``python -I -S FILE`` between ``setpriv`` and FFmpeg, about 15 ms, and imports nothing of
streamwarden nor what is slow to import, such as ``json``. Each of RULES is a word: ``reads=PATH``,
``runs=PATH``, ``writes=PATH``, ``port=NUMBER``; ``network``: sockets may be made; ``required``: end where
the kernel cannot confine, instead of going on with less. ``sandbox_program.py --able`` confines itself
and prints the version of Landlock that worked, and 1 if a filter of system calls did.

Landlock (``landlock(7)``) closes files, other processes and TCP ports. It knows nothing of Unix sockets,
modes and owners of files, signals (before ABI 6) and limits of other processes of the same account: those
are closed by a filter of system calls.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_CONNECT = 0b10
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 5, 1 << 8, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_HANDLED = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
"""All rights to files by ABI: 13 at first, then REFER, TRUNCATE, and from 5 on IOCTL_DEV."""
_NET = 0b11
"""Bind and connect of TCP, from ABI 4 on."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals, from ABI 6 on."""
_NET_SINCE, _SCOPES_SINCE, _TRUNCATE_SINCE = 4, 6, 3

# linux/audit.h, and the numbers of system calls: x86-64's table, and asm-generic's for aarch64.
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000
_CALLS: dict[str, tuple[int, int | None]] = {
    # name: (x86-64, aarch64); None: this architecture has no such call
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "inotify_add_watch": (254, 27),
    "fanotify_mark": (301, 263),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "truncate": (76, 45),
}
_OF_ITSELF = {
    # calls about a process, by its id in the first argument: 0 or its own is allowed
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}
_SIGNALS = {
    # the same, but 0 is the whole group or none
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_PRIORITIES = {"setpriority": (141, 140), "ioprio_set": (251, 30)}
_SOCKET, _CLONE, _CLONE3 = (41, 198), (56, 220), (435, 435)
_NAMESPACES = 0x7E020000
"""The flags of clone that make namespaces, without CLONE_NEWTIME, which clone cannot take."""
_FAMILIES = (2, 10)
"""AF_INET and AF_INET6."""

_LD_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR_AT, _ARCH_AT, _ARG0_AT, _ARG1_AT = 0, 4, 16, 24


class NotConfined(Exception):
    """The kernel refused a step."""


libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def landlock_abi() -> int:
    """Return the version of Landlock, 0 where the kernel has none or a filter forbids it."""
    found = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, int(found))


def seccomp_is_there() -> bool:
    """Return whether system calls can be filtered here."""
    # A null pointer is EFAULT where filters are supported, EINVAL where they are not (seccomp(2)).
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT and os.uname().machine in _ARCHES


def restrict_files(paths: dict[str, list[str]], ports: list[int], abi: int) -> None:
    """Put this process under Landlock; a path that is not there needs no rule.

    ``paths`` are those that may be run, read and written, by these words.
    """
    handled = _HANDLED[min(abi, len(_HANDLED) - 1)]
    net = _NET if abi >= _NET_SINCE else 0
    scopes = _SCOPES if abi >= _SCOPES_SINCE else 0
    # An older kernel takes a longer structure if what it does not know is zero.
    attr = struct.pack("QQQ", handled, net, scopes)
    made = libc.syscall(_CREATE_RULESET, attr, ctypes.c_size_t(len(attr)), ctypes.c_uint32(0))
    ruleset = _checked("landlock_create_ruleset", made)
    for kind, rights in (("reads", _READ), ("runs", _READ | _EXECUTE), ("writes", _WRITE)):
        for path in paths[kind]:
            _allow_path(ruleset, path, rights & handled)
    if net:
        for port in ports:
            _add(ruleset, _NET_PORT, struct.pack("QQ", _CONNECT, port))
    done = libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    _checked("landlock_restrict_self", done)
    os.close(ruleset)


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_A_FILE
        _add(ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, fd))
    finally:
        os.close(fd)


def _add(ruleset: int, kind: int, attr: bytes) -> None:
    number = ctypes.c_int(ruleset)
    done = libc.syscall(_ADD_RULE, number, ctypes.c_int(kind), attr, ctypes.c_uint32(0))
    _checked("landlock_add_rule", done)


def _checked(name: str, result: int) -> int:
    if result < 0:
        raise NotConfined(f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def call_filter(machine: str, pid: int, *, network: bool) -> bytes:
    """Return the filter of system calls as the kernel's ``struct sock_filter`` array (seccomp(2)).

    What is refused is EPERM; sockets are EACCES, which a resolver takes for "not there".
    """
    at = list(_ARCHES).index(machine)
    code = [
        _step(_LD_ABS, _ARCH_AT),
        _step(_JEQ, _ARCHES[machine], 1, 0),
        _step(_RET, _ERRNO | errno.EPERM),
        _step(_LD_ABS, _NR_AT),
        *([_step(_JSET, _X32_BIT, 0, 1), _step(_RET, _ERRNO | errno.EPERM)] if at == 0 else []),
    ]
    for numbers in _CALLS.values():
        number = numbers[at]
        if number is not None:
            code += _for_call(number, [_step(_RET, _ERRNO | errno.EPERM)])
    for pair in _OF_ITSELF.values():
        code += _for_call(pair[at], _only(_ARG0_AT, (0, pid), errno.EPERM))
    for pair in _SIGNALS.values():
        code += _for_call(pair[at], _only(_ARG0_AT, (pid,), errno.EPERM))
    for pair in _PRIORITIES.values():
        code += _for_call(pair[at], _only(_ARG1_AT, (0, pid), errno.EPERM))
    families = _FAMILIES if network else ()
    code += _for_call(_SOCKET[at], _only(_ARG0_AT, families, errno.EACCES))
    # clone3 hides its flags behind a pointer; the C library falls back to clone.
    code += _for_call(_CLONE3[at], [_step(_RET, _ERRNO | errno.ENOSYS)])
    code += _for_call(_CLONE[at], [
        _step(_LD_ABS, _ARG0_AT), _step(_JSET, _NAMESPACES, 0, 1),
        _step(_RET, _ERRNO | errno.EPERM), _step(_RET, _ALLOW)])  # fmt: skip
    return b"".join([*code, _step(_RET, _ALLOW)])


def _for_call(number: int, then: list[bytes]) -> list[bytes]:
    """Return the steps for one call; all of ``then``'s ways end in a return."""
    return [_step(_JEQ, number, 0, len(then)), *then]


def _only(arg_at: int, values: tuple[int, ...], error: int) -> list[bytes]:
    # The lower half of an argument is enough: the kernel takes an int.
    steps = [_step(_LD_ABS, arg_at)]
    for value in values:
        steps += [_step(_JEQ, value, 0, 1), _step(_RET, _ALLOW)]
    return [*steps, _step(_RET, _ERRNO | error)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def restrict_calls(*, network: bool) -> None:
    """Put this process under the filter of system calls."""
    code = call_filter(os.uname().machine, os.getpid(), network=network)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
    done = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)
    _checked("seccomp", done)


def confine(rules: list[str]) -> tuple[int, bool]:
    """Give up what the rules do not name; return what worked, as ``--able`` prints it.

    Raises:
        NotConfined: something did not work, and it is required.
    """
    paths: dict[str, list[str]] = {"reads": [], "runs": [], "writes": []}
    ports, flags = list[int](), set[str]()
    for rule in rules:
        kind, _, value = rule.partition("=")
        if kind in paths:
            paths[kind].append(value)
        elif kind == "port":
            ports.append(int(value))
        else:
            flags.add(rule)
    if not flags <= {"network", "required"}:
        raise NotConfined(f"unknown rules: {flags}")
    _checked("no_new_privs", libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    required = "required" in flags
    abi, filters = landlock_abi(), seccomp_is_there()
    if required and not (abi and filters):
        raise NotConfined("the kernel has no Landlock, or system calls cannot be filtered")
    try:
        if abi:
            restrict_files(paths, ports, abi)
    except NotConfined:
        # An outer filter of system calls may allow the first of Landlock's calls and forbid the others.
        if required:
            raise
        abi = 0
    try:
        if filters:
            restrict_calls(network="network" in flags)
    except NotConfined:
        if required:
            raise
        filters = False
    return abi, filters


def found(program: str) -> str:
    """Return the path of a program, by PATH unless it is one."""
    paths = [] if "/" in program else [f"{one}/{program}" for one in os.get_exec_path()]
    return next((path for path in paths if os.access(path, os.X_OK)), program)


def main(argv: list[str]) -> int:
    """Confine this process and replace it; return an exit code if that fails."""
    if argv[1:] == ["--able"]:
        abi, filters = confine(["reads=/usr", "network"])
        sys.stdout.write(f"{abi} {int(filters)}")
        return 0
    at = argv.index("--")
    program = argv[at + 1 :]
    # Found before: afterwards Python can read none of its own modules.
    path = found(program[0])
    try:
        confine(argv[1:at])
        # Python has set it where there was no locale (PEP 538).
        os.environ.pop("LC_CTYPE", None)
        os.execv(path, program)  # noqa: S606 - what this program is for
    except (NotConfined, OSError) as error:
        # The name that exit_causes looks for, as setpriv and env give theirs.
        sys.stderr.write(f"sandbox: {error}\n")
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv))
