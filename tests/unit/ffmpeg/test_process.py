from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from streamwarden.errors import ConfigError
from streamwarden.ffmpeg.command import find_ffmpeg, require_setpriv
from streamwarden.ffmpeg.process import ProcessUsage, process_usage


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "ffmpeg"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_setting_comes_first_then_the_path_then_the_bundled_one(
    program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg(other) == str(other)
    assert find_ffmpeg(None) == str(program)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "imageio_ffmpeg" in find_ffmpeg(None)


def test_the_name_by_which_a_program_is_called_is_kept(program: Path, tmp_path: Path) -> None:
    (tmp_path / "launcher").symlink_to(program)
    assert find_ffmpeg(tmp_path / "launcher") == str(tmp_path / "launcher")


def test_a_relative_setting_is_made_absolute(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.parent.parent)
    assert find_ffmpeg(Path(program.parent.name) / "ffmpeg") == str(program)


def test_a_setting_that_is_no_program_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "text").touch()
    for path in (tmp_path / "text", tmp_path / "none"):
        with pytest.raises(ConfigError, match=f"STREAMWARDEN_FFMPEG: {path}"):
            find_ffmpeg(path)


def test_setpriv_is_required() -> None:
    require_setpriv()


def test_use_is_read_of_a_living_process_and_0_of_one_that_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        living = process_usage(child.pid)
        child.kill()
    assert living.resident_bytes > 0
    assert living.cpu_s >= 0
    assert process_usage(os.getpid()).resident_bytes > 1_000_000
    assert process_usage(os.getpid()).cpu_s > 0.1
    assert process_usage(child.pid) == ProcessUsage()
