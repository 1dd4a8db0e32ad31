"""`make test`: lint, types and every test that this machine can run, then what was skipped and why.

Names of steps as arguments run only those: ``scripts/check.py lint unit``; ``daily`` is ``make check``.
Two steps run at a time: most tests wait, and what each step says is shown when it ends.
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
from concurrent.futures import ThreadPoolExecutor
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

DAILY = ("lint", "format", "imports", "types", "javascript", "unit")
"""`make check`: what starts no program of ours."""

AT_A_TIME = 2

STARTS_PROGRAMS = frozenset({"integration", "acceptance", "browser"})
"""Steps whose tests run whole programs side by side. A few of them that fail are run again, alone: a
machine that is busy with others can be too slow for one. What fails twice has failed, and what passes
alone is named at the end, to be mended."""

AGAIN_AT_MOST = 3
"""More failed tests than this in one step are no matter of a busy machine."""

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
    unsteady: list[str] = field(default_factory=list)
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
    """Everything, in the order of beginning: after what is quick, the longest, beside all others.

    What starts programs mostly waits: several files at a time.
    """
    by_file = ("--dist", "loadfile", "--no-loadscope-reorder")  # in the order of tests/conftest.py
    steps = [
        Step("lint", tool("ruff", "check", ".")),
        Step("format", tool("ruff", "format", "--check", ".")),
        Step("imports", tool("lint-imports", "--no-logo")),
        javascript(),
        tests("acceptance", ["acceptance"], "-n", "3", *by_file),
        tests("unit", ["unit", "contract"], "-n", str(max(2, len(os.sched_getaffinity(0))))),
        Step("types", tool("mypy", "src/streamwarden", "tests", *programs())),
        tests("integration", ["integration"], "-n", "3", *by_file),
        tests("browser", ["browser"], "-n", "2", *by_file),
        attacks(),
        Step("pythons", ("scripts/try-pythons",)),
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


def the_environment() -> dict[str, str]:
    """Return our own with .venv first, and with bytecode kept in there.

    Without that, as where PYTHONDONTWRITEBYTECODE is set, each of the hundreds of programs that tests
    start compiles every module anew: a second of processor time.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return kept | {"PATH": path, "PYTHONPYCACHEPREFIX": str(ROOT / ".venv" / "pycache")}


def run_all(steps: Sequence[Step], environment: Mapping[str, str]) -> Outcome:
    """Run the steps, two at a time; one that is alone says what it has to say at once."""
    outcome = Outcome(skipped_steps={step.name: step.missing for step in steps if step.missing})
    steps = [step for step in steps if not step.missing]
    alone = len(steps) == 1
    with ThreadPoolExecutor(AT_A_TIME) as lanes:
        running = [lanes.submit(run, step, environment, alone=alone) for step in steps]
        try:
            for step, ended in zip(steps, running, strict=True):
                if ended.result() != 0:
                    outcome.failed_steps.append(step.name)
        except KeyboardInterrupt:
            lanes.shutdown(wait=False, cancel_futures=True)
            raise
    for report in (step.report for step in steps if step.report is not None):
        if report.exists():
            read_report(report, outcome)
    for step in steps:
        if step.name in outcome.failed_steps and step.name in STARTS_PROGRAMS:
            run_again(step, environment, outcome)
    return outcome


def run_again(step: Step, environment: Mapping[str, str], outcome: Outcome) -> None:
    """Run a step's failed tests once more, one after the other and beside nothing else."""
    failed = failed_tests(step.report) if step.report is not None else []
    if not 0 < len(failed) <= AGAIN_AT_MOST:
        return
    report = REPORTS / f"{step.name}-again.xml"
    command = tool("python", "-m", "pytest", f"--junitxml={report}", *failed)
    again = Step(f"{step.name}, failed tests alone", command, report)
    if run(again, environment, alone=True) == 0:
        outcome.failed_steps.remove(step.name)
        outcome.unsteady += failed
        outcome.counts["failed"] -= len(failed)
        outcome.counts["passed"] += len(failed)


def failed_tests(report: Path) -> list[str]:
    """Return pytest's ids of the tests that failed; empty if the report is not there."""
    if not report.exists():
        return []
    cases = ET.parse(report).iter("testcase")  # noqa: S314  # written by our own tests
    failed = [
        case for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    return list(
        dict.fromkeys(test_id(case.get("classname", ""), case.get("name", "")) for case in failed)
    )


def test_id(class_name: str, name: str) -> str:
    """Return pytest's id of a test, from the dotted name of its module and class, and its own."""
    words = class_name.split(".")
    depth = next(
        (n for n in range(len(words), 0, -1) if Path(*words[:n]).with_suffix(".py").exists()),
        len(words),
    )
    file = Path(*words[:depth]).with_suffix(".py")
    return "::".join([str(file), *words[depth:], name])


def run(step: Step, environment: Mapping[str, str], *, alone: bool) -> int:
    """Run one step and return its exit code."""
    print(f"\n== {step.name}", end="\n" if alone else " begins\n", flush=True)
    began = time.monotonic()
    if step.report is not None:
        step.report.unlink(missing_ok=True)
    into = None if alone else subprocess.PIPE
    done = subprocess.run(
        step.command, env=environment, check=False, stdout=into, stderr=into and subprocess.STDOUT
    )
    said = (done.stdout or b"").decode(errors="replace")
    lasted_s = time.monotonic() - began
    print(f"{said}== {step.name}: {lasted_s:.0f} s, code {done.returncode}", flush=True)
    return done.returncode


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
    for name in outcome.unsteady:
        print(f"UNSTEADY: failed at first, passed when it ran again alone: {name}")
    if outcome.failed_steps:
        print(f"FAILED steps: {', '.join(outcome.failed_steps)}")
    counts = outcome.counts
    if counts:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


def main(names: Sequence[str]) -> int:
    """Run the steps of these names, or all of them; 0 if every one succeeded."""
    os.chdir(ROOT)
    steps = all_steps()
    names = DAILY if list(names) == ["daily"] else names
    unknown = set(names) - {step.name for step in steps}
    if unknown:
        known = ", ".join(step.name for step in steps)
        print(f"no such step: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    if not set(names or steps) <= set(DAILY):
        install_missing_programs()
    REPORTS.mkdir(exist_ok=True)
    wanted = set(names or {step.name for step in steps} - ON_REQUEST)
    outcome = run_all([step for step in steps if step.name in wanted], the_environment())
    tell(outcome)
    return 1 if outcome.failed_steps else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
