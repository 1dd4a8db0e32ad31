"""`make bench`: runs benchmarks/*.py one after the other and shows their ratios in one table.

A benchmark is a program of its own. It prints what it likes, and one line for each figure that has a
bound:

    RATIO {"name": "hook p99 over an empty endpoint", "value": 3.1, "unit": "ms", "at_most": 10}

with ``at_most`` or ``at_least``. Words as arguments run only the benchmarks whose file names hold one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = "RATIO "


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One measured figure and the bound that it must keep."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bound."""
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)

    def row(self) -> tuple[str, str, str, str]:
        """The figure as a row of the table."""
        bounds = (("<=", self.at_most), (">=", self.at_least))
        bound = " ".join(f"{sign} {limit:g}" for sign, limit in bounds if limit is not None)
        verdict = "ok" if self.holds else "MISSED"
        return self.name, f"{self.value:.3g} {self.unit}".strip(), bound, verdict


def benchmarks(wanted: Sequence[str]) -> list[Path]:
    """The benchmarks to run; a leading underscore marks what they share."""
    found = sorted(path for path in Path("benchmarks").glob("*.py") if path.name[0] != "_")
    return [path for path in found if not wanted or any(word in path.stem for word in wanted)]


def measure(path: Path) -> Iterator[Ratio]:
    """Run one benchmark, show what it prints, and yield its ratios.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-u", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith(MARK):
                yield Ratio(**json.loads(line.removeprefix(MARK)))
            else:
                print(line, end="", flush=True)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """The rows in aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def main(wanted: Sequence[str]) -> int:
    """Run the benchmarks; 0 if all ran and every bound holds."""
    os.chdir(ROOT)
    ratios: list[Ratio] = []
    failed: list[str] = []
    chosen = benchmarks(wanted)
    if not chosen:
        print("no such benchmark" if wanted else "no benchmarks", file=sys.stderr)
        return 2
    for path in chosen:
        print(f"\n== {path.stem}", flush=True)
        try:
            ratios.extend(measure(path))
        except subprocess.CalledProcessError as error:
            failed.append(f"{path.stem} (exit code {error.returncode})")
    print("\n== ratios")
    print(table([("figure", "measured", "bound", ""), *(ratio.row() for ratio in ratios)]))
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed or not all(ratio.holds for ratio in ratios) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
