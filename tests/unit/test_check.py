"""scripts/check.py: how tests of JavaScript are counted, and what is said where they cannot run."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
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


TWICE = """
import pathlib
import pytest

@pytest.mark.parametrize("word", ["a b", "c"])
def test_first(word):
    mark = pathlib.Path(__file__).with_suffix(f".{word}")
    seen = mark.exists()
    mark.touch()
    assert seen or not FAILS_FIRST

def test_always():
    assert not FAILS_ALWAYS
"""


@pytest.mark.parametrize(
    ("fails_first", "fails_always", "name", "ends"),
    [
        (True, False, "acceptance", "unsteady"),
        (True, True, "acceptance", "failed"),
        (True, False, "unit", "failed"),
        (False, False, "acceptance", "passed"),
    ],
)
def test_a_test_of_programs_that_fails_gets_one_run_alone_and_is_named(  # noqa: PLR0917
    check: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    fails_first: bool,
    fails_always: bool,
    name: str,
    ends: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check, "REPORTS", Path())
    text = TWICE.replace("FAILS_FIRST", str(fails_first))
    file = tmp_path / "inner" / "test_inner.py"
    file.parent.mkdir()
    file.write_text(text.replace("FAILS_ALWAYS", str(fails_always)), encoding="utf-8")
    report = Path(f"{name}.xml")
    argv = (sys.executable, "-m", "pytest", f"--junitxml={report}", "inner")
    outcome = check.run_all([check.Step(name, argv, report)], os.environ)
    check.tell(outcome)
    told = capfd.readouterr().out
    assert outcome.failed_steps == ([name] if ends == "failed" else [])
    assert told.count("UNSTEADY") == (2 if ends == "unsteady" else 0)
    assert ("inner/test_inner.py::test_first[a b]" in outcome.unsteady) == (ends == "unsteady")


def test_many_failures_are_not_run_again(check: ModuleType, tmp_path: Path) -> None:
    cases = "".join(f'<testcase classname="x" name="t{n}"><failure/></testcase>' for n in range(4))
    report = tmp_path / "acceptance.xml"
    report.write_text(f"<testsuites>{cases}</testsuites>", encoding="utf-8")
    assert len(check.failed_tests(report)) == 4 > check.AGAIN_AT_MOST
    outcome = check.Outcome(failed_steps=["acceptance"])
    check.run_again(check.Step("acceptance", ("false",), report), {}, outcome)
    assert outcome.failed_steps == ["acceptance"]


def test_bytecode_is_kept_although_the_machine_writes_none(
    check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = check.the_environment()
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert Path(found["PYTHONPYCACHEPREFIX"]).is_relative_to(ROOT / ".venv")


def test_setup_says_why_a_python_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup")
    python = tmp_path / "python"
    why = "error while loading shared libraries: libpython3.12.so.1.0"
    python.write_text(f"#!/bin/sh\necho '{why}' >&2\nexit 127\n", encoding="utf-8")
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python)}
    done = subprocess.run(
        [tmp_path / "scripts" / "setup", "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "cannot be started" in done.stderr
    assert why in done.stderr
