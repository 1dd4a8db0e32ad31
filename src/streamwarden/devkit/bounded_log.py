"""A log file of bounded size: when it is full, it becomes ``<name>.1``, and a new one begins."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Self

_KEPT_LINES = 20


class BoundedLog:
    """Lines appended to a file of at most ``max_bytes``, with one older file of the same size.

    For one writing thread; ``tail`` may be read from any. A line longer than the bound is cut.
    """

    def __init__(self, path: Path, *, max_bytes: int = 1 << 20) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._file = path.open("ab", buffering=0)

    @property
    def tail(self) -> str:
        """The last lines, for error messages."""
        return "\n".join(self._tail.copy())

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends with a newline."""
        line = line[: self._max_bytes]
        if self._file.tell() + len(line) > self._max_bytes:
            self._rotate()
        self._file.write(line)
        self._tail.append(line.decode(errors="replace").rstrip())

    def close(self) -> None:
        """Close the file; nothing more may be written."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _rotate(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("ab", buffering=0)
