"""Writes Grafana's dashboards from code: ``dashboards.py`` makes the files, ``--check`` compares them.

Change a panel here, run this, commit both. It needs the development packages (``make setup``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)

import camera
import fleet
import supervision
from panels import SOURCE

FOLDER = Path(__file__).parent / "dashboards"
_TAG = "streamwarden"


def all_dashboards() -> Mapping[str, build.Dashboard]:
    """Return every dashboard by the name of its file."""
    of_camera = _dashboard("camera", "Streamwarden: one camera", camera.sections())
    return {
        "fleet.json": _dashboard("fleet", "Streamwarden: fleet", fleet.sections()),
        "camera.json": of_camera.with_variable(_camera()),
        "supervision.json": _dashboard(
            "supervision", "Streamwarden: supervision and process", supervision.sections()
        ),
    }


def _dashboard(name: str, title: str, sections: list[fleet.Section]) -> build.Dashboard:
    board = (
        build.Dashboard(title)
        .uid(f"streamwarden-{name}")
        .tags([_TAG])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for heading, panels in sections:
        board.with_row(build.Row(heading))
        for panel in panels:
            board.with_panel(panel)
    return board


def _others() -> build.DashboardLink:
    link = build.DashboardLink("Streamwarden").type(DashboardLinkType.DASHBOARDS)
    return link.tags([_TAG]).as_dropdown(True).keep_time(True)


def _camera() -> build.QueryVariable:
    return (
        build.QueryVariable("camera")
        .label("Camera")
        .datasource(SOURCE)
        .query("label_values(streamwarden_recorder_state, camera)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def texts() -> dict[str, str]:
    """Return what each file should hold."""
    return {name: _text(board) for name, board in all_dashboards().items()}


def _text(board: build.Dashboard) -> str:
    plain = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    for number, panel in enumerate(plain["panels"], 1):
        panel["id"] = number
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files, or say which of them are not what the code says."""
    wanted = texts()
    if arguments != ["--check"]:
        for name, text in wanted.items():
            (FOLDER / name).write_text(text, encoding="utf-8")
        return 0
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = sorted(name for name in wanted | there if wanted.get(name) != there.get(name))
    for name in stale:
        print(f"{name} is not what dashboards.py makes: run it again", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
