"""The media server's question, asked by hand and by real readers: who may read, who may publish."""

from __future__ import annotations

import base64
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.calls import Answer, Caller
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.metrics_of import metric_value
from tests.acceptance.user import CameraUser


def _hook(installation: Installation, **fields: object) -> Answer:
    body = {"action": "read", "protocol": "rtsp", "path": "", "token": "", **fields}
    return Caller(installation.internal_url).post("/api/v1/m2m/check-stream-pwd", body)


def test_the_hook_answers_200_to_a_read_token_and_401_to_everything_else(
    installation: Installation,
) -> None:
    token = installation.stream_tokens.sign_view(OWNER, "yard", ttl_s=60).token
    publish = installation.stream_tokens.sign_publish(OWNER, "yard", ttl_s=60).token
    assert _hook(installation, path="yard", token=token).status == 200
    assert _hook(installation, path="yard", password=token).status == 200
    assert _hook(installation, path="yard", query=f"token={token}").status == 200
    assert _hook(installation, path="yard", token=publish, action="publish").status == 200
    for refused in (
        {"path": "yard"},
        {"path": "garden", "token": token},
        {"path": "yard", "token": token, "action": "publish"},
        {"path": "yard", "token": publish},
        {"path": "yard", "token": token + "x"},
        {"path": "yard", "token": token, "action": "api"},
        {"path": "yard", "token": installation.token_of(OWNER)},
    ):
        assert _hook(installation, **refused).status == 401, refused


def test_the_hook_answers_400_to_what_is_no_json_object(installation: Installation) -> None:
    for body in (b"", b"[]", b"{", b"null"):
        answer = Caller(installation.internal_url).call(
            "POST", "/api/v1/m2m/check-stream-pwd", body=body,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        expected = 401 if body == b"" else 400  # a POST without a body is a POST with {}
        assert answer.status == expected, body


def test_the_users_port_has_no_hook_and_the_hooks_port_no_users_api(
    installation: Installation,
) -> None:
    hook = "/api/v1/m2m/check-stream-pwd"
    assert Caller(installation.api_url).post(hook, {}).status == 404
    assert (
        Caller(installation.internal_url, installation.admin.headers).get("/api/v1/camera").status
        == 404
    )


def _read_once(installation: Installation, url: str) -> subprocess.CompletedProcess[str]:
    argv = [installation.ffmpeg, "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", url]
    argv += ["-map", "0:v", "-frames:v", "1", "-f", "null", "-"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def pictured(installation: Installation) -> CameraUser:
    """A camera that publishes and is not recorded."""
    camera = installation.camera()
    installation.publish(camera)
    installation.await_published(camera)
    return camera


def _asked(installation: Installation, **labels: str) -> float:
    return metric_value(installation.internal_url, "stream_auth_total", **labels)


def test_one_token_passes_describe_and_setup(
    installation: Installation, pictured: CameraUser
) -> None:
    token = pictured.api.get(f"{pictured.path}/preview").json()["token"]
    before = _asked(installation, action="read", outcome="allowed")
    url = f"{installation.relay.rtsp_url}/{installation.path_of(pictured)}?token={token}"
    done = _read_once(installation, url)
    assert (done.returncode, done.stderr) == (0, "")
    assert _asked(installation, action="read", outcome="allowed") - before >= 2


def test_a_client_with_a_password_is_denied_empty_handed_and_then_let_in(
    installation: Installation, pictured: CameraUser
) -> None:
    # Not with FFmpeg: it cuts a password in the URL off after 128 characters.
    token = pictured.api.get(f"{pictured.path}/preview").json()["token"]
    before = _asked(installation, action="read", outcome="no_credentials")
    url = f"{installation.relay.rtsp_url}/{installation.path_of(pictured)}"
    password = base64.b64encode(f"any:{token}".encode()).decode()
    with socket.create_connection(
        ("127.0.0.1", installation.relay.ports.rtsp), timeout=10
    ) as client:
        first = _describe(client, url, 1, "")
        assert b" 401 " in first[0]
        assert any(line.lower().startswith(b"www-authenticate") for line in first)
        assert b" 200 " in _describe(client, url, 2, f"Authorization: Basic {password}\r\n")[0]
    assert _asked(installation, action="read", outcome="no_credentials") == before + 1


def _describe(client: socket.socket, url: str, number: int, header: str) -> list[bytes]:
    client.sendall(f"DESCRIBE {url} RTSP/1.0\r\nCSeq: {number}\r\n{header}\r\n".encode())
    return client.recv(65536).split(b"\r\n")


def test_the_media_server_refuses_what_the_hook_refuses(
    installation: Installation, pictured: CameraUser, tmp_path: Path
) -> None:
    path, base = installation.path_of(pictured), installation.relay.rtsp_url
    publish = urlsplit(pictured.publish_url()).query
    elsewhere = installation.stream_tokens.sign_view(OWNER, "elsewhere", ttl_s=60).token
    for query in ("", "?token=wrong", f"?{publish}", f"?token={elsewhere}"):
        done = _read_once(installation, f"{base}/{path}{query}")
        assert done.returncode != 0, query.partition("=")[0]
        assert "401" in done.stderr
    view = installation.stream_tokens.sign_view(OWNER, "elsewhere", ttl_s=60).token
    pushing = [
        installation.ffmpeg,
        "-v",
        "error",
        "-nostdin",
        "-f",
        "lavfi",
        "-i",
        "testsrc=d=2:r=10",
    ]
    pushing += ["-c:v", "libx264", "-f", "rtsp", "-rtsp_transport", "tcp"]
    done = subprocess.run([*pushing, f"{base}/elsewhere?token={view}"], capture_output=True,
                          text=True, timeout=30, check=False, cwd=tmp_path)  # fmt: skip
    assert done.returncode != 0
    assert "401" in done.stderr
