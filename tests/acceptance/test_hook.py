"""The media server's question, asked by hand and by real readers: who may read, who may publish."""

from __future__ import annotations

import base64
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.calls import Answer, Caller
from tests.acceptance.figures import figure
from tests.acceptance.stage import OWNER, Stage
from tests.acceptance.user import CameraUser


def _hook(stage: Stage, **fields: object) -> Answer:
    body = {"action": "read", "protocol": "rtsp", "path": "", "token": "", **fields}
    return Caller(stage.internal_url).post("/api/v1/m2m/check-stream-pwd", body)


def test_the_hook_answers_200_to_a_read_token_and_401_to_everything_else(stage: Stage) -> None:
    token = stage.stream_tokens.sign_view(OWNER, "yard", ttl_s=60).token
    publish = stage.stream_tokens.sign_publish(OWNER, "yard", ttl_s=60).token
    assert _hook(stage, path="yard", token=token).status == 200
    assert _hook(stage, path="yard", password=token).status == 200
    assert _hook(stage, path="yard", query=f"token={token}").status == 200
    assert _hook(stage, path="yard", token=publish, action="publish").status == 200
    for refused in (
        {"path": "yard"},
        {"path": "garden", "token": token},
        {"path": "yard", "token": token, "action": "publish"},
        {"path": "yard", "token": publish},
        {"path": "yard", "token": token + "x"},
        {"path": "yard", "token": token, "action": "api"},
        {"path": "yard", "token": stage.token_of(OWNER)},
    ):
        assert _hook(stage, **refused).status == 401, refused


def test_the_hook_answers_400_to_what_is_no_json_object(stage: Stage) -> None:
    for body in (b"", b"[]", b"{", b"null"):
        answer = Caller(stage.internal_url).call(
            "POST", "/api/v1/m2m/check-stream-pwd", body=body,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        expected = 401 if body == b"" else 400  # a POST without a body is a POST with {}
        assert answer.status == expected, body


def test_the_users_port_has_no_hook_and_the_hooks_port_no_users_api(stage: Stage) -> None:
    hook = "/api/v1/m2m/check-stream-pwd"
    assert Caller(stage.api_url).post(hook, {}).status == 404
    assert Caller(stage.internal_url, stage.admin.headers).get("/api/v1/camera").status == 404


def _read_once(stage: Stage, url: str) -> subprocess.CompletedProcess[str]:
    argv = [stage.ffmpeg, "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", url]
    argv += ["-map", "0:v", "-frames:v", "1", "-f", "null", "-"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def pictured(stage: Stage) -> CameraUser:
    """A camera that publishes and is not recorded."""
    camera = stage.camera()
    stage.publish(camera)
    stage.await_published(camera)
    return camera


def _asked(stage: Stage, **labels: str) -> float:
    return figure(stage.internal_url, "stream_auth_total", **labels)


def test_one_token_passes_describe_and_setup(stage: Stage, pictured: CameraUser) -> None:
    token = pictured.api.get(f"{pictured.path}/preview").json()["token"]
    before = _asked(stage, action="read", outcome="allowed")
    url = f"{stage.relay.rtsp_url}/{stage.path_of(pictured)}?token={token}"
    done = _read_once(stage, url)
    assert (done.returncode, done.stderr) == (0, "")
    assert _asked(stage, action="read", outcome="allowed") - before >= 2


def test_a_client_with_a_password_is_denied_empty_handed_and_then_let_in(
    stage: Stage, pictured: CameraUser
) -> None:
    # Not with FFmpeg: it cuts a password in the URL off after 128 characters.
    token = pictured.api.get(f"{pictured.path}/preview").json()["token"]
    before = _asked(stage, action="read", outcome="no_credentials")
    url = f"{stage.relay.rtsp_url}/{stage.path_of(pictured)}"
    password = base64.b64encode(f"any:{token}".encode()).decode()
    with socket.create_connection(("127.0.0.1", stage.relay.ports.rtsp), timeout=10) as client:
        first = _describe(client, url, 1, "")
        assert b" 401 " in first[0]
        assert any(line.lower().startswith(b"www-authenticate") for line in first)
        assert b" 200 " in _describe(client, url, 2, f"Authorization: Basic {password}\r\n")[0]
    assert _asked(stage, action="read", outcome="no_credentials") == before + 1


def _describe(client: socket.socket, url: str, number: int, header: str) -> list[bytes]:
    client.sendall(f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {number}\r\n{header}\r\n".encode())
    return client.recv(65536).split(b"\r\n")


def test_the_media_server_refuses_what_the_hook_refuses(
    stage: Stage, pictured: CameraUser, tmp_path: Path
) -> None:
    path, base = stage.path_of(pictured), stage.relay.rtsp_url
    publish = urlsplit(pictured.publish_url()).query
    elsewhere = stage.stream_tokens.sign_view(OWNER, "elsewhere", ttl_s=60).token
    for query in ("", "?token=wrong", f"?{publish}", f"?token={elsewhere}"):
        done = _read_once(stage, f"{base}/{path}{query}")
        assert done.returncode != 0, query.partition("=")[0]
        assert "401" in done.stderr
    view = stage.stream_tokens.sign_view(OWNER, "elsewhere", ttl_s=60).token
    pushing = [stage.ffmpeg, "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=d=2:r=10"]
    pushing += ["-c:v", "libx264", "-f", "rtsp", "-rtsp_transport", "tcp"]
    done = subprocess.run([*pushing, f"{base}/elsewhere?token={view}"], capture_output=True,
                          text=True, timeout=30, check=False, cwd=tmp_path)  # fmt: skip
    assert done.returncode != 0
    assert "401" in done.stderr
