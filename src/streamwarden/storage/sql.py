"""Named queries: the SQL of a repository, read once from ``queries/<name>.sql``.

A file holds blocks that start with ``-- name: <name>``, as in aiosql and procrastinate. Queries are
bytes, which psycopg takes as trusted SQL; values only ever travel as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

_HEADING = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


def load_queries(name: str) -> Mapping[str, bytes]:
    """Return the queries of ``queries/<name>.sql`` by name."""
    file = resources.files(__package__) / "queries" / f"{name}.sql"
    return parse_queries(file.read_text(encoding="utf-8"))


def parse_queries(text: str) -> Mapping[str, bytes]:
    """Split ``text`` at its headings.

    Raises:
        ValueError: text before the first heading, a name used twice, or a query without SQL.
    """
    preamble, *blocks = _HEADING.split(text)
    if _without_comments(preamble):
        raise ValueError("SQL before the first '-- name:' heading")
    queries: dict[str, bytes] = {}
    for name, body in zip(blocks[::2], blocks[1::2], strict=True):
        if name in queries:
            raise ValueError(f"two queries are named {name}")
        if not (sql := _without_comments(body)):
            raise ValueError(f"the query {name} is empty")
        queries[name] = sql.encode()
    return MappingProxyType(queries)


def _without_comments(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip()
