from __future__ import annotations

import subprocess
import sys

import pytest

from streamwarden import __version__
from streamwarden.cli.main import build_parser, main

CAMERA = "01234567-89ab-cdef-0123-456789abcdef"

EVERY_COMMAND = [
    ["serve"],
    ["serve", "--role", "streaming"],
    ["demo", "--cameras", "3", "--camera", "rtsp://h/1", "--segment-seconds", "2"],
    ["migrate"],
    ["check-config"],
    ["token", "user", "--sub", "alice", "--role", "admin", "--ttl", "60"],
    ["token", "read", "--camera", CAMERA],
    ["token", "publish", "--path", "a/b"],
    ["camera", "add", "--owner", "alice", "--name", "Door"],
    ["camera", "list"],
    ["camera", "set", CAMERA, "--status", "inactive"],
    ["camera", "remove", CAMERA],
    ["recordings", "list", "--camera", CAMERA, "--from", "2026-01-31T08:00"],
    ["grant", "add", "--camera", CAMERA, "--user", "bob", "--action", "view"],
    ["grant", "list", "--camera", CAMERA],
    ["grant", "remove", "--camera", CAMERA, "--user", "bob"],
    ["user", "block", "bob", "--note", "left"],
    ["user", "unblock", "bob"],
    ["user", "list"],
    ["audit", "list", "--camera", CAMERA, "--user", "bob", "--from", "2026-01-31"],
]

WRONG_USAGE = [
    [],
    ["fly"],
    ["serve", "--role", "cook"],
    ["demo", "--cameras", "0"],
    ["demo", "--segment-seconds", "ten"],
    ["demo", "--port-base", "70000"],
    ["token"],
    ["token", "user"],
    ["token", "read"],
    ["token", "read", "--camera", CAMERA, "--path", "p"],
    ["token", "user", "--sub", "alice", "--ttl", "0"],
    ["token", "user", "--sub", "alice", "--ttl", "-5"],
    ["camera", "add", "--owner", "alice"],
    ["camera", "set", "not-a-uuid"],
    ["camera", "set", CAMERA, "--status", "broken"],
    ["recordings", "list", "--camera", CAMERA, "--from", "yesterday"],
    ["recordings", "list", "--camera", CAMERA, "--limit", "1001"],
    ["grant", "add", "--camera", CAMERA, "--user", "bob"],
    ["grant", "add", "--camera", CAMERA, "--user", "bob", "--action", "burn"],
    ["user", "block"],
    ["audit", "list", "--limit", "0"],
]


@pytest.mark.parametrize("argv", EVERY_COMMAND, ids=" ".join)
def test_every_command_of_the_contract_is_understood(argv: list[str]) -> None:
    assert callable(build_parser().parse_args(argv).run)


@pytest.mark.parametrize("argv", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("argv", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_help(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in argv[:2] if not word.startswith("-")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: streamwarden" in capsys.readouterr().out


def test_json_and_config_may_stand_before_and_after_the_command() -> None:
    before = build_parser().parse_args(["--json", "--config", "f.toml", "camera", "list"])
    after = build_parser().parse_args(["camera", "list", "--json", "--config", "f.toml"])
    assert (before.json, before.config) == (after.json, after.config)
    assert before.json is True


def test_json_is_off_and_config_unset_unless_asked_for() -> None:
    arguments = build_parser().parse_args(["camera", "list"])
    assert (arguments.json, arguments.config) == (False, None)


def test_a_time_without_a_zone_is_utc_and_one_with_a_zone_is_converted() -> None:
    argv = ["recordings", "list", "--camera", CAMERA]
    times = ["--from", "2026-01-31T08:00", "--to", "2026-01-31T10:00+01:00"]
    arguments = build_parser().parse_args([*argv, *times])
    assert arguments.from_.isoformat() == "2026-01-31T08:00:00+00:00"
    assert arguments.to.isoformat() == "2026-01-31T09:00:00+00:00"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"streamwarden {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    heavy = ("psycopg", "falcon", "pykka", "pydantic", "prometheus_client", "urllib3")
    script = (
        "import sys\n"
        "from streamwarden.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        f"print([name for name in {heavy!r} if name in sys.modules])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert ran.stdout == "[]\n"
