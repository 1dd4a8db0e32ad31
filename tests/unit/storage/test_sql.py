"""Named queries: how files are read, and that no query is left over or missing."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from streamwarden import storage
from streamwarden.storage.pool import load_queries, parse_queries

FOLDER = Path(str(resources.files(storage)))
NAMES = sorted(path.stem for path in (FOLDER / "queries").glob("*.sql"))


SOURCES = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.py"))]


def chosen(source: str) -> set[str]:
    """Return the queries that a module names as a value, for a file that it does not name there."""
    pairs = re.findall(r'(?:query = |_write\()"(\w+)"(?: if .* else "(\w+)")?', source)
    return {query for pair in pairs for query in pair if query}


def used(name: str) -> set[str]:
    """Return the queries of one file that some module of ``storage`` mentions by name."""
    found: set[str] = set()
    for source in SOURCES:
        for variable in re.findall(rf'(\w+) = load_queries\("{name}"\)', source):
            found |= {*re.findall(rf'\b{variable}\["(\w+)"\]', source)}
            found |= chosen(source) & set(load_queries(name))
    return found


def test_every_query_that_is_named_as_a_value_stands_in_a_file_of_its_module() -> None:
    for source in SOURCES:
        files = re.findall(r'load_queries\("(\w+)"\)', source)
        assert chosen(source) <= {query for file in files for query in load_queries(file)}


def test_there_are_queries() -> None:
    assert "segment" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_query_of_a_file_is_used_and_every_used_one_is_there(name: str) -> None:
    assert set(load_queries(name)) == used(name)


def test_no_sql_is_written_in_python() -> None:
    for path in FOLDER.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r'"(select|insert|update|delete|create|set) ', source), path.name


def test_a_file_is_split_at_its_headings_and_comments_are_dropped() -> None:
    queries = parse_queries(
        "-- about it\n-- name: one\nselect 1\n\n-- why\n-- name: two\nselect\n2\n"
    )

    assert queries == {"one": b"select 1", "two": b"select\n2"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("select 1\n-- name: one\nselect 1", "before the first"),
        ("-- name: one\nselect 1\n-- name: one\nselect 2", "two queries are named one"),
        ("-- name: one\n-- nothing\n", "the query one is empty"),
    ],
)
def test_a_file_that_would_be_misread_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_queries(text)
