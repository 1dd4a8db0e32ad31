"""Checking and mending the recordings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from streamwarden.cli import check_tools, environment
from streamwarden.cli.output import print_json, print_note, print_table
from streamwarden.config.settings import Settings

_FINDING_COLUMNS = ("kind", "camera_id", "started_at", "ended_at", "path", "detail")


def verify(arguments: argparse.Namespace) -> int:
    """Print what is wrong with the recordings."""
    settings = environment.load_settings(arguments.config, os.environ)
    findings = check_tools.verify_recordings(settings, _look(settings, arguments))
    _print_findings(arguments, [finding.as_json() for finding in findings], _FINDING_COLUMNS)
    return 1 if findings else 0


def reconcile(arguments: argparse.Namespace) -> int:
    """Mend the recordings, and print what became of everything that was wrong."""
    settings = environment.load_settings(arguments.config, os.environ)
    mended = check_tools.reconcile_recordings(settings, _look(settings, arguments))
    rows = [{**one.finding.as_json(), "mended": one.how or None} for one in mended]
    _print_findings(arguments, rows, (*_FINDING_COLUMNS, "mended"))
    return 0 if all(one.how for one in mended) else 1


def _look(settings: Settings, arguments: argparse.Namespace) -> check_tools.Look:
    return check_tools.look_at(
        settings,
        camera_id=arguments.camera,
        from_=arguments.from_,
        to=arguments.to,
        digests=not arguments.quick,
        decoding=arguments.decode,
    )


def _print_findings(
    arguments: argparse.Namespace, rows: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> None:
    if arguments.json:
        print_json({"findings": rows})
    elif rows:
        print_table(rows, columns)
    else:
        print_note("nothing is wrong")
