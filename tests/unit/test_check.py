"""scripts/check.py: how tests of JavaScript are counted, and what is said where they cannot run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
OF_NODE = """<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testcase name="a claim" time="0.001" classname="test"/>
	<testsuite name="several" tests="2">
		<testcase name="fails" time="0.001" classname="test" failure="1 !== 2">
			<failure type="testCodeFailure" message="1 !== 2">AssertionError</failure>
		</testcase>
		<testcase name="waits" time="0.001" classname="test">
			<skipped type="skipped" message="no such zone here"/>
		</testcase>
	</testsuite>
	<!-- tests 3 -->
</testsuites>
"""

pytestmark = pytest.mark.skipif(
    not (ROOT / "scripts").exists(), reason="needs the checkout, not an installed package"
)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.chdir(ROOT)
    yield importlib.import_module("check")
    del sys.modules["check"]


def node_that_says(folder: Path, version: str) -> None:
    (folder / "node").write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    (folder / "node").chmod(0o755)


def test_what_node_wrote_down_is_counted(check: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "javascript.xml"
    report.write_text(OF_NODE, encoding="utf-8")
    outcome = check.Outcome()
    check.read_report(report, outcome)
    assert outcome.counts == {"passed": 1, "failed": 1, "skipped": 1}
    assert outcome.skipped == {"no such zone here": 1}


def test_node_is_given_every_test_file(check: ModuleType) -> None:
    given = {Path(word).name for word in check.javascript().command if word.endswith(".mjs")}
    assert given == {path.name for path in (ROOT / "tests/javascript").glob("*.test.mjs")} != set()


@pytest.mark.parametrize("version", [None, "v18.20.4", "unknown"])
def test_without_a_node_that_can_the_step_is_skipped_and_says_what_helps(
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    version: str | None,
) -> None:
    if version:
        node_that_says(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = check.run_all([check.javascript()], {})
    check.tell(outcome)
    told = capsys.readouterr().out
    found = f"node {version}" if version else "no node"
    assert f"skipped step javascript: {found} here: Node 20 or newer" in told
    assert not outcome.failed_steps


@pytest.mark.parametrize("version", ["v20.0.0", "v24.1.0"])
def test_a_node_that_can_is_used(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    node_that_says(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert check.javascript().missing == ""


def test_several_steps_tell_what_they_have_said_and_which_failed(
    check: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = [check.Step(name, ("sh", "-c", f"echo said by {name}; exit {code}"))
             for name, code in (("one", 0), ("two", 3), ("three", 0))]  # fmt: skip
    outcome = check.run_all(steps, {"PATH": "/usr/bin:/bin"})
    told = capfd.readouterr().out
    assert outcome.failed_steps == ["two"]
    assert all(f"said by {step.name}\n== {step.name}: " in told for step in steps)


def test_bytecode_is_kept_although_the_machine_writes_none(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = check.the_environment()
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert Path(found["PYTHONPYCACHEPREFIX"]).is_relative_to(ROOT / ".venv")
