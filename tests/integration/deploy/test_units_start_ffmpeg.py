"""FFmpeg's start, exactly as a recorder makes it, under the filters of each unit that records."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamwarden.ffmpeg.sandbox import ability
from tests.integration.deploy.unit_filter import allowed_calls, libseccomp, under

ROOT = Path(__file__).parents[3]
SYSTEMD = ROOT / "deploy" / "systemd"
RECORDING = ("streamwarden", "streamwarden-streaming")
TRY = """
import sys
from pathlib import Path
from streamwarden.errors import Unavailable
from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.preflight import try_ffmpeg
from streamwarden.ffmpeg.sandbox import Sandbox, ability
try:
    print("version", try_ffmpeg(find_ffmpeg(None), None, Path("/"), sandbox=Sandbox()), ability().confines)
except Unavailable as error:
    print("refused", error)
"""

pytestmark = [
    pytest.mark.skipif(not SYSTEMD.exists(), reason="needs the checkout"),
    pytest.mark.skipif(libseccomp() is None, reason="no libseccomp: install libseccomp2"),
]


def tried(unit: Path) -> str:
    """What a preflight finds out under the unit's filter, without capabilities as the unit has none."""
    bare = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--")
    argv = [*(bare if os.geteuid() == 0 else ()), *under(unit), sys.executable, "-c", TRY]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", RECORDING)
def test_a_unit_that_records_lets_ffmpeg_start_with_its_limits(name: str) -> None:
    said = tried(SYSTEMD / f"{name}.service")
    assert said.startswith("version "), said
    assert said.endswith("True") or not ability().confines, "FFmpeg is not confined under the unit"


@pytest.mark.parametrize(
    "forbidden", ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]
)
def test_under_a_unit_that_forbids_the_sandbox_ffmpeg_records_and_the_lack_is_known(
    forbidden: str, tmp_path: Path
) -> None:
    text = (SYSTEMD / "streamwarden.service").read_text(encoding="utf-8")
    without = tmp_path / "streamwarden.service"
    without.write_text(text.replace(f" {forbidden}", "").replace(f"={forbidden}", "="), "utf-8")
    said = tried(without)
    assert said.startswith("version "), said
    assert said.endswith("False"), "the role would say that FFmpeg is confined"


def test_a_unit_without_capset_is_refused_in_words(tmp_path: Path) -> None:
    text = (SYSTEMD / "streamwarden.service").read_text(encoding="utf-8")
    hardened = tmp_path / "streamwarden.service"
    hardened.write_text(text.replace("SystemCallFilter=capset\n", ""), encoding="utf-8")
    said = tried(hardened)
    assert said.startswith("refused FFmpeg cannot be started: setpriv may not call capset")
    assert "SystemCallFilter=capset" in said


@pytest.mark.parametrize("name", [*RECORDING, "streamwarden-api", "streamwarden-webui", "mediamtx"])
def test_the_filters_allow_what_they_must_and_little_more(name: str) -> None:
    allowed = allowed_calls(SYSTEMD / f"{name}.service")
    assert {"read", "execve", "openat"} <= allowed
    assert not {"chroot", "mount", "bpf", "reboot", "init_module", "ptrace"} & allowed
    assert ("capset" in allowed) is (name in RECORDING)


def test_systemds_groups_here_are_those_of_the_table() -> None:
    """Newer versions know more calls; one that leaves a group would change what a unit allows."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: install systemd")
    argv = [analyze, "syscall-filter", "@system-service", "@privileged", "--no-pager"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    listed = {line.strip() for line in told.splitlines()}
    assert {"@process", "@setuid", "capset"} <= listed
