from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.deploy_files import DEPLOY, needs_checkout

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MOST_EXPOSED = 2.0
"""Of 10; systemd calls up to 4 OK. What is left is that these programs use the network."""

pytestmark = needs_checkout


def directives(unit: Path) -> dict[str, str]:
    lines = unit.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze: install systemd")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units with a program that is there: whether one is installed is not theirs to say."""
    for unit in UNITS:
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return sorted(tmp_path.glob("*.service"))


def test_there_is_a_unit_for_everything_and_for_each_role() -> None:
    roles = {}
    for unit in UNITS:
        role = re.search(r"serve(?: --role (\w+))?$", directives(unit)["ExecStart"])
        roles[unit.stem] = role and (role[1] or "all")
    assert roles == {
        "mediamtx": None,
        "streamwarden": "all",
        "streamwarden-api": "api",
        "streamwarden-backup": None,
        "streamwarden-streaming": "streaming",
        "streamwarden-webui": "webui",
    }


def test_systemd_finds_nothing_wrong(analyze: str, installed: list[Path]) -> None:
    done = subprocess.run(
        [analyze, "verify", "--man=no", *installed], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "streamwarden" in line]
    ours += [line for line in done.stderr.splitlines() if "mediamtx" in line]
    assert ours == []


def test_the_units_leave_little_to_an_intruder(analyze: str, installed: list[Path]) -> None:
    for unit in installed:
        done = subprocess.run(
            [analyze, "security", "--offline=true", "--no-pager", unit], capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        level = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        if level is None:
            pytest.skip("this systemd-analyze rates no unit offline: systemd 250 or newer does")
        assert float(level[1]) <= MOST_EXPOSED, unit.name


@pytest.mark.parametrize("name", ["streamwarden", "streamwarden-streaming"])
def test_only_recorders_write_and_one_that_takes_all_memory_ends_alone(name: str) -> None:
    unit = directives(DEPLOY / "systemd" / f"{name}.service")
    assert (
        unit["ReadWritePaths"].removeprefix("-") == unit["RequiresMountsFor"] == "/srv/recordings"
    )
    assert unit["StateDirectory"] == "streamwarden"
    assert unit["OOMPolicy"] == "continue"
    assert unit["KillMode"] == "mixed"


@pytest.mark.parametrize("name", ["streamwarden-api", "streamwarden-webui", "mediamtx"])
def test_the_others_write_nothing(name: str) -> None:
    unit = directives(DEPLOY / "systemd" / f"{name}.service")
    assert unit["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in unit
