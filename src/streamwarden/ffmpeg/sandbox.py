"""The sandbox of every FFmpeg: which files, ports and calls one process of it may use.

FFmpeg parses what cameras send, so a stream may take it over. It runs as the server's account in the
shipped installations, and could read there whatever the server may: keys, settings, other users'
recordings, ``/proc/PID/environ``. ``sandbox_program`` takes that away before FFmpeg begins, without root
and without namespaces, so it works in a unit without capabilities and in a container.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streamwarden.errors import ConfigError
from streamwarden.ffmpeg.command import DIE_WITH_PARENT, ENVIRONMENT

_CONFINED: Final = (
    *(sys.executable, "-I", "-S"),
    str(Path(__file__).with_name("sandbox_program.py")),
)

_RUNS: Final = ("/usr", "/bin", "/lib", "/lib64", "/nix/store", "/gnu/store")

_READS: Final = (
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/sys/devices/system/cpu"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls"),
    *("/etc/ca-certificates", "/dev/urandom", "/dev/random", "/dev/zero"),
)
"""Names of hosts, certificates, the loader. No other file of ``/etc``, nothing of ``/proc``."""

_WRITES: Final = ("/dev/null",)

_RTSP_PORTS: Final = {"rtsp": 554, "rtsps": 322}

_ABLE_WITHIN_S: Final = 20.0

_PORTS_SINCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one FFmpeg needs: paths it reads and writes, TCP ports it connects to.

    ``.`` is its working folder. Without ``network`` it can make no socket.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    network: bool = False


NOTHING: Final = Reach()
"""For an FFmpeg that reads and writes its standard streams."""


TRIAL: Final = Reach(network=True)
"""For ``-version`` before anything is recorded."""


def recorder_reach(url: str) -> Reach:
    """Return what a recorder or a sample of ``url`` needs: its working folder, and the URL's port."""
    split = urlsplit(url)
    port = split.port or _RTSP_PORTS.get(split.scheme, 554)
    return Reach(writes=(".",), ports=(port,), network=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What the kernel has: the version of Landlock (0: none), and filters of system calls."""

    landlock: int
    seccomp: bool

    @property
    def confines(self) -> bool:
        """Whether files, local sockets and other processes are closed."""
        return self.landlock > 0 and self.seccomp

    @property
    def missing(self) -> str | None:
        """What a hostile FFmpeg can do here although it is in the sandbox; None: nothing known."""
        if self.landlock and not self.seccomp:
            return "it can reach local sockets, because system calls cannot be filtered"
        if not self.landlock:
            return (
                "it can read every file of this account, keys included, because the kernel has no "
                "Landlock (Linux 5.13, in the list lsm=) or a filter of system calls forbids it"
            )
        if self.landlock < _PORTS_SINCE:
            return "it can connect to every TCP port, because the kernel is older than 6.7"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The sandbox as it is configured; ``reads`` are further paths that FFmpeg may read and run.

    ``required``: an FFmpeg that cannot be confined is not started.
    """

    required: bool = False
    reads: tuple[Path, ...] = ()

    def argv(self, argv: Sequence[str], reach: Reach, *, ffmpeg: str) -> list[str]:
        """Return ``argv``, which begins with `DIE_WITH_PARENT` or a change of account, confined."""
        plain = tuple(argv[: len(DIE_WITH_PARENT)]) == DIE_WITH_PARENT
        inner = argv[len(DIE_WITH_PARENT) :] if plain else argv
        program = str(Path(ffmpeg).resolve())
        flags = {"network": reach.network, "required": self.required}
        rules = [
            *(f"runs={path}" for path in (*_RUNS, program, *self.reads)),
            *(f"reads={path}" for path in (*_READS, *reach.reads)),
            *(f"writes={path}" for path in (*_WRITES, *reach.writes)),
            *(f"port={port}" for port in reach.ports),
            *(flag for flag, is_set in flags.items() if is_set),
        ]
        return [*DIE_WITH_PARENT, *_CONFINED, *rules, "--", *inner]


def open_sandbox(setting: str, reads: tuple[Path, ...] = ()) -> Sandbox | None:
    """Return the sandbox for the setting ``FFMPEG_SANDBOX``; None for ``off``.

    Raises:
        ConfigError: it is required, and the kernel has it not.
    """
    if setting == "off":
        return None
    if setting == "required" and not (able := ability()).confines:
        raise ConfigError(f"STREAMWARDEN_FFMPEG_SANDBOX: FFmpeg cannot be confined: {able.missing}")
    return Sandbox(required=setting == "required", reads=reads)


def ability() -> Ability:
    """Ask the kernel, by the program that confines; a failure of it counts as nothing there."""
    try:
        done = subprocess.run(  # noqa: S603 - our own argument list, no shell
            [*_CONFINED, "--able"],
            capture_output=True,
            check=True,
            timeout=_ABLE_WITHIN_S,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )
        landlock, seccomp = map(int, done.stdout.split())
        return Ability(landlock=landlock, seccomp=bool(seccomp))
    except (OSError, subprocess.SubprocessError, ValueError):
        return Ability(landlock=0, seccomp=False)
