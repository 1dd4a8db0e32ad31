"""The threat model names its tests; a name that leads nowhere would be a defence that nobody shows."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "design" / "0010-threat-model.md"
NAMED = re.compile(r"`((?:unit|contract|integration|acceptance|browser)/[\w/]+\.py)::(test_\w+)`")

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout")


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def rows() -> Iterator[str]:
    """The table rows of the section on defences, without heads and rules."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Defences")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| threat |"):
            yield line


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > 50
    assert [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)] == []


def test_every_defence_names_a_test() -> None:
    assert [row for row in rows() if not NAMED.search(row.split("|")[3])] == []


def test_the_step_of_the_attacks_runs_what_the_threat_model_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.chdir(ROOT)
    check = __import__("check")
    try:
        step = next(step for step in check.all_steps() if step.name == "attacks")
    finally:
        del sys.modules["check"]
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    wanted = {f"tests/{file}::{name}" for file, name in named}
    assert wanted <= set(step.command)
    assert "attacks" in check.ON_REQUEST
