"""`make test`: lint, types and every test that this machine can run, then what was skipped and why.

Names of steps as arguments run only those: ``scripts/check.py lint unit``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
TESTS = Path("tests")
BIN = Path(sys.executable).parent
REPORTS = Path(".venv/reports")

ON_REQUEST = frozenset({"attacks"})
"""Steps that run only when they are named: all of their tests are in other steps too."""

NODE_SINCE = 20
"""The oldest version of Node that is used: its test runner writes JUnit files."""

THREAT_MODEL = Path("docs/design/0010-threat-model.md")

PROGRAMS = {
    "promtool": "prometheus",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "chromium": "chromium",
}
"""Programs that tests use where they are, and Debian's packages that hold them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command. ``report`` is where its JUnit file goes, for those that are tests.

    ``missing`` says what it takes to run the step, where this machine cannot.
    """

    name: str
    command: tuple[str, ...]
    report: Path | None = None
    missing: str = ""


@dataclass(slots=True)
class Outcome:
    """What the steps have come to so far."""

    failed_steps: list[str] = field(default_factory=list)
    skipped_steps: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def tool(name: str, *arguments: str) -> tuple[str, ...]:
    """The command of a tool that is installed in .venv."""
    return (str(BIN / name), *arguments)


def tests(name: str, folders: Sequence[str], *options: str) -> Step | None:
    """A pytest step over those folders that hold tests; None if none of them does."""
    present = [str(path) for path in map(TESTS.joinpath, folders) if any(path.rglob("test_*.py"))]
    report = REPORTS / f"{name}.xml"
    command = tool("python", "-m", "pytest", *options, f"--junitxml={report}", *present)
    return Step(name, command, report) if present else None


def attacks() -> Step:
    """The tests that the threat model names: what a security engineer runs to be convinced."""
    named = re.findall(r"`(\w+/[\w/]+\.py)::(test_\w+)`", THREAT_MODEL.read_text(encoding="utf-8"))
    wanted = sorted({f"{TESTS / file}::{name}" for file, name in named})
    report = REPORTS / "attacks.xml"
    return Step("attacks", tool("python", "-m", "pytest", f"--junitxml={report}", *wanted), report)


def javascript() -> Step:
    """The tests of the page's modules that need no page, by Node's own runner."""
    files = [str(path) for path in sorted((TESTS / "javascript").glob("*.test.mjs"))]
    report = REPORTS / "javascript.xml"
    to_read = ("--test-reporter=spec", "--test-reporter-destination=stdout")
    to_count = ("--test-reporter=junit", f"--test-reporter-destination={report}")
    return Step(
        "javascript", ("node", "--test", *to_read, *to_count, *files), report, node_missing()
    )


def node_missing() -> str:
    """What this machine lacks for tests by Node, and what would help; empty where it lacks nothing."""
    node = shutil.which("node")
    found = "no node"
    if node is not None:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
        found = f"node {version.stdout.strip()}"
        major = re.match(r"v(\d+)\.", version.stdout)
        if major and int(major[1]) >= NODE_SINCE:
            return ""
    return (
        f"{found} here: Node {NODE_SINCE} or newer on PATH (Debian 13: apt-get install nodejs)"
        " makes it run; the step browser runs the same tests in Chromium"
    )


def programs() -> list[str]:
    """Python programs beside the package."""
    folders = ("scripts", "benchmarks", "deploy/grafana")
    return [str(path) for folder in folders for path in sorted(Path(folder).glob("*.py"))]


def all_steps() -> list[Step]:
    """Everything, quickest first. What starts programs mostly waits: several files at a time."""
    by_file = ("--dist", "loadfile", "--no-loadscope-reorder")  # in the order of tests/conftest.py
    steps = [
        Step("lint", tool("ruff", "check", ".")),
        Step("format", tool("ruff", "format", "--check", ".")),
        Step("imports", tool("lint-imports", "--no-logo")),
        Step("types", tool("mypy", "src/streamwarden", "tests", *programs())),
        javascript(),
        tests("unit", ["unit", "contract"], "-n", "2"),
        tests("integration", ["integration"], "-n", "3", *by_file),
        tests("acceptance", ["acceptance"], "-n", "3", *by_file),
        tests("browser", ["browser"], "-n", "2", *by_file),
        attacks(),
    ]
    return [step for step in steps if step is not None]


def missing_programs() -> dict[str, str]:
    """Programs that are not on PATH, with the packages that hold them."""
    return {name: package for name, package in PROGRAMS.items() if shutil.which(name) is None}


def install_missing_programs() -> None:
    """As root on Debian, install what is missing. A test skips itself if its program is not there."""
    packages = sorted(set(missing_programs().values()))
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-q"], install):
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            print("   failed; going on without", flush=True)


def run(step: Step, outcome: Outcome, environment: Mapping[str, str]) -> None:
    """Run one step and add what came of it to the outcome."""
    print(f"\n== {step.name}", flush=True)
    if step.missing:
        print(f"   skipped: {step.missing}", flush=True)
        outcome.skipped_steps[step.name] = step.missing
        return
    began = time.monotonic()
    if step.report is not None:
        step.report.unlink(missing_ok=True)
    code = subprocess.run(step.command, env=environment, check=False).returncode
    print(f"== {step.name}: {time.monotonic() - began:.0f} s", flush=True)
    if code != 0:
        outcome.failed_steps.append(step.name)
    if step.report is not None and step.report.exists():
        read_report(step.report, outcome)


def read_report(report: Path, outcome: Outcome) -> None:
    """Count what pytest or Node wrote down. The file is our own, so its XML is trusted."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # written by our own tests
        skip = case.find("skipped")
        if skip is not None:
            outcome.counts["skipped"] += 1
            outcome.skipped[skip.get("message") or "no reason given"] += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.counts["failed"] += 1
        else:
            outcome.counts["passed"] += 1


def tell(outcome: Outcome) -> None:
    """Say what was skipped, what would make it run, and how everything ended; last, the counts."""
    print("\n== result")
    for name, reason in outcome.skipped_steps.items():
        print(f"skipped step {name}: {reason}")
    for reason, count in sorted(outcome.skipped.items()):
        print(f"skipped {count}: {reason}")
    for program, package in missing_programs().items():
        print(f"missing {program}: apt-get install {package} makes the tests run that need it")
    if outcome.failed_steps:
        print(f"FAILED steps: {', '.join(outcome.failed_steps)}")
    counts = outcome.counts
    if counts:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


def main(names: Sequence[str]) -> int:
    """Run the steps of these names, or all of them; 0 if every one succeeded."""
    os.chdir(ROOT)
    steps = all_steps()
    unknown = set(names) - {step.name for step in steps}
    if unknown:
        known = ", ".join(step.name for step in steps)
        print(f"no such step: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    install_missing_programs()
    REPORTS.mkdir(exist_ok=True)
    outcome = Outcome()
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    for step in steps:
        if step.name in (names or {each.name for each in steps} - ON_REQUEST):
            run(step, outcome, environment)
    tell(outcome)
    return 1 if outcome.failed_steps else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
