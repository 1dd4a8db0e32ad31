"""The demo's media server, MediaMTX or the devkit's relay: one child process, restarted when it ends."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from urllib.request import Request, urlopen

import structlog

from streamwarden.devkit.children import ChildCommand, ChildProcess, child_spawner
from streamwarden.errors import StreamwardenError
from streamwarden.mediamtx.control_secret import control_headers

log = structlog.get_logger(__name__)


_LISTENS_WITHIN_S = 15.0


_COMES_BACK_AFTER_S = 1.0


_STOP_GRACE_S = 5.0


_CONTROL_ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPorts:
    """Ports of a media server; the relay uses ``rtsp`` and ``control`` only."""

    rtsp: int
    control: int
    whep: int
    metrics: int
    webrtc_udp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaServerPlan:
    """Command and addresses of a media server. ``kind`` is shown in the READY line.

    ``internal_token`` is that of the API role, whose hook opens the control API.
    """

    kind: str
    spec: ChildCommand
    host: str
    ports: MediaPorts
    whep_url: str | None
    internal_token: str = field(default="", repr=False)

    @property
    def rtsp_url(self) -> str:
        """The base of every path's URL."""
        return f"rtsp://{self.host}:{self.ports.rtsp}"

    @property
    def control_url(self) -> str:
        """The base of the control API."""
        return f"http://{self.host}:{self.ports.control}"


class MediaServerFailed(StreamwardenError):
    """The media server did not start; the message has its last output."""


def relay_plan(ports: MediaPorts, *, hook_url: str, internal_token: str) -> MediaServerPlan:
    """Return the plan for the devkit's relay in its own process."""
    host = "127.0.0.1"
    argv = (sys.executable, "-m", "streamwarden.devkit.relay", "--host", host,
            "--rtsp-port", str(ports.rtsp), "--control-port", str(ports.control),
            "--auth-url", hook_url)  # fmt: skip
    spec = ChildCommand(name="relay", argv=argv)
    return MediaServerPlan(
        kind="devkit",
        spec=spec,
        host=host,
        ports=ports,
        whep_url=None,
        internal_token=internal_token,
    )


class MediaServerProcess:
    """Runs ``plan``. A server that ends unexpectedly is started again on the same ports."""

    def __init__(self, plan: MediaServerPlan) -> None:
        self.plan = plan
        self._child: ChildProcess | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while it is down."""
        child = self._child
        return child.pid if child is not None and child.running else None

    def published(self) -> frozenset[str]:
        """Return the published paths; none while the server does not answer."""
        asked = Request(  # noqa: S310 - loopback
            f"{self.plan.control_url}/v3/paths/list",
            headers=control_headers(self.plan.internal_token),
        )
        try:
            with urlopen(asked, timeout=_CONTROL_ANSWERS_WITHIN_S) as answer:  # noqa: S310 - likewise
                items = json.loads(answer.read())["items"]
        except (OSError, ValueError, KeyError):
            return frozenset()
        return frozenset(item["name"] for item in items if item.get("available"))

    def start(self) -> None:
        """Start it and wait until it accepts connections; raise MediaServerFailed."""
        child = self._spawn()
        _wait_until_listening(child, self.plan)
        self._thread = threading.Thread(
            target=self._keep_up, args=(child,), name="media-server", daemon=True
        )
        self._thread.start()

    def kill(self) -> None:
        """Kill it with SIGKILL, like a crash; it is started again."""
        self._send(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it. No effect when repeated or never started."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.stop(grace_s=_STOP_GRACE_S)
        if self._thread is not None:
            self._thread.join(_STOP_GRACE_S)

    def _keep_up(self, child: ChildProcess) -> None:
        while True:
            code = child.wait()
            if self._stopping.is_set():
                return
            said = child.output.last_line
            log.warning("media_server_ended", kind=self.plan.kind, code=code, said=said)
            if self._stopping.wait(_COMES_BACK_AFTER_S):
                return
            child = self._spawn()

    def _spawn(self) -> ChildProcess:
        child = self._child = child_spawner().spawn(self.plan.spec)
        if self._stopping.is_set():  # stop may have run before this child existed
            child.send(signal.SIGTERM)
        return child

    def _send(self, number: signal.Signals) -> None:
        child = self._child
        if child is not None:
            child.send(number)


def _wait_until_listening(child: ChildProcess, plan: MediaServerPlan) -> None:
    deadline = time.monotonic() + _LISTENS_WITHIN_S
    while time.monotonic() < deadline:
        if all(_accepts(plan.host, port) for port in (plan.ports.rtsp, plan.ports.control)):
            return
        if child.wait(0.05) is not None:
            break
    child.stop(grace_s=0)
    raise MediaServerFailed(f"{plan.kind} did not start: {child.output.last_line or 'no output'}")


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
