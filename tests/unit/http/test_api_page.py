"""``docs/api.md`` against the program: every call that it names, every code, and none left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamwarden.http.problems import Problem
from tests.unit.http.conftest import ApiHarness

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
PREFIX = "/api/v1"
SOURCE = Path(__file__).parents[3] / "src" / "streamwarden"
NOT_OF_THE_API = {
    *("config_error", "migration_refused", "port_in_use", "rows_refused", "read_token_refused"),
    *(
        "record_root_in_use",
        "record_root_not_known",
        "root_not_adopted",
        "token_unavailable",
        "api_timeout",
        "foreign_caller",
        "api_unreachable",
        "not_wanted",
        "media_path_refused",
        "source_secret_unreadable",
        "camera_not_described",
        "key_unusable",
        "sealing_failed",
        "not_provable",
    ),
}
"""Of starting up, of the internal routes, of the page's role, of tools, of what runs beside the routes."""

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="needs the checkout, not an installed package"
)


def table(heading: str) -> list[list[str]]:
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_it_lists_every_call_of_the_api_and_no_other(harness: ApiHarness) -> None:
    listed = {row[0].strip("`") for row in table("Every call")}
    served = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, item in harness.api.document["paths"].items()
        if path.startswith(PREFIX)
        for method in item
        if method in {"get", "post", "put", "patch", "delete"}
    }
    assert listed == served


def test_it_explains_every_code_that_the_api_gives() -> None:
    explained = {code for row in table("Errors") for code in re.findall(r"`(\w+)`", row[1])}
    given = set()
    for path in SOURCE.rglob("*.py"):
        if "tests" not in path.parts and "devkit" not in path.parts:
            text = path.read_text(encoding="utf-8")
            given |= set(re.findall(r'^\s+code = "([a-z_]+)"', text, re.MULTILINE))
    assert given - NOT_OF_THE_API <= explained


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 408, 409, 413, 415, 416, 429, 431, 500, 503]
)
def test_it_explains_what_a_status_alone_is_answered_with(status: int) -> None:
    rows = [row for row in table("Errors") if str(status) in row[0].split(", ")]
    assert f"`{Problem.of_status(status).code}`" in " ".join(row[1] for row in rows)


def test_the_parameters_that_it_names_are_those_of_the_document(harness: ApiHarness) -> None:
    for call, does, _ in table("Every call"):
        method, path = call.strip("`").split(" ", 1)
        operation = harness.api.document["paths"][PREFIX + path][method.lower()]
        known = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        named = re.search(r"\((`[^)]*)\)", does)
        if method == "GET" and named:
            assert set(re.findall(r"`(\w+)`", named[1])) <= known, call
