"""No secret leaves the started program: not in its logs, answers, metrics, files or children."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from streamwarden.ffmpeg.sandbox import ability
from tests.acceptance.calls import Answer, Caller
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.demo import DemoProgram
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.metrics_of import exposition
from tests.acceptance.user import CameraUser
from tests.acceptance.waiting import wait_for

_RECOGNISED_BY = 24
"""So many characters of a token's signature or of a secret are enough to know it again."""


def leaks(secrets: Mapping[str, str], text: str) -> list[str]:
    """Return the names of the secrets that ``text`` holds, whole or in part."""
    return [name for name, secret in secrets.items() if secret[-_RECOGNISED_BY:] in text]


def _token_in(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def _known(installation: Installation, camera: CameraUser) -> dict[str, str]:
    return {
        "internal token": installation.internal_token,
        "users' secret": installation.user_secret,
        "stream key": installation.stream_keys.partition(":")[2],
        "database password": DATABASE_PASSWORD,
        "admin's token": installation.admin.headers["Authorization"],
        "owner's token": camera.api.headers["Authorization"],
        "publish token": _token_in(camera.publish_url()),
        "view token": camera.api.get(f"{camera.path}/preview").json()["token"],
    }


def _await_recorder(
    installation: Installation, camera: CameraUser
) -> tuple[str, dict[str, str], int]:
    """Return the URL, the environment and the id of an FFmpeg that records."""

    def look() -> tuple[str, dict[str, str], int] | None:
        found = installation.streaming.recorder(installation.record_root, camera.camera_id)
        if found is None:
            return None
        argv = found.cmdline()
        return argv[argv.index("-i") + 1], found.environ(), found.pid

    return wait_for("an FFmpeg", look)


def test_what_goes_wrong_is_logged_and_answered_without_a_secret(
    installation: Installation,
) -> None:
    camera = installation.camera()
    secrets = _known(installation, camera)
    installation.publish(camera)
    installation.await_published(camera)
    camera.connect()
    secrets["read token"] = _token_in(_await_recorder(installation, camera)[0])
    offline = installation.camera()
    offline.connect()  # nobody publishes: FFmpeg prints its whole URL
    offline.await_status(lambda s: s["last_error"] is not None)

    answers = [
        Caller(installation.api_url, {"Authorization": f"Bearer {secrets['view token']}"}).get(
            "/x"
        ),
        camera.api.get(f"{camera.path}?token={secrets['publish token']}"),
        camera.api.get(f"{camera.path}/recordings?cursor={secrets['view token'][:100]}"),
        camera.api.post(f"{camera.path}/stream/connect", {"ttl": secrets["users' secret"]}),
        Caller(installation.streaming_url).get("/streams"),
        installation.to_streaming.post("/streams/start", _elsewhere(secrets)),
        *(_hook(installation, **body) for body in _hook_bodies(secrets)),
        camera.api.get(f"{camera.path}/stream/status"),
        offline.api.get(f"{offline.path}/stream/status"),
        installation.to_streaming.get("/streams"),
        Caller(installation.api_url).get("/readyz"),
        Caller(installation.streaming_url).get("/readyz"),
    ]
    for answer in answers:
        assert leaks(secrets, answer.body.decode() + str(answer.headers)) == []
    for program in (installation.api, installation.streaming):
        assert program.stderr  # at level debug
        assert leaks(secrets, program.stdout + program.stderr) == []
    for base in (installation.api_url, installation.streaming_url, installation.internal_url):
        assert leaks(secrets, exposition(base)) == []


def _elsewhere(secrets: Mapping[str, str]) -> dict[str, object]:
    password, token = secrets["users' secret"], secrets["view token"]
    url = f"rtsp://user:{password}@192.0.2.1/x?token={token}"
    return {
        "user_id": OWNER, "camera_id": "00000000-0000-4000-8000-000000000000",
        "rtsp_url": url, "segment_seconds": 2,
    }  # fmt: skip


def _hook_bodies(secrets: Mapping[str, str]) -> list[dict[str, str]]:
    view, publish = secrets["view token"], secrets["publish token"]
    return [
        {"action": "read", "path": "elsewhere", "token": view},
        {"action": "read", "path": "elsewhere", "query": f"token={publish}"},
        {"action": "publish", "path": "elsewhere", "password": view, "user": publish},
    ]


def _hook(installation: Installation, **body: str) -> Answer:
    return Caller(installation.internal_url).post(
        "/api/v1/m2m/check-stream-pwd", {"protocol": "rtsp", **body}
    )


def test_ffmpeg_gets_its_url_and_no_secret_of_the_server(installation: Installation) -> None:
    camera = installation.camera()
    secrets = _known(installation, camera)
    installation.publish(camera)
    installation.await_published(camera)
    camera.connect()
    _, environ, pid = _await_recorder(installation, camera)
    assert leaks(secrets, str(environ)) == []
    assert not [name for name in environ if name.startswith(("STREAMWARDEN", "DATABASE"))]
    assert _descriptors_of_the_server(installation, pid) == []
    if ability().confines:
        # 2: under a filter of system calls, which the sandbox alone sets.
        assert "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()


def _descriptors_of_the_server(installation: Installation, pid: int) -> list[str]:
    """Return the sockets that a child shares with the server: one would hold its ports open."""
    inherited = _sockets(pid) & _sockets(installation.streaming.pid)
    return sorted(inherited)


def _sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_the_servers_arguments_hold_no_secret(installation: Installation) -> None:
    camera = installation.camera()
    for program in (installation.api, installation.streaming):
        argv = Path(f"/proc/{program.pid}/cmdline").read_text()
        assert leaks(_known(installation, camera), argv) == []


def test_no_process_of_the_machine_shows_a_secret_in_its_arguments(
    installation: Installation,
) -> None:
    """But for the two tokens that FFmpeg cannot get in any other way: each of one path, and short-lived."""
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    camera.connect()
    _await_recorder(installation, camera)
    secrets = _known(installation, camera)
    del secrets["publish token"]  # of the camera, which these tests run on the same machine
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile, or may not be looked at
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
                assert leaks(secrets, words) == [], entry


def test_the_files_of_the_program_are_closed_to_others(installation: Installation) -> None:
    camera = installation.camera()
    installation.publish(camera)
    camera.connect()
    camera.await_segments(1)
    for path in (installation.record_root, *installation.record_root.rglob("*")):
        with suppress(FileNotFoundError):  # stored or deleted meanwhile
            # A link's own mode says nothing, and who may follow one is another test's claim.
            assert path.is_symlink() or stat.S_IMODE(path.lstat().st_mode) & 0o027 == 0, path
    for name in ("lock", "journal.jsonl", "streams.json"):
        mode = stat.S_IMODE((installation.record_root / ".streamwarden" / name).stat().st_mode)
        assert mode == 0o600, name


def test_nothing_below_the_record_root_holds_a_secret(installation: Installation) -> None:
    camera = installation.camera()
    secrets = _known(installation, camera)
    installation.publish(camera)
    camera.connect()
    camera.await_status("running")
    for file in installation.record_root.rglob("*"):
        if file.is_file() and file.suffix != ".mp4":
            assert leaks(secrets, file.read_text(errors="replace")) == [], file


def test_only_the_ready_line_of_a_demo_holds_secrets(demo: DemoProgram) -> None:
    camera = demo.cameras[0]
    camera.await_status("running")
    secrets = {
        **demo.secrets(),
        "user's token": str(demo.ready["token"]),
        "publish token": _token_in(camera.publish_url()),
    }
    recorder = wait_for("an FFmpeg", lambda: demo.recorder_of(camera))
    argv = recorder.cmdline()
    secrets["read token"] = _token_in(argv[argv.index("-i") + 1])
    assert leaks(secrets, demo.program.stderr) == []
    for port in ("api", "streaming", "internal_api"):
        assert leaks(secrets, exposition(demo.ready[port])) == []
    for child in demo.program.tree():
        words = " ".join(child.cmdline())
        if "ffmpeg" not in words:
            assert leaks(secrets, words) == [], child
    postgres_log = demo.data_dir / "postgres" / "postgres.log"
    assert leaks(secrets, postgres_log.read_text(errors="replace")) == []
