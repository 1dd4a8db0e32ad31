"""What a program in FFmpeg's place can read, change and reach in the sandbox of a recorder or job."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]  # has no types
import pytest

from streamwarden.errors import ConfigError, Unavailable
from streamwarden.ffmpeg import sandbox as module
from streamwarden.ffmpeg.command import DIE_WITH_PARENT, ENVIRONMENT, find_ffmpeg
from streamwarden.ffmpeg.jobs import JobEnd, JobOrder, JobRunner, decode
from streamwarden.ffmpeg.preflight import try_ffmpeg
from streamwarden.ffmpeg.process import Process, read_pipe
from streamwarden.ffmpeg.sandbox import (
    NOTHING,
    Ability,
    Reach,
    Sandbox,
    ability,
    open_sandbox,
    recorder_reach,
)
from tests.unit.auth.test_provider_key_set import eventually

ABLE = ability()
PYTHON = Sandbox(required=True, reads=(Path(sys.prefix), Path(sys.base_prefix)))
"""A sandbox in which Python, standing in for FFmpeg, can be run."""

pytestmark = pytest.mark.skipif(not ABLE.confines, reason="this kernel cannot confine a program")

TRIES = """
import ctypes, json, os, resource, signal, socket, sys
facts = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
fds = [fd for fd in range(256) if libc.fcntl(fd, 1, 0) >= 0]
def read(path):
    with open(path, "rb") as file:
        file.read()
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(10)
        one.connect(address)
def limit(pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE)
def memory(pid):
    got = ctypes.create_string_buffer(16)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(got), 8)
    if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) < 0 or libc.ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "memory")
def watch(path):
    if libc.inotify_add_watch(libc.inotify_init(), path.encode(), 0x100) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
tries = {
    "key": lambda: read(facts["key"]),
    "environment of the server": lambda: read(f"/proc/{facts['server']}/environ"),
    "memory of the server": lambda: read(f"/proc/{facts['server']}/mem"),
    "words of the server": lambda: read(f"/proc/{facts['server']}/cmdline"),
    "traced server": lambda: memory(facts["server"]),
    "signalled server": lambda: os.kill(facts["server"], 0),
    "limits of the server": lambda: limit(facts["server"]),
    "another's recording": lambda: read(facts["other"]),
    "list of another's folder": lambda: os.listdir(os.path.dirname(facts["other"])),
    "list of the root": lambda: os.listdir(facts["root"]),
    "watch over another's folder": lambda: watch(os.path.dirname(facts["other"])),
    "key's mode": lambda: os.chmod(facts["key"], 0o644),
    "key's time": lambda: os.utime(facts["key"]),
    "shorter recording": lambda: os.truncate(facts["other"], 0),
    "new file beside": lambda: open(facts["other"] + ".new", "x"),
    "removed recording": lambda: os.unlink(facts["other"]),
    "link to a key": lambda: os.link(facts["key"], "linked"),
    "passwd": lambda: read("/etc/passwd"),
    "local socket": lambda: connect(socket.AF_UNIX, facts["local"]),
    "another port": lambda: connect(socket.AF_INET, ("127.0.0.1", facts["wrong_port"])),
    "its port": lambda: connect(socket.AF_INET, ("127.0.0.1", facts["port"])),
    "its folder": lambda: open("r1-000000.mp4", "xb").write(b"media"),
    "its own list": lambda: os.listdir("."),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
    except OSError:
        continue
    done.append(name)
print(json.dumps({"done": sorted(done), "fds": fds}))
"""


@pytest.fixture
def facts(tmp_path: Path) -> Iterator[dict[str, object]]:
    root = tmp_path / "recordings"
    mine, other = root / "alice" / "cam" / ".live", root / "bob" / "cam" / "2026-01-01"
    for folder in (mine, other):
        folder.mkdir(parents=True)
    (other / "secret.mp4").write_bytes(b"picture")
    key = tmp_path / "seal.pem"
    key.write_text("private")
    key.chmod(0o600)
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "postgres"))
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    local.listen()
    try:
        yield {
            "root": str(root),
            "mine": str(mine),
            "other": str(other / "secret.mp4"),
            "key": str(key),
            "local": str(tmp_path / "postgres"),
            "server": os.getpid(),
            "port": ports[0].getsockname()[1],
            "wrong_port": ports[1].getsockname()[1],
        }
    finally:
        for one in (local, *ports):
            one.close()


def attempted(facts: dict[str, object], sandbox: Sandbox | None, reach: Reach) -> dict[str, Any]:
    """Run the tries as an FFmpeg is run; return what it could do."""
    argv = [*DIE_WITH_PARENT, sys.executable, "-I", "-S", "-c", TRIES, json.dumps(facts)]
    if sandbox is not None:
        argv = sandbox.argv(argv, reach, ffmpeg=sys.executable)
    process = Process(argv, Path(str(facts["mine"])))
    found, errors = bytearray(), bytearray()
    try:

        def ended() -> bool:
            errors.extend(read_pipe(process.stderr) or b"")
            chunk = read_pipe(process.stdout)
            found.extend(chunk or b"")
            return chunk == b""

        eventually(ended)
    finally:
        process.reap()
        process.close()
    assert found, errors.decode()
    told: dict[str, Any] = json.loads(found)
    return told


def recorder(facts: dict[str, object]) -> Reach:
    return recorder_reach(f"rtsp://127.0.0.1:{facts['port']}/cam?token=t")


def test_a_recorders_ffmpeg_has_its_folder_and_its_port_and_nothing_else(
    facts: dict[str, object],
) -> None:
    told = attempted(facts, PYTHON, recorder(facts))
    ports = {"another port"} if ABLE.landlock < 4 else set[str]()
    assert set(told["done"]) - ports == {"its folder", "its own list", "its port"}
    assert told["fds"] == [0, 1, 2]


def test_ffmpegs_environment_is_the_same_in_it() -> None:
    argv = Sandbox().argv([*DIE_WITH_PARENT, "env"], NOTHING, ffmpeg="/usr/bin/env")
    done = subprocess.run(argv, capture_output=True, env=ENVIRONMENT, check=True, timeout=60)
    assert dict(line.split("=", 1) for line in done.stdout.decode().splitlines()) == ENVIRONMENT


def test_a_picture_and_an_export_have_not_even_a_network(facts: dict[str, object]) -> None:
    assert attempted(facts, PYTHON, NOTHING)["done"] == []


@pytest.mark.skipif(
    os.geteuid() != 0, reason="may not be allowed to trace without the sandbox either"
)
def test_the_tries_are_real_ones(facts: dict[str, object]) -> None:
    """Without the sandbox they succeed, so that the tests above show what it does."""
    done = attempted(facts, None, NOTHING)["done"]
    assert {"key", "environment of the server", "another's recording", "local socket"} <= {*done}
    assert {"signalled server", "limits of the server", "another port", "key's mode"} <= {*done}


def test_a_job_is_confined_by_its_own_reach(facts: dict[str, object]) -> None:
    runner, ended, ends = JobRunner(PYTHON), threading.Event(), list[JobEnd]()

    def on_end(end: JobEnd) -> None:
        ends.append(end)
        ended.set()

    runner.start()
    try:
        runner.run(
            JobOrder(
                argv=[sys.executable, "-I", "-S", "-c", TRIES, json.dumps(facts)],
                folder=Path(str(facts["mine"])),
                timeout_s=60.0,
                on_end=on_end,
                reach=Reach(reads=(str(facts["other"]),)),
            )
        )
        assert ended.wait(60)
    finally:
        runner.close()
    assert json.loads(ends[0].output)["done"] == ["another's recording"], ends


def test_a_check_of_a_recording_reads_that_file_alone(
    facts: dict[str, object], tmp_path: Path
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\ncat '{facts['key']}' '{facts['other']}' >&2; env >&2\n")
    program.chmod(0o755)
    said = decode(str(program), Path(str(facts["other"])), sandbox=Sandbox(required=True))
    assert "picture" in said
    assert "private" not in said
    assert "HOME=" not in said


@pytest.mark.parametrize("ffmpeg", sorted({find_ffmpeg(None), imageio_ffmpeg.get_ffmpeg_exe()}))
def test_ffmpeg_itself_records_in_it(ffmpeg: str, tmp_path: Path) -> None:
    made = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5", "-c:v", "mpeg4")
    argv = [*DIE_WITH_PARENT, ffmpeg, "-v", "error", *made, "-f", "segment", "r1-%06d.mp4"]
    confined = Sandbox(required=True).argv(argv, recorder_reach("rtsp://x/y"), ffmpeg=ffmpeg)
    done = subprocess.run(confined, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "r1-000000.mp4").stat().st_size > 500


def test_the_preflight_is_confined_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("private")
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\ncat '{tmp_path}/key' && echo 'ffmpeg version 1 x'\n")
    program.chmod(0o755)
    assert try_ffmpeg(find_ffmpeg(None), None, tmp_path, sandbox=Sandbox(required=True))
    with pytest.raises(Unavailable, match="ended with code 1"):
        try_ffmpeg(str(program), None, tmp_path, sandbox=Sandbox(required=True))


@pytest.mark.parametrize(
    ("landlock", "seccomp", "words"),
    [
        (0, True, "no Landlock"),
        (1, False, "local sockets"),
        (2, True, "every TCP port"),
        (4, True, None),
    ],
)
def test_what_a_kernel_lacks_is_said(landlock: int, seccomp: bool, words: str | None) -> None:
    missing = Ability(landlock=landlock, seccomp=seccomp).missing
    assert missing is None if words is None else words in str(missing)


def test_a_required_sandbox_that_cannot_be_had_ends_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ability", lambda: Ability(landlock=0, seccomp=True))
    with pytest.raises(ConfigError, match=r"FFMPEG_SANDBOX.*no Landlock"):
        open_sandbox("required")
    assert open_sandbox("try") == Sandbox()
    assert open_sandbox("off") is None
