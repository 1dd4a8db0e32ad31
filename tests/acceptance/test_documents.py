"""The walk of README.md, and operators' commands of the documents, run out of the documents themselves."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamwarden.devkit.camera_server import CameraServer, Login
from tests.acceptance.demo import DemoProgram, relay_only
from tests.acceptance.program import clean_environment
from tests.acceptance.waiting import wait_for

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
LOGIN = Login("viewer", "secret of the yard")
OF_THE_PAGE = "rtsp://192.168.1.20/stream1"

pytestmark = [
    pytest.mark.skipif(not README.exists(), reason="needs the checkout"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="no curl"),
]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoProgram]:
    """A demo of its own, since the walk stops a camera; with the relay, so that it is quick."""
    media = relay_only(tmp_path_factory.mktemp("cache"))
    # The documents pull from a private network; here the camera is on this machine.
    media["STREAMWARDEN_SOURCE_NETWORKS"] = "127.0.0.1"
    demo = DemoProgram(tmp_path_factory.mktemp("walk"), media=media, cameras=1, segment_s=1)
    try:
        yield demo.start()
    finally:
        demo.program.clean_up()


def section(page: Path, heading: str) -> list[str]:
    """Return the shell blocks below a heading, up to the next one."""
    text = page.read_text(encoding="utf-8")
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^## |^### |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, heading
    return re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)


def shell(script: str, folder: Path, *, within_s: float = 120) -> str:
    """Run ``script`` as a reader's shell would; each failed line ends it. Return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}\n{script}"
    return done.stdout


def here(block: str, trial: DemoProgram) -> str:
    """Return a block with this machine's values in the places of the document's."""
    program = f"{shlex.quote(sys.executable)} -m streamwarden"
    settings = shlex.quote(str(trial.data_dir / "settings.toml"))
    ready = trial.ready
    for its, ours in (
        (
            r"\.venv/bin/streamwarden --config \.data/settings\.toml",
            f"{program} --config {settings}",
        ),
        (r"\.venv/bin/streamwarden", program),
        (r"http://127\.0\.0\.1:8081", ready["api"]),
        (r"http://127\.0\.0\.1:8082", ready["streaming"]),
        (r"http://127\.0\.0\.1:8083", ready["internal_api"]),
        (r"^TOKEN=\S+", f"TOKEN={ready['token']}"),
        (r"^CAMERA=\S+", f"CAMERA={ready['cameras'][0]}"),
    ):
        block = re.sub(its, str(ours).replace("\\", "\\\\"), block, flags=re.MULTILINE)
    return block


def newest_segment(trial: DemoProgram) -> str:
    (camera,) = trial.cameras
    return str(camera.await_segments(1)[-1]["id"])


def test_the_walk_of_the_readme(trial: DemoProgram, tmp_path: Path) -> None:
    walk, refused = section(README, "A walk through it")
    script = here(walk, trial).replace("SEGMENT=…", f"SEGMENT={newest_segment(trial)}")
    assert "…\n" not in script
    printed = [json.loads(line) for line in shell(script, tmp_path).splitlines() if line]
    assert [line for line in printed if "code" in line] == []
    assert (tmp_path / "segment.mp4").read_bytes()[4:8] == b"ftyp"
    wanted = [line for line in printed if "publish_rtsp_url" in line]
    assert len(wanted) == 1

    values = "\n".join(
        line for line in script.splitlines() if re.match(r"(API|TOKEN|CAMERA)=|user\(", line)
    )
    told = shell(f"{values}\n{here(refused, trial)}", tmp_path)
    for expected in re.findall(r"# (\d{3})", refused):
        assert re.search(rf'HTTP/1.1 {expected}|"status": ?{expected}', told), expected


def test_a_camera_with_a_password_by_the_readmes_commands(
    trial: DemoProgram, ffmpeg: str, tmp_path: Path
) -> None:
    probe, add, push = section(README, "A real camera")
    with CameraServer(ffmpeg=ffmpeg, login=LOGIN) as server:
        server.serve("yard")
        assert server.await_picture("yard")
        (tmp_path / "yard.secret").write_text(f"{LOGIN.password}\n")

        def ours(block: str) -> str:
            return here(block, trial).replace(OF_THE_PAGE, server.url("yard"))

        asked = ours(probe).replace(
            "--username viewer", "--username viewer --password-file yard.secret"
        )
        assert "H.264" in shell(asked, tmp_path)
        shell(ours(add), tmp_path)
        await_recorded(trial, "Yard")

    lines = here(push, trial)
    publish = lines.split("ffmpeg -re")[0]
    sent = re.search(r"^ffmpeg .*$", lines, re.MULTILINE)
    assert sent is not None
    (tmp_path / "clip.mp4").write_bytes(a_file_of(trial))
    sender = sent[0].replace("ffmpeg", shlex.quote(ffmpeg), 1)
    pushing = f"{publish}\ntimeout 60 {sender} >ffmpeg.log 2>&1 &\necho $!"
    pid = int(shell(pushing, tmp_path).split()[-1])
    try:
        await_recorded(trial, "Studio")
    finally:
        subprocess.run(["kill", str(pid)], check=False)


def a_file_of(trial: DemoProgram) -> bytes:
    (camera,) = trial.cameras
    answer = camera.file(camera.await_segments(1)[-1])
    assert answer.status == 200
    return answer.body


def await_recorded(trial: DemoProgram, name: str) -> None:
    def look() -> bool:
        found = [
            one for one in trial.api.get("/api/v1/camera").json()["items"] if one["name"] == name
        ]
        if not found:
            return False
        listed = trial.api.get(f"/api/v1/camera/{found[0]['id']}/recordings").json()["items"]
        return any(item["kind"] == "segment" for item in listed)

    wait_for(f"a segment of {name}", look)


def test_the_demo_is_entered_again_by_the_readmes_link(trial: DemoProgram, tmp_path: Path) -> None:
    text = next(
        block
        for block in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
        if "sign-in" in block
    )
    link = shell(here(text, trial), tmp_path).strip()
    assert link.startswith(f"{trial.ready['webui']}/#token=")


@pytest.mark.parametrize(
    "command",
    [
        "recordings verify --quick",
        "recordings reconcile --quick",
        "recordings seals",
        "user list",
        "audit list --limit 5",
        "check-config --role all",
    ],
)
def test_operators_commands_of_the_operating_page(
    trial: DemoProgram, command: str, tmp_path: Path
) -> None:
    page = " ".join((ROOT / "docs" / "operating.md").read_text().split())
    assert command.partition(" --")[0] in page
    shell(here(f".venv/bin/streamwarden --config .data/settings.toml {command}", trial), tmp_path)
