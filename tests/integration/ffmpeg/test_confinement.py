"""What a child of ours really has: descriptors, limits, rights, environment."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from streamwarden.ffmpeg.command import (
    ADDRESS_SPACE_BYTES,
    DIE_WITH_PARENT,
    ENVIRONMENT,
    OPEN_FILES,
    FfmpegAccount,
)
from streamwarden.ffmpeg.process import Process, read_pipe
from streamwarden.recordings.durable import make_folder
from tests.unit.auth.test_provider_key_set import eventually

NOBODY = FfmpegAccount(65534, 65534)


def said(argv: list[str], folder: Path) -> str:
    """Run a child to its end; return what it wrote."""
    process = Process([*DIE_WITH_PARENT, *argv], folder)
    found = bytearray()
    try:

        def ended() -> bool:
            chunk = read_pipe(process.stdout)
            found.extend(chunk or b"")
            return chunk == b""

        eventually(ended)
    finally:
        process.reap()
        process.close()
    return found.decode()


def test_a_child_inherits_its_three_streams_and_nothing_else(tmp_path: Path) -> None:
    kept = [os.open(tmp_path, os.O_RDONLY) for _ in range(5)]
    inheritable = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inheritable, True)
    try:
        listed = said(["sh", "-c", "exec ls /proc/self/fd"], tmp_path).split()
    finally:
        for fd in (*kept, inheritable):
            os.close(fd)
    assert set(listed) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads


def test_a_childs_limits_are_set(tmp_path: Path) -> None:
    lines = said(["cat", "/proc/self/limits"], tmp_path).splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max open files"] == [str(OPEN_FILES)] * 2
    assert limits["Max address space"] == [str(ADDRESS_SPACE_BYTES)] * 2


def test_the_servers_own_limits_stay(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    said(["true"], tmp_path)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_child_sees_nothing_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMWARDEN_INTERNAL_TOKEN", "marked-secret")
    found = dict(line.split("=", 1) for line in said(["env"], tmp_path).splitlines())
    assert found == dict(ENVIRONMENT)


def test_a_child_cannot_gain_rights(tmp_path: Path) -> None:
    status = said(["cat", "/proc/self/status"], tmp_path)
    assert "NoNewPrivs:\t1" in status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a child as somebody else")
def test_another_users_child_has_its_ids_no_groups_and_still_dies_with_us(tmp_path: Path) -> None:
    argv = NOBODY.argv(
        [*DIE_WITH_PARENT, "sh", "-c", "id -u; id -G; grep CapEff /proc/self/status"]
    )
    process = Process(argv, tmp_path)
    try:
        found = bytearray()

        def three_lines() -> bool:
            found.extend(read_pipe(process.stdout) or b"")
            return found.count(b"\n") == 3

        eventually(three_lines)
    finally:
        process.reap()
        process.close()
    uid, groups, capabilities = found.decode().splitlines()
    assert (uid, groups) == ("65534", "65534")
    assert int(capabilities.split()[1], 16) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a child as somebody else")
def test_another_users_child_is_still_ours_to_end(tmp_path: Path) -> None:
    process = Process(NOBODY.argv([*DIE_WITH_PARENT, "sleep", "600"]), tmp_path)
    try:
        process.signal(signal.SIGTERM)
        eventually(lambda: _over(process.pid))
    finally:
        process.reap()
        process.close()


def _over(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_the_folders_of_recordings_are_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    for each in (folder, folder.parent):
        assert stat.S_IMODE(each.stat().st_mode) & 0o027 == 0
