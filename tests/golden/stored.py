"""Compares a text with the file that is kept of it, or writes that file where it is asked to."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parent
HOW: Final = "If the change is meant: UPDATE_GOLDEN=1 .venv/bin/python -m pytest -k golden"
_MOST_LINES: Final = 60


def same_as_stored(name: str, made: str | bytes) -> None:
    """Fail unless the file ``name`` holds exactly what was made; UPDATE_GOLDEN=1 writes it instead."""
    content = made.encode() if isinstance(made, str) else made
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_bytes(content)
        return
    kept = path.read_bytes() if path.exists() else b""
    if kept != content:
        pytest.fail(
            f"tests/golden/{name} holds something else than is made now:\n"
            f"{_difference(kept, content)}\n{HOW}",
            pytrace=False,
        )


def _difference(kept: bytes, made: bytes) -> str:
    before, after = (text.decode(errors="backslashreplace").splitlines() for text in (kept, made))
    lines = list(difflib.unified_diff(before, after, "stored", "made", lineterm="", n=1))
    if not lines:
        return "(the same lines; their ends differ)"
    rest = len(lines) - _MOST_LINES
    return "\n".join(lines[:_MOST_LINES] + ([f"... {rest} more lines"] if rest > 0 else []))
