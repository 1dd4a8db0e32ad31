"""Grafana's dashboards as they are committed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
GRAFANA = ROOT / "deploy" / "grafana"
PROMETHEUS = ROOT / "deploy" / "prometheus"

_NAME = re.compile(r"\b(?:streamwarden_\w+|streamwarden:[\w:]+|process_\w+|ALERTS|up)\b")
_TEXT = re.compile(r'"[^"]*"')
_BY = re.compile(r"\b(?:by|on)\s*\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str
    legend: str

    @property
    def metrics(self) -> set[str]:
        """The names of the series that it asks for."""
        return set(_NAME.findall(_BY.sub("", _TEXT.sub("", self.expr))))


def dashboards() -> Mapping[str, Any]:
    """Return each dashboard by the name of its file."""
    files = sorted((GRAFANA / "dashboards").glob("*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def panels() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each panel that shows figures, with its dashboard's name."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield name, panel


def queries() -> Iterator[Asked]:
    """Yield every query of every panel."""
    for name, panel in panels():
        for target in panel["targets"]:
            yield Asked(name, panel["title"], target["expr"], target.get("legendFormat", ""))
