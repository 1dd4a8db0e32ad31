"""The architecture page, the glossary and other documents against the tree."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "src" / "streamwarden"
PAGE = ROOT / "docs" / "architecture.md"
GLOSSARY = ROOT / "docs" / "glossary.md"

OTHERS_CLASSES = frozenset({"Exit", "KeyboardInterrupt", "SystemExit"})
"""Classes of Python, pykka and OTP that the documents name."""

OLD_WORDS = (
    *("ground", "shelf", "board", "insides", "caretaker", "guard", "outage", "testimony"),
    *("holding", "passing", "intake", "sweep", "book", "keeper", "wish", "wishes"),
)

PLAIN_WORDS = frozenset(
    {
        *("access", "advice", "app", "arguments", "auth", "cache", "clips", "command", "commands"),
        *("completion", "config", "dialogue", "durable", "environment", "errors", "evidence"),
        *(
            "exit",
            "falcon",
            "hub",
            "jobs",
            "link",
            "listener",
            "listening",
            "loading",
            "log",
            "main",
        ),
        *("manager", "meter", "middleware", "migrate", "model", "models", "offline", "openapi"),
        *("operations", "output", "problems", "process", "proxy", "rate", "resources", "sampling"),
        *("secrets", "serve", "serving", "sink", "spawning", "timers", "tracks", "validation"),
        *("values", "video"),
    }
)
"""Words of module names that a developer knows without the glossary."""

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="needs the checkout, not an installed package"
)


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the product by its path below the package, without the ``__init__`` of packages."""
    return {
        str(path.relative_to(PRODUCT)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PRODUCT.rglob("*.py"))
        if path.name != "__init__.py"
    }


@cache
def classes() -> tuple[tuple[str, str, ast.ClassDef], ...]:
    """Every class with its name and its module."""
    return tuple(
        (node.name, module, node)
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def section(heading: str) -> str:
    return PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def table_rows(text: str) -> list[list[list[str]]]:
    """The rows of the tables in ``text``: for each cell the words in backticks."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:-1]] for line in lines]


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def layers() -> list[str]:
    (contract,) = [it for it in contracts() if it["type"] == "layers"]
    return list(contract["layers"])


def repeated(places: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {name: sorted(found) for name, found in places.items() if len(found) > 1}


def test_the_page_lists_every_module_and_no_other() -> None:
    listed = [row[0][0] for row in table_rows(section("Layout"))]
    assert sorted(listed) == sorted(modules())


def test_the_page_shows_the_stack_that_import_linter_keeps() -> None:
    block = re.search(r"\n```\n(.*?)```", section("Layout"), re.DOTALL)
    assert block is not None
    assert block[1].splitlines() == layers()


def test_the_page_gives_each_library_the_rooms_that_import_linter_gives_it() -> None:
    rooms = {name for layer in layers() for name in re.split(r" [|:] ", layer)}
    kept = {
        library: rooms - {it.removeprefix("streamwarden.") for it in contract["source_modules"]}
        for contract in contracts()
        if contract["type"] == "forbidden"
        for library in contract["forbidden_modules"]
    }
    shown = {library: set(row[1]) for row in table_rows(section("Imports")) for library in row[0]}
    assert shown == kept


def test_the_table_of_protocols_is_that_of_the_code() -> None:
    listed = [(row[0][0], row[1][0]) for row in table_rows(section("Protocols"))]
    in_code = [
        (name, module)
        for name, module, node in classes()
        if any(ast.unparse(base).split("[")[0] == "Protocol" for base in node.bases)
    ]
    assert sorted(listed) == sorted(in_code)


def test_names_that_stand_twice_are_those_of_the_table() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in modules():
        places[Path(module).stem].append(module)
    for name, module, _ in classes():
        places[name].append(module)
    listed = {row[0][0]: sorted(row[1]) for row in table_rows(section("Names that stand twice"))}
    listed.pop("__init__")  # every package has one
    assert listed == repeated(places)


def test_an_error_code_stands_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, module, node in classes():
        for it in node.body:
            if isinstance(it, ast.Assign | ast.AnnAssign) and isinstance(it.value, ast.Constant):
                target = it.targets[0] if isinstance(it, ast.Assign) else it.target
                if ast.unparse(target) == "code":
                    places[str(it.value.value)].append(f"{module}: {name}")
    assert len(places) > 40
    assert repeated(places) == {}


def test_every_word_of_a_module_name_is_in_the_glossary_or_plain_english() -> None:
    known = set(re.findall(r"[a-z0-9]+", GLOSSARY.read_text(encoding="utf-8").lower()))
    known |= {f"{word}{ending}" for word in known for ending in ("s", "es")} | PLAIN_WORDS
    unknown = [
        f"{module}: {word}"
        for module in modules()
        for word in Path(module).stem.strip("_").split("_")
        if word not in known
    ]
    assert unknown == []


def test_the_glossary_has_no_word_of_a_room_that_is_gone() -> None:
    text = GLOSSARY.read_text(encoding="utf-8").lower()
    assert [word for word in OLD_WORDS if re.search(rf"\b{word}s?\b", text)] == []


def prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize(
    "page",
    [pytest.param(path, id=path.name) for path in sorted((ROOT / "docs").rglob("*.md"))],
)
def test_a_document_names_classes_and_files_that_exist(page: Path) -> None:
    quoted = set(re.findall(r"`([^`\n]+)`", prose(page)))
    known = {name for name, _, _ in classes()} | OTHERS_CLASSES
    camel = {it for it in quoted if re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", it)}
    files = {it for it in quoted if re.fullmatch(r"\w[\w/]*\.(?:py|js|sql)", it)}
    assert sorted(camel - known) + sorted(it for it in files if not is_file(it)) == []


def is_file(name: str) -> bool:
    """Return whether a file has this path; a bare name follows the folder that its sentence names."""
    folders = (PRODUCT, PRODUCT / "web" / "js", ROOT, ROOT / "tests")
    bare = "/" not in name and any(Path(module).name == name for module in modules())
    return bare or any((folder / name).exists() for folder in folders)


def test_the_architecture_page_names_modules_that_exist() -> None:
    rooms = {module.split("/")[0] for module in modules() if "/" in module}
    quoted = re.findall(r"`(\w+)\.(\w+)(?:\.\w+)?`", prose(PAGE))
    named = {f"{room}/{name}.py" for room, name in quoted if room in rooms}
    assert sorted(named - set(modules())) == []
