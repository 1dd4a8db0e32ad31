"""An installation: API and streaming as two programs, media server, cameras and users as fixtures."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.cli.environment import load_settings, open_database
from streamwarden.clock import Clock
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.devkit.relay.relay_process import RelayProcess
from streamwarden.devkit.video_source import SMALL_PICTURE, VideoSource
from streamwarden.devkit.virtual_camera import VirtualCamera, stop_cameras
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.jobs import decode
from streamwarden.recordings.day_accounts import DayAccount
from streamwarden.recordings.reconcile import verifier
from streamwarden.recordings.verify import BEGINNING, Finding, VerifyOptions
from streamwarden.storage.pool import Database
from tests.acceptance.calls import Caller, bearer, internal
from tests.acceptance.metrics_of import metric_value
from tests.acceptance.program import Program, free_port_base
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

OWNER = "alice"
_HOST = "127.0.0.1"


class Installation:
    """Everything of one installation. ``api`` and ``streaming`` can be killed each on its own."""

    def __init__(
        self, folder: Path, make: Callable[..., Program], *, database_url: str, ffmpeg: str
    ) -> None:
        base = free_port_base()
        self.record_root = folder / "record root"
        self.api_url, self.streaming_url, self.internal_url = (
            f"http://{_HOST}:{base + offset}" for offset in (1, 2, 3)
        )
        self.relay = RelayProcess(auth_url=f"{self.internal_url}/api/v1/m2m/check-stream-pwd")
        self.relay.start()
        self.internal_token = secrets.token_hex(32)
        self.user_secret = secrets.token_hex(32)
        self.stream_keys = f"stage:{secrets.token_hex(32)}"
        self.ffmpeg = ffmpeg
        self._base = base
        self._pushing: list[VirtualCamera] = []
        self._added: list[CameraUser] = []
        self._make = make
        self.move_to(database_url)
        clock = Clock()
        self._users = UserTokens(
            self.user_secret, audience="streamwarden", roles_claim="roles", clock=clock
        )
        self.stream_tokens = StreamTokens(parse_keys(self.stream_keys), clock)
        self.admin = self.user("root", "admin")

    def move_to(self, database_url: str) -> None:
        """Have the programs work with this database from their next start on."""
        self.database_url = database_url
        environ = self.environ(database_url)
        self.api = self._make("serve", "--role", "api", environ=environ)
        self.streaming = self._make("serve", "--role", "streaming", environ=environ)

    def environ(self, database_url: str) -> dict[str, str]:
        """Return the settings with which programs of this installation are started."""
        settings = {
            "DATABASE_URL": database_url,
            "RECORD_ROOT": str(self.record_root),
            "PORT_BASE": str(self._base),
            "INTERNAL_TOKEN": self.internal_token,
            "USER_JWT_SECRET": self.user_secret,
            "STREAM_TOKEN_KEYS": self.stream_keys,
            "RTSP_INTERNAL_URL": self.relay.rtsp_url,
            "RTSP_PUBLISH_URL": self.relay.rtsp_url,
            "FFMPEG": self.ffmpeg,
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
            "RESPAWN_CAP_S": "2",
            # Tests call as one user, and are refused, oftener than anybody else does.
            "CONNECTS_PER_MINUTE": "1000000",
            "TOKENS_PER_MINUTE": "1000000",
            "FAILED_SIGN_INS_PER_MINUTE": "1000000",
        }
        return {f"STREAMWARDEN_{name}": value for name, value in settings.items()}

    # The two programs

    def start(self) -> None:
        """Start both and wait until they take calls."""
        self.start_api()
        self.start_streaming()

    def start_api(self) -> None:
        """Start the API and wait until it is ready."""
        self.api.start().await_listening(self._base + 1, self._base + 3)
        _await_ready(self.api_url)

    def start_streaming(self) -> None:
        """Start the streaming role and wait until it is ready."""
        self.streaming.start().await_listening(self._base + 2)
        _await_ready(self.streaming_url)

    def end_cameras(self) -> None:
        """Want none of the cameras any more, so that a test leaves the next one the machine."""
        for camera in self._added:
            camera.disconnect()
        stop_cameras(self._pushing)
        self._added.clear()
        self._pushing.clear()

    def close(self) -> None:
        """Stop what this class has started; the programs belong to who made them."""
        stop_cameras(self._pushing)
        self.relay.stop()

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Open the same database past the program, for what no call can bring about."""
        database = Database(self.database_url, max_size=1, application_name="acceptance")
        database.open()
        try:
            yield database
        finally:
            database.close()

    # Who calls

    def token_of(self, sub: str, *roles: str) -> str:
        """Return a user's token, as the identity provider would sign it."""
        return self._users.sign(sub, roles=roles, ttl_s=3600)

    def user(self, sub: str, *roles: str) -> Caller:
        """Return who calls the API as that user."""
        return bearer(self.api_url, self.token_of(sub, *roles))

    @property
    def to_streaming(self) -> Caller:
        """Who calls the streaming role as the API does."""
        return internal(self.streaming_url, self.internal_token)

    @property
    def to_internal_api(self) -> Caller:
        """Who calls the internal API as the recorders do."""
        return internal(self.internal_url, self.internal_token)

    # Cameras

    def camera(self, *, owner: str = OWNER, status: str = "active") -> CameraUser:
        """Add a camera and return it in the hands of its owner."""
        body = {"name": "Test", "owner": owner, "status": status, "path": f"test/{uuid4().hex}"}
        answer = self.admin.post("/api/v1/camera", body)
        assert answer.status in {200, 201}, answer
        self._added.append(CameraUser(self.user(owner), answer.json()["id"]))
        return self._added[-1]

    def publish(self, camera: CameraUser, source: VideoSource = SMALL_PICTURE) -> VirtualCamera:
        """Have an FFmpeg push a picture to the camera's publish URL until the end."""
        pushing = VirtualCamera(
            camera.camera_id, camera.publish_url, ffmpeg=self.ffmpeg, source=source
        )
        self._pushing.append(pushing)
        pushing.start()
        return pushing

    def await_published(self, camera: CameraUser) -> None:
        """Wait until the relay has the camera's picture."""
        path = self.path_of(camera)
        control = Caller(self.relay.control_url, self.relay.control_headers)

        def look() -> bool:
            answer = control.get(f"/v3/paths/get/{path}")
            return answer.status == 200 and bool(answer.json()["available"])

        wait_for(f"a picture at {path}", look)

    def fault(self, camera: CameraUser, **fault: object) -> None:
        """Have the relay commit a fault for the camera's readers (``devkit.relay.faults``)."""
        control = Caller(self.relay.control_url, self.relay.control_headers)
        answer = control.post(f"/devkit/faults/{self.path_of(camera)}", fault)
        assert answer.status == 200, answer

    def path_of(self, camera: CameraUser) -> str:
        """Return where the camera publishes."""
        return str(camera.api.get(camera.path).json()["path"])

    # What must hold

    def metric_value(self, name: str, **labels: str) -> float:
        """Return a metric of the streaming role."""
        return metric_value(self.streaming_url, name, **labels)

    def await_empty_journal(self) -> None:
        """Wait until every row that is waiting now is in Postgres; cameras that record add others."""
        began = time.monotonic()

        def look() -> bool:
            if self.metric_value("index_journal_segments") == 0:
                return True
            since_s = time.monotonic() - began
            # 0 says nothing: so it is as well for rows from before the clock was set back.
            return 0 < self.metric_value("index_lag_seconds") < since_s

        wait_for("every row in the index", look)

    def settle(self, camera: CameraUser) -> None:
        """Record no longer, and wait until everything is written down."""
        assert camera.disconnect().status == 200
        camera.await_status("stopped")
        self.await_empty_journal()

    def findings(self, camera: CameraUser | None = None) -> list[str]:
        """Return what ``recordings verify`` says, with every file decoded."""
        return [json.dumps(one.as_json()) for one in self._verified(camera)[0]]

    def accounts(self, camera: CameraUser | None = None) -> list[DayAccount]:
        """Return the sums that ``recordings verify`` shows."""
        return self._verified(camera)[1]

    def _verified(self, camera: CameraUser | None) -> tuple[list[Finding], list[DayAccount]]:
        environ = self.environ(self.database_url)
        settings = load_settings(None, {name: environ[name] for name in _VERIFY_NEEDS})
        assert settings.record_root is not None
        scope = VerifyOptions(
            from_=BEGINNING,
            to=Clock().now(),
            digests=True,
            decode=partial(decode, find_ffmpeg(settings.ffmpeg)),
        )
        with open_database(settings) as database:
            reading = verifier(settings.record_root, database)
            cameras = [UUID(camera.camera_id)] if camera else reading.cameras()
            found = [one for each in cameras for one in reading.verify(each, scope)]
        return found, reading.days


_VERIFY_NEEDS = (
    "STREAMWARDEN_DATABASE_URL", "STREAMWARDEN_RECORD_ROOT", "STREAMWARDEN_FFMPEG",
)  # fmt: skip


def _await_ready(base: str) -> None:
    wait_for(f"{base} ready", lambda: Caller(base).get("/readyz").status == 200)


def database_with_password(server: EmbeddedPostgres, password: str) -> str:
    """Make an empty database and return its URL, which holds a password that must never show."""
    name = f"acceptance_{uuid4().hex[:12]}"
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
    url = urlsplit(server.url)
    netloc = f"{url.username}:{password}@{url.netloc.partition('@')[2]}"
    return urlunsplit(url._replace(path=f"/{name}", netloc=netloc))
