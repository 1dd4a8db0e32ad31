"""Printing of commands: JSON for scripts, aligned columns for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence


def print_json(value: object) -> None:
    """Print ``value`` as one JSON document."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_line(text: str) -> None:
    """Print one line."""
    sys.stdout.write(f"{text}\n")


def print_note(text: str) -> None:
    """Print a line that is not the command's result, on standard error."""
    sys.stderr.write(f"streamwarden: {text}\n")


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Print ``columns`` of ``rows`` under their names, aligned; only the names if there are no rows."""
    table = [list(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        print_line("  ".join(map(str.ljust, line, widths)).rstrip())


def print_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool
) -> None:
    """Print a whole list: every field as JSON, ``columns`` for people."""
    if as_json:
        print_json({"items": rows})
    else:
        print_table(rows, columns)


def print_page(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    next_cursor: str | None,
    *,
    as_json: bool,
) -> None:
    """Print a page of a list, and the cursor of the next page; a row may lack a column."""
    if as_json:
        print_json({"items": rows, "next_cursor": next_cursor})
        return
    print_table([{**dict.fromkeys(columns), **row} for row in rows], columns)
    if next_cursor is not None:
        print_note(f"there is more: --cursor {next_cursor}")


def plain(text: str) -> str:
    """Return ``text`` with every control character replaced, so that it cannot drive a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _cell(value: object) -> str:
    if isinstance(value, list):  # as in a setting, with commas
        value = ",".join(map(str, value)) or None
    if isinstance(value, Mapping):
        return plain(json.dumps(value))
    return plain("-" if value is None else str(value))
