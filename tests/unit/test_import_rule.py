from __future__ import annotations

from pathlib import Path

import pytest

import streamwarden
from tests.unit.import_rule import FIRST_PARTY, OWNERS, violations

SOURCES = Path(streamwarden.__file__).parent


def planted(folder: Path, module: str, source: str) -> list[str]:
    """Write a small package in which one module holds ``source``; return what is found in it."""
    for part in FIRST_PARTY:
        (folder / part).mkdir()
        (folder / part / "__init__.py").touch()
    path = folder / module
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(source, encoding="utf-8")
    return [violation.target for violation in violations(folder)]


def test_every_import_of_the_program_follows_the_rule() -> None:
    assert [str(violation) for violation in violations(SOURCES)] == []


def test_every_part_of_the_program_is_in_the_table() -> None:
    found = {path.relative_to(SOURCES).parts[0] for path in SOURCES.rglob("*.py")}
    assert {name.removesuffix(".py") for name in found} - {"tests"} <= set(FIRST_PARTY)


def test_only_the_command_line_imports_the_devkit() -> None:
    assert {part for part, allowed in FIRST_PARTY.items() if "devkit" in allowed} == {
        "cli",
        "commands",
    }


def test_no_part_outside_the_composition_imports_a_composing_one() -> None:
    composing = {"app", "tools", "cli", "commands"}
    users = {part for part, allowed in FIRST_PARTY.items() if allowed & composing}
    assert users == {*composing, "__main__"}


@pytest.mark.parametrize(
    ("module", "source", "target"),
    [
        ("storage/pool.py", "import streamwarden.auth", "streamwarden.auth"),
        ("storage/pool.py", "from streamwarden.media import runs", "streamwarden.media.runs"),
        ("storage/pool.py", "from streamwarden import auth", "streamwarden.auth"),
        ("storage/pool.py", "from .. import auth", "streamwarden.auth"),
        ("storage/a/b.py", "from ...auth.users import User", "streamwarden.auth.users.User"),
        ("actors/x.py", "from streamwarden.storage.rows import Gap", "streamwarden.storage.rows.Gap"),
        ("actors/x.py", "from streamwarden.http import app", "streamwarden.http.app"),
        ("http/x.py", "from streamwarden.actors import recorder", "streamwarden.actors.recorder"),
        ("http/x.py", "import streamwarden.actors", "streamwarden.actors"),
        ("http/x.py", "from streamwarden.storage import pool", "streamwarden.storage.pool"),
        ("app/x.py", "from streamwarden.devkit import demo", "streamwarden.devkit.demo"),
        ("tools/x.py", "from streamwarden.cli import main", "streamwarden.cli.main"),
        ("supervision/x.py", "from streamwarden.actors import messages", "streamwarden.actors.messages"),
        ("logs/x.py", "from streamwarden.errors import ConfigError", "streamwarden.errors.ConfigError"),
        ("unknown/x.py", "from streamwarden.errors import NotFound", "streamwarden.errors.NotFound"),
        ("actors/x.py", "import subprocess", "subprocess"),
        ("actors/x.py", "import os\nos.posix_spawn('/bin/true', [], {})", "os.posix_spawn"),
        ("storage/x.py", "from os import fork", "os.fork"),
        ("media/x.py", "import multiprocessing.pool", "multiprocessing.pool"),
        ("media/x.py", "import pykka", "pykka"),
        ("http/x.py", "from pykka import ThreadingActor", "pykka.ThreadingActor"),
        ("actors/x.py", "import falcon.testing", "falcon.testing"),
        ("clients/x.py", "import waitress", "waitress"),
        ("http/x.py", "from psycopg.rows import dict_row", "psycopg.rows.dict_row"),
        ("http/x.py", "import psycopg_pool", "psycopg_pool"),
        ("devkit/x.py", "import urllib3", "urllib3"),
        ("http/x.py", "import jwt", "jwt"),
        ("actors/x.py", "from prometheus_client import Counter", "prometheus_client.Counter"),
        ("media/x.py", "import requests", "requests"),
        ("media/x.py", "def late():\n    import falcon", "falcon"),
        ("media/x.py", "if TYPE_CHECKING:\n    import falcon", "falcon"),
        ("media/x.py", "try:\n    import jwt\nexcept ImportError:\n    jwt = None", "jwt"),
        ("media/x.py", "import importlib\nimportlib.import_module('pykka')", "pykka"),
        ("media/x.py", "from importlib import import_module as m\n__import__('jwt')", "jwt"),
        ("media/x.py", "import importlib\nimportlib.import_module(name)", "a computed name"),
        ("media/x.py", "import importlib\nimportlib.import_module(f'a{name}')", "a computed name"),
        ("media/x.py", "import importlib\nimportlib.import_module(f'jwt.{name}')", "jwt"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_found(
    tmp_path: Path, module: str, source: str, target: str
) -> None:
    assert planted(tmp_path, module, source) == [target]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage/pool.py", "import psycopg\nfrom streamwarden.storage.rows import Gap"),
        ("storage/pool.py", "from . import rows\nfrom .rows import Gap\nfrom ..errors import NotFound"),
        ("storage/pool.py", "from streamwarden import VERSION\nimport streamwarden"),
        ("http/x.py", "from http import HTTPStatus\nimport falcon\nfrom streamwarden.auth import urls"),
        ("http/x.py", "from streamwarden.actors.messages import StartStream"),
        ("actors/x.py", "import os\nimport pykka\nfrom streamwarden.supervision import Supervisor"),
        ("media/x.py", "import subprocess\nimport os\nos.posix_spawn(a, b, c)"),
        ("app/x.py", "from streamwarden.http import server\nfrom streamwarden.storage import pool"),
        ("cli/x.py", "from streamwarden.devkit import demo\nfrom streamwarden import tools"),
        ("tests/unit/x.py", "import jwt\nimport subprocess\nfrom streamwarden.cli import main"),
        ("actors/x.py", "import os\nos.replace(a, b)"),
        ("media/x.py", "from importlib import resources\nresources.files('x')"),
    ],
)  # fmt: skip
def test_what_the_rule_allows_is_not_found(tmp_path: Path, module: str, source: str) -> None:
    assert planted(tmp_path, module, source) == []


def test_a_violation_says_where_and_what(tmp_path: Path) -> None:
    planted(tmp_path, "media/x.py", "\nimport jwt\n")
    assert [str(each) for each in violations(tmp_path)] == [
        "streamwarden/media/x.py:2: media may not use jwt"
    ]


def test_each_owner_is_a_part() -> None:
    assert {part for parts in OWNERS.values() for part in parts} <= set(FIRST_PARTY)
