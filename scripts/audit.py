"""`make audit`: the known holes of every pinned part, from the database of osv.dev or a copy of it.

Packages are those of the lock files; images, MediaMTX and the page's files of others are named below,
and a test compares them with the tree. Without the network, name a folder that holds osv.dev's exports
(``PyPI.zip``, ``npm.zip``, ``Go.zip``, ``Bitnami.zip``): ``make audit ARGS="--data DIR"``.

It ends with 0 if nothing is known, 1 if something is, 3 if it could not look.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import urllib3
from packaging.version import InvalidVersion, Version

ROOT: Final = Path(__file__).resolve().parent.parent
SERVICE: Final = "https://api.osv.dev/v1/query"
ANSWER_WITHIN_S: Final = 20.0
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of one record, or of one answer."""

ECOSYSTEMS: Final = ("PyPI", "npm", "Go", "Bitnami")

VENDORED: Final = {
    # file in src/streamwarden/web/vendor: package and version
    "hls.light.min.mjs": ("hls.js", "1.7.4"),
    "uPlot.iife.min.js": ("uplot", "1.6.32"),
    "swagger-ui-bundle.js": ("swagger-ui-dist", "5.35.0"),
}

IMAGES: Final = {
    # image of deploy/: names in the database; a Go program is there by its module too
    "bluenviron/mediamtx": (("Go", "github.com/bluenviron/mediamtx"),),
    "grafana/grafana": (("Bitnami", "grafana"), ("Go", "github.com/grafana/grafana")),
    "prom/prometheus": (("Bitnami", "prometheus"), ("Go", "github.com/prometheus/prometheus")),
    "prom/alertmanager": (
        ("Bitnami", "alertmanager"),
        ("Go", "github.com/prometheus/alertmanager"),
    ),
    "nginx": (("Bitnami", "nginx"),),
    "postgres": (("Bitnami", "postgresql"),),
    "python": (("Bitnami", "python"),),
}

BY_HAND: Final = {
    "FFmpeg (of imageio-ffmpeg, and Debian's)": "https://ffmpeg.org/security.html",
    "the base systems of the images": "docker scout cves, or trivy image, for each digest",
}

ACCEPTED: Mapping[str, str] = {}
"""Known holes that do not count here, by id, with the reason."""


class CannotLookUp(Exception):
    """There is no database to ask."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """A pinned part: what the database calls it, its version, and where it is pinned."""

    ecosystem: str
    name: str
    version: str
    pinned_in: str


@dataclass(frozen=True, slots=True)
class Hole:
    """A known hole of a part."""

    part: Part
    id: str
    summary: str


def parts(root: Path = ROOT) -> list[Part]:
    """Return every pinned part of the tree."""
    found = set[Part]()
    seen = set[str]()
    for lock in ("requirements.lock", "requirements-demo.lock", "requirements-dev.lock"):
        for name, version in re.findall(
            r"^([\w.-]+)(?:\[[^]]*])?==([^\s;]+)", (root / lock).read_text("utf-8"), re.MULTILINE
        ):
            if name not in seen:
                seen.add(name)
                found.add(Part("PyPI", name, version, lock))
    found |= {Part("npm", name, version, file) for file, (name, version) in VENDORED.items()}
    for file in ("deploy/compose.yaml", "deploy/Dockerfile"):
        text = (root / file).read_text("utf-8")
        for image, version in re.findall(
            r"^(?:FROM|\s+image:) ([\w/.-]+):v?([\d.]*\d)[\w.-]*@sha256:", text, re.MULTILINE
        ):
            found |= {Part(system, name, version, file) for system, name in IMAGES[image]}
    return sorted(found)


def asked(part: Part) -> list[dict[str, Any]]:
    """Ask osv.dev about a part; return its records."""
    package = {"name": part.name, "ecosystem": part.ecosystem}
    try:
        answer = urllib3.request(
            "POST",
            SERVICE,
            json={"package": package, "version": part.version},
            timeout=ANSWER_WITHIN_S,
            retries=False,
            preload_content=False,
        )
        body = answer.read(MOST_BYTES)
        answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise CannotLookUp(f"{SERVICE} cannot be asked ({type(error).__name__})") from error
    if answer.status != HTTPStatus.OK:
        raise CannotLookUp(f"{SERVICE} answered {answer.status}")
    records: list[dict[str, Any]] = json.loads(body).get("vulns", [])
    return records


class Export:
    """A folder of osv.dev's exports: one archive for each ecosystem, one JSON file for each record."""

    def __init__(self, folder: Path, wanted: Iterable[Part]) -> None:
        names = {(part.ecosystem, part.name.lower()) for part in wanted}
        self._records: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for ecosystem in sorted({part.ecosystem for part in wanted}):
            path = folder / f"{ecosystem}.zip"
            if not path.is_file():
                raise CannotLookUp(f"{path} is not there")
            for record in _records_of(path):
                for affected in record.get("affected", []):
                    name = str(affected.get("package", {}).get("name", "")).lower()
                    if (ecosystem, name) in names:
                        self._records.setdefault((ecosystem, name), []).append(record)

    def asked(self, part: Part) -> list[dict[str, Any]]:
        """Return the records that a part's version is affected by."""
        records = self._records.get((part.ecosystem, part.name.lower()), [])
        return [record for record in records if is_affected(part, record)]


def _records_of(path: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".json") and info.file_size <= MOST_BYTES:
                yield json.loads(archive.read(info))


def is_affected(part: Part, record: Mapping[str, Any]) -> bool:
    """Whether a record says that this version is affected, by its list of versions or its ranges.

    What cannot be compared counts as affected: somebody has to look.
    """
    for affected in record.get("affected", []):
        if str(affected.get("package", {}).get("name", "")).lower() != part.name.lower():
            continue
        if part.version in affected.get("versions", []):
            return True
        for each in affected.get("ranges", []):
            if each.get("type") != "GIT" and _in_range(part.version, each.get("events", [])):
                return True
    return False


def _in_range(version: str, events: Sequence[Mapping[str, str]]) -> bool:
    try:
        own = Version(version)
        inside = False
        for event in sorted(events, key=lambda one: _number(next(iter(one.values())))):
            ((kind, text),) = event.items()
            at = _number(text)
            if kind == "introduced":
                inside = inside or own >= at
            elif (kind == "fixed" and own >= at) or (kind == "last_affected" and own > at):
                inside = False
    except (InvalidVersion, ValueError):
        return True
    return inside


def _number(text: str) -> Version:
    return Version("0") if text == "0" else Version(text.removesuffix("+incompatible"))


def holes(found: Iterable[Part], data: Path | None) -> list[Hole]:
    """Look every part up, in ``data`` or at osv.dev; leave out what is accepted.

    Raises:
        CannotLookUp: there is nothing to ask.
    """
    listed = list(found)
    ask = asked if data is None else Export(data, listed).asked
    known = []
    for part in listed:
        known += [
            Hole(part, record["id"], str(record.get("summary", ""))[:100])
            for record in ask(part)
            if record["id"] not in ACCEPTED and not record.get("withdrawn")
        ]
    return known


def main(argv: Sequence[str] | None = None) -> int:
    """Look up and print."""
    parser = argparse.ArgumentParser(prog="make audit", description="known holes of pinned parts")
    parser.add_argument("--data", type=Path, help="a folder of osv.dev's exports")
    arguments = parser.parse_args(argv)
    pinned = parts()
    for part in pinned:
        print(f"{part.ecosystem:8} {part.name:42} {part.version:12} {part.pinned_in}")
    for name, where in BY_HAND.items():
        print(f"by hand  {name}: {where}")
    try:
        known = holes(pinned, arguments.data)
    except CannotLookUp as error:
        print(f"audit: not looked up: {error}; name a copy with --data", file=sys.stderr)
        return 3
    for hole in known:
        print(f"HOLE     {hole.part.name} {hole.part.version}: {hole.id} {hole.summary}")
    print(f"{len(pinned)} parts looked up, {len(known)} known holes")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
