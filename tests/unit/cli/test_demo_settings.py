"""The settings file that the demo leaves for other commands."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from streamwarden.cli.demo_command import write_settings
from streamwarden.config import settings as config


def test_the_tools_read_what_the_demo_has_written(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    root = tmp_path / "a 'b' \u00e9\U0001f4f7"
    write_settings(path, {"record_root": str(root), "port_base": 8080, "whep_url": None})
    settings = config.load(path, {}, {})
    assert (settings.record_root, settings.port_base) == (root, 8080)


@pytest.mark.parametrize("text", ['"', "\\", "\n\t\0", "\x7f", "\u2028", "\U0001f4f7", "a # b"])
def test_every_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    write_settings(path, {"one": text, "two": text * 2})
    assert tomllib.loads(path.read_text(encoding="utf-8")) == {"one": text, "two": text * 2}


def test_an_empty_file_of_settings_is_one_too(tmp_path: Path) -> None:
    write_settings(tmp_path / "settings.toml", {})
    assert tomllib.loads((tmp_path / "settings.toml").read_text()) == {}


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
def test_nobody_else_may_read_the_secrets_among_them(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "settings.toml"
    if before is not None:
        path.write_text("old, and longer than the new one will be\n" * 100)
        path.chmod(before)
    old_mask = os.umask(0)
    try:
        write_settings(path, {"internal_token": "secret"})
    finally:
        os.umask(old_mask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(path.read_text()) == {"internal_token": "secret"}
