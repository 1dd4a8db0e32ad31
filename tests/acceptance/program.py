"""Programs as a user starts them: a command, its environment, its output, its whole tree of processes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psutil

from tests.acceptance.waiting import NotSeen, wait_for

STOPS_WITHIN_S = 10.0
"""What SIGTERM may take (issue 2, point 6)."""

_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
"""Started from pytest's main thread: a run of the tests that is killed leaves no program behind."""

FROM_THE_CHECKOUT = (sys.executable, "-m", "streamwarden")

_BASES = range(20000, 32000, 20)
"""Below the ports that the kernel gives to outgoing connections."""

_USED_OFFSETS = (0, 1, 2, 3, 10, 11, 12, 13, 14)
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TMPDIR",
    "XDG_",
    "LD_",
    "PYTHON",
    "VIRTUAL_ENV",
    "COV",
)


class Program:
    """``streamwarden`` with arguments, in a session of its own. Output goes to files in ``folder``."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = FROM_THE_CHECKOUT,
    ) -> None:
        self.arguments = tuple(arguments)
        self._command = tuple(command)
        self._environ = clean_environment() | dict(environ or {})
        folder.mkdir(parents=True, exist_ok=True)
        self._stdout_path, self._stderr_path = folder / "stdout", folder / "stderr"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and return at once; what an earlier life has put out stays."""
        with self._stdout_path.open("ab") as out, self._stderr_path.open("ab") as err:
            self._process = subprocess.Popen(
                [*_WITH_US, *self._command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environ,
                start_new_session=True,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "never started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """All that it has put out."""
        return _text_of(self._stdout_path)

    @property
    def stderr(self) -> str:
        """All that it has logged."""
        return _text_of(self._stderr_path)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines about the event ``name``."""
        lines = (_json_object(line) for line in self.stderr.splitlines())
        return [line for line in lines if line.get("event") == name]

    def tree(self) -> list[psutil.Process]:
        """Return every process under it, whatever session those are in."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def recorders(self, record_root: Path) -> list[psutil.Process]:
        """Return the FFmpegs that record, those in a folder of ``record_root``.

        A child that has not yet become FFmpeg still shows the arguments of the server.
        """
        return [
            child
            for child in self.tree()
            if _works_in(child, record_root) and "-i" in _arguments(child)
        ]

    def recorder(self, record_root: Path, camera_id: str) -> psutil.Process | None:
        """Return the newest FFmpeg that records a camera."""
        found = [one for one in self.recorders(record_root) if camera_id in _folder(one)]
        return max(found, key=psutil.Process.create_time, default=None)

    def stop(self, within_s: float = STOPS_WITHIN_S) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.await_exit(within_s)

    def kill(self) -> None:
        """End it with SIGKILL, as the kernel would for want of memory."""
        self.process.kill()
        self.await_exit()

    def await_exit(self, within_s: float | None = None) -> int:
        """Return the exit code."""
        try:
            wait_for("its end", lambda: self.process.poll() is not None, within_s=within_s)
        except NotSeen as late:
            raise NotSeen(f"{late}\n{self.tail()}") from None
        return self.process.wait()

    def await_listening(self, *ports: int) -> None:
        """Wait until it takes connections on each of ``ports``, or has ended."""

        def look() -> bool:
            assert self.process.poll() is None, f"ended too soon:\n{self.tail()}"
            return all(accepts(port) for port in ports)

        wait_for(f"listening on {ports}", look)

    def clean_up(self) -> None:
        """Leave nothing running, whatever a test has left."""
        if self._process is None:
            return
        tree = self.tree()
        if self._process.poll() is None:
            with suppress(NotSeen):
                self.stop()
        if self._process.poll() is None:
            self.kill()
        for child in tree:
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log, for a failed test."""
        return "\n".join(self.stderr.splitlines()[-lines:])


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what every program needs, and no setting of whoever runs the tests."""
    return {name: value for name, value in environ.items() if name.startswith(_INHERITED)}


def free_port_base() -> int:
    """Return a ``--port-base`` whose ports are all free just now; no other run of tests takes it."""
    for base in random.sample(_BASES, len(_BASES)):
        with ExitStack() as held, suppress(OSError):
            lock = _locked(base)
            held.callback(os.close, lock)
            for offset in _USED_OFFSETS:
                held.enter_context(socket.create_server(("127.0.0.1", base + offset)))
            _TAKEN.append(os.dup(lock))
            return base
    raise NotSeen("no free range of ports")


_TAKEN: list[int] = []
"""Locks that are held until this process ends: several workers, and runs of tests, are at it at once."""


def _locked(base: int) -> int:
    """Lock a range of ports; raises OSError if somebody else has it."""
    folder = Path(tempfile.gettempdir()) / f"streamwarden-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = os.open(folder / str(base), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def accepts(port: int) -> bool:
    """Return whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def await_gone(processes: Sequence[psutil.Process], within_s: float) -> None:
    """Wait until none of ``processes`` runs any more; one that nobody has reaped is gone."""

    def all_gone() -> bool:
        return not [one for one in processes if alive(one)]

    try:
        wait_for("the end of every process", all_gone, within_s=within_s)
    except NotSeen as late:
        left = [describe(one) for one in processes if alive(one)]
        raise NotSeen(f"{late}: {left}") from None


def alive(process: psutil.Process) -> bool:
    """Return whether it still does anything."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def describe(process: psutil.Process) -> str:
    """Return what it is, without its arguments, which may hold a token."""
    with suppress(psutil.Error):
        return f"{process.pid} {process.name()} in {process.cwd()}"
    return f"{process.pid}"


def working_in(folder: Path) -> list[str]:
    """Return every process on this machine whose folder is ``folder`` or below."""
    found = (one for one in psutil.process_iter() if alive(one) and _works_in(one, folder))
    return [describe(one) for one in found]


def _arguments(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error, OSError):
        return process.cmdline()
    return []


def _works_in(process: psutil.Process, folder: Path) -> bool:
    where = _folder(process)
    return bool(where) and Path(where).is_relative_to(folder)


def _folder(process: psutil.Process) -> str:
    with suppress(psutil.Error, OSError):
        return process.cwd()
    return ""


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _json_object(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(line)
        return found if isinstance(found, dict) else {}
    return {}


@contextmanager
def programs(folder: Path) -> Iterator[Callable[..., Program]]:
    """Yield how programs are made; what still runs at the end is ended."""
    made: list[Program] = []

    def make(*arguments: str, environ: Mapping[str, str] | None = None) -> Program:
        program = Program(arguments, folder / f"program-{len(made)}", environ=environ)
        made.append(program)
        return program

    try:
        yield make
    finally:
        for program in reversed(made):
            program.clean_up()
