"""The page's words and modules, held against each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import streamwarden
from streamwarden.model import Cause

WEB = Path(streamwarden.__file__).parent / "web"
MODULES = sorted((WEB / "js").rglob("*.js"))
_KEY = re.compile(r'^  "?([\w.]+)"?: "((?:[^"\\]|\\.)*)",$', flags=re.MULTILINE)


def words(language: str) -> dict[str, str]:
    return dict(_KEY.findall((WEB / "js" / "locale" / f"{language}.js").read_text("utf-8")))


def test_both_languages_have_words_for_the_same() -> None:
    assert words("en").keys() == words("zh-TW").keys()


def test_both_languages_leave_the_same_holes() -> None:
    english, chinese = words("en"), words("zh-TW")
    differing = [
        key
        for key, text in english.items()
        if set(re.findall(r"{\w+}", text)) != set(re.findall(r"{\w+}", chinese[key]))
    ]
    assert differing == []


def test_every_cause_has_words() -> None:
    assert {f"cause.{cause}" for cause in Cause} <= words("en").keys()


def test_every_word_that_is_asked_for_is_there() -> None:
    asked = {
        key
        for module in MODULES
        for key in re.findall(r'(?<![\w.])t\("([\w.]+)"', module.read_text("utf-8"))
    }
    assert asked - words("en").keys() == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(WEB)))
def test_no_module_writes_markup_or_runs_text(module: Path) -> None:
    """What comes from elsewhere is text: a camera's name can hold anything."""
    text = module.read_text("utf-8")
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML"
    assert re.findall(banned, text) == []


def modules_at_start() -> set[str]:
    """What main.js imports, and what that imports: all that has to be there before the page runs."""
    found: set[Path] = set()
    left = [WEB / "js" / "main.js"]
    while left:
        module = left.pop()
        names = re.findall(
            r'^import [^;]*?from "(\.[^"]+)";', module.read_text("utf-8"), re.MULTILINE
        )
        imported = {(module.parent / name).resolve() for name in names}
        left += imported - found
        found |= imported
    return {str(path.relative_to(WEB.resolve())) for path in found}


def test_the_page_preloads_what_it_imports_at_its_start() -> None:
    """A module that is not named there is asked for only once its importer has come."""
    page = (WEB / "index.html").read_text("utf-8")
    assert set(re.findall(r'"modulepreload" href="assets/-/([^"]+)"', page)) == modules_at_start()


def test_the_page_names_files_that_are_there() -> None:
    named = re.findall(r'"assets/-/([^"]+)"', (WEB / "index.html").read_text("utf-8"))
    assert named
    assert [name for name in named if not (WEB / name).is_file()] == []


def test_no_module_is_longer_than_can_be_read() -> None:
    long = {
        str(path.relative_to(WEB)): lines
        for path in MODULES
        if "locale" not in path.parts and (lines := path.read_text("utf-8").count("\n")) > 300
    }
    assert long == {}
