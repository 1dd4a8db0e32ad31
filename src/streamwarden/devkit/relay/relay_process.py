"""The relay as a child process that tests can kill and restart on the same ports."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import subprocess
import sys
from types import TracebackType
from typing import Self

from streamwarden.devkit.children import plain_environment
from streamwarden.devkit.relay.relay import TOKEN_VARIABLE, RelayPorts
from streamwarden.errors import Unavailable

_START_S = 10.0


_STOP_S = 5.0


class RelayProcess:
    """Runs ``python -m streamwarden.devkit.relay``; the child ends with this process, even on ``kill -9``.

    A restart after ``stop`` or ``kill`` uses the same ports.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        rtsp_port: int = 0,
        control_port: int = 0,
        auth_url: str | None = None,
    ) -> None:
        self._host = host
        self._auth_url = auth_url
        self._token = secrets.token_hex(16)
        self.ports = RelayPorts(rtsp_port, control_port)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def rtsp_url(self) -> str:
        """The base of every path's URL."""
        return f"rtsp://{self._host}:{self.ports.rtsp}"

    @property
    def control_url(self) -> str:
        """The base of the control API."""
        return f"http://127.0.0.1:{self.ports.control}"

    @property
    def control_headers(self) -> dict[str, str]:
        """The headers that open the control API, its faults too, whatever the hook says."""
        return {"Authorization": f"Bearer {self._token}"}

    def start(self) -> RelayPorts:
        """Start it and return its ports once it listens; raise Unavailable on failure."""
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**plain_environment(os.environ), TOKEN_VARIABLE: self._token},
        )
        self._child = child
        line = _first_line(child)
        if not line:
            self.kill()
            raise Unavailable("the relay did not start")
        ready = json.loads(line)
        self.ports = RelayPorts(ready["rtsp_port"], ready["control_port"])
        return self.ports

    def kill(self) -> None:
        """Kill it with SIGKILL, like a crash."""
        if self._child is not None:
            self._child.kill()
            self._reap(self._child)

    def stop(self) -> int | None:
        """Stop it with SIGTERM; return its exit code, None if it was not running."""
        child = self._child
        if child is None:
            return None
        child.terminate()
        return self._reap(child)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "streamwarden.devkit.relay", "--exit-with-stdin"]
        command += ["--host", self._host, "--rtsp-port", str(self.ports.rtsp)]
        command += ["--control-port", str(self.ports.control)]
        return [*command, "--auth-url", self._auth_url] if self._auth_url else command

    def _reap(self, child: subprocess.Popen[bytes]) -> int:
        self._child = None
        try:
            child.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
        return child.returncode


def _first_line(child: subprocess.Popen[bytes]) -> bytes:
    """Return the ready line, empty on timeout."""
    assert child.stdout is not None  # noqa: S101 - it was given a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        return child.stdout.readline() if selector.select(_START_S) else b""
