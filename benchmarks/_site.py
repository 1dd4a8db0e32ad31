"""A whole installation on this machine: Postgres, a media server, the program, cameras.

Everything listens on loopback, keeps its files in one temporary folder and ends with the block that
began it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import urllib3
from _measuring import pause, tree, wait_for

from streamwarden.app.roles import ROLES, RunningRoles, run_roles
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.rtsp_urls import redact
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.cli.environment import load_settings
from streamwarden.clock import Clock
from streamwarden.devkit.api_client import ApiClient
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.video_source import VideoSource
from streamwarden.devkit.virtual_camera import VirtualCamera
from streamwarden.errors import Unavailable
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.logs import configure
from streamwarden.mediamtx.control_secret import control_headers
from streamwarden.model import Gap, Segment
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import GapRepository, SegmentRepository

HOST = "127.0.0.1"
OWNER = "bench"
STOPS_WITHIN_S = 30.0
ALL_TIME = (datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))


def free_ports(count: int) -> list[int]:
    """Return ports that are free just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


class Site:
    """One installation; ``with site(...)`` makes it. The program itself is started by ``serving``."""

    def __init__(
        self, folder: Path, started: ExitStack, *, one_picture: bool, stop_timeout_s: float
    ) -> None:
        self._started = started
        self.folder = folder
        self.record_root = folder / "recordings"
        self.ffmpeg = find_ffmpeg(None)
        self._api_port, self._streaming_port, self._internal_port, self._webui = free_ports(4)
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.database_url = self.postgres.start()
        started.callback(self.postgres.stop)
        self.internal_token, self._user_secret, self._stream_keys = (
            secrets.token_hex(32) for _ in range(3)
        )
        self._http = urllib3.PoolManager(retries=False, timeout=10, maxsize=4)
        started.callback(self._http.clear)
        self.relay, self._relay_ports = self._start_relay(one_picture=one_picture)
        self._stop_timeout_s = stop_timeout_s
        self.environ = self._environ()
        users = UserTokens(
            self._user_secret, audience="streamwarden", roles_claim="roles", clock=Clock()
        )
        token = users.sign(OWNER, roles=["admin"], ttl_s=7200)
        self.authorization = f"Bearer {token}"
        self.api = ApiClient(self.api_url, token)
        started.callback(self.api.close)

    @property
    def api_url(self) -> str:
        """Where users call."""
        return f"http://{HOST}:{self._api_port}"

    @property
    def webui_url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self._webui}"

    @property
    def streaming_url(self) -> str:
        """Where the API calls."""
        return f"http://{HOST}:{self._streaming_port}"

    @property
    def rtsp_url(self) -> str:
        """The base of every path's URL."""
        return f"rtsp://{HOST}:{self._relay_ports['rtsp_port']}"

    def _environ(self) -> dict[str, str]:
        settings = {
            "DATABASE_URL": self.database_url,
            "RECORD_ROOT": self.record_root,
            "WEBUI_PORT": self._webui,
            "API_PORT": self._api_port,
            "STREAMING_PORT": self._streaming_port,
            "INTERNAL_API_PORT": self._internal_port,
            "INTERNAL_TOKEN": self.internal_token,
            "USER_JWT_SECRET": self._user_secret,
            "STREAM_TOKEN_KEYS": self._stream_keys,
            "RTSP_INTERNAL_URL": self.rtsp_url,
            "RTSP_PUBLISH_URL": self.rtsp_url,
            "FFMPEG": self.ffmpeg,
            "LOG_FORMAT": "json",
            "STOP_TIMEOUT_S": self._stop_timeout_s,
        }
        return {f"STREAMWARDEN_{name}": str(value) for name, value in settings.items()}

    def _start_relay(self, *, one_picture: bool) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
        program: list[object] = ["-m", "streamwarden.devkit.relay"]
        if one_picture:
            program = [Path(__file__).with_name("_one_picture.py")]
        hook = f"http://{HOST}:{self._internal_port}/api/v1/m2m/check-stream-pwd"
        argv = [sys.executable, *map(str, program), "--exit-with-stdin", "--auth-url", hook]
        relay = self.child(argv, "relay", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert relay.stdout
        return relay, json.loads(relay.stdout.readline())

    # Programs

    def child(
        self,
        argv: list[str],
        name: str,
        *,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program that ends with this one; its output goes to ``name.log``."""
        log: IO[bytes]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                cwd=cwd,
                env=dict(environ) if environ else None,
            )
        self._started.callback(end, process)
        return process

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``streamwarden serve`` in a process of its own."""
        plain = {name: value for name, value in os.environ.items() if "STREAMWARDEN" not in name}
        argv = [sys.executable, "-m", "streamwarden", "serve"]
        process = self.child(argv, "serve", environ=plain | self.environ)
        try:
            self.await_ready()
            yield process
        finally:
            end(process)

    @contextmanager
    def serving_here(self) -> Iterator[RunningRoles]:
        """Run both roles in this process, where their actors can be got at."""
        roles = run_roles(load_settings(None, self.environ), frozenset(ROLES))
        try:
            self.await_ready()
            yield roles
        finally:
            roles.stop(self._stop_timeout_s)

    def await_ready(self) -> None:
        """Wait until all roles are ready."""
        for base in (self.api_url, self.streaming_url, self.webui_url):
            wait_for(f"{base} ready", partial(self._ready, base), every_s=0.1)

    def _ready(self, base: str) -> bool:
        try:
            return bool(self._http.request("GET", f"{base}/readyz").status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    # Calls

    def streaming(self, method: str, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Call the streaming role as the API does."""
        headers = {"X-Internal-Token": self.internal_token}
        answer = self._http.request(method, f"{self.streaming_url}{path}", headers=headers)
        assert answer.status == 200, (answer.status, answer.data)
        return answer.json()

    def scrape(self) -> str:
        """Return the streaming role's metrics."""
        return self._http.request("GET", f"{self.streaming_url}/metrics").data.decode()

    def stream_tokens(self) -> StreamTokens:
        """Return who signs as the API does."""
        return StreamTokens(parse_keys(self._stream_keys), Clock())

    def read_url(self, camera_id: UUID) -> str:
        """Return a URL that a recorder may read."""
        signed = self.stream_tokens().sign_record(camera_id, str(camera_id), ttl_s=3600)
        return f"{self.rtsp_url}/{camera_id}?token={signed.token}"

    # Cameras

    def add_cameras(self, count: int, *, segment_seconds: int) -> list[UUID]:
        """Add active cameras, published at their own ids."""
        self.api.put_setting("video_segment_seconds", segment_seconds)
        added = [self.api.add_camera(name=f"Camera {n}", owner=OWNER) for n in range(count)]
        return [UUID(camera["id"]) for camera in added]

    def publish(self, camera_id: UUID, source: VideoSource) -> VirtualCamera:
        """Have an FFmpeg publish ``source`` as that camera until the end."""
        camera = VirtualCamera(
            camera_id, lambda: self.api.publish_url(camera_id), ffmpeg=self.ffmpeg, source=source
        )
        camera.start()
        self._started.callback(camera.stop)
        wait_for(f"{camera_id} published", lambda: str(camera_id) in self._published())
        return camera

    def _published(self) -> set[str]:
        control = f"http://{HOST}:{self._relay_ports['control_port']}/v3/paths/list"
        answer = self._http.request("GET", control, headers=control_headers(self.internal_token))
        return {item["name"] for item in answer.json()["items"]}

    def connect(self, camera_id: UUID) -> None:
        """Press the button; again while the server is busy."""
        while True:
            try:
                self.api.connect(camera_id)
            except Unavailable:
                pause(0.2)
            else:
                return

    def recorders(self, server_pid: int) -> list[int]:
        """Return the FFmpegs that record."""
        return [pid for pid in tree(server_pid)[1:] if self._folder_of(pid)]

    def recorder(self, server_pid: int, camera_id: UUID) -> list[int]:
        """Return the FFmpegs that record one camera."""
        return [pid for pid in tree(server_pid)[1:] if str(camera_id) in self._folder_of(pid)]

    def _folder_of(self, pid: int) -> str:
        try:
            cwd = str(Path(f"/proc/{pid}/cwd").readlink())
            recording = b"ffmpeg" in Path(f"/proc/{pid}/comm").read_bytes()
        except OSError:
            return ""
        return cwd if recording and cwd.startswith(str(self.record_root)) else ""

    # What is recorded

    def segments(self, camera_id: UUID) -> list[Segment]:
        """Return a camera's segments in time order."""
        with self._database() as database:
            return SegmentRepository(database).in_range(camera_id, *ALL_TIME)

    def gaps(self, camera_id: UUID) -> list[Gap]:
        """Return a camera's gaps in time order."""
        with self._database() as database:
            return GapRepository(database).in_range(camera_id, *ALL_TIME)

    def count_segments(self) -> int:
        """Return how many segments the index has."""
        with self._database() as database, database.connection() as connection:
            row = connection.execute(b"select count(*) from segment").fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _database(self) -> Iterator[Database]:
        database = Database(self.database_url, application_name="bench", max_size=1)
        database.open()
        try:
            yield database
        finally:
            database.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child that we started, in order or else by force. Harmless when repeated."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


@contextmanager
def site(*, one_picture: bool = False, stop_timeout_s: float = 10.0) -> Iterator[Site]:
    """Make an installation; ``one_picture``: whatever path is read, it is the one published."""
    with (
        tempfile.TemporaryDirectory(prefix="streamwarden-bench-") as name,
        (Path(name) / "bench.log").open("w") as log,
        ExitStack() as started,
    ):
        configure("text", "warning", log, redact=redact)
        folder = Path(name)
        try:
            yield Site(folder, started, one_picture=one_picture, stop_timeout_s=stop_timeout_s)
        except BaseException:
            log.flush()
            for file in sorted(folder.glob("*.log")):
                last = file.read_text(errors="replace").splitlines()[-12:]
                sys.stderr.write("\n".join([f"--- {file.name}", *last, ""]))
            raise
