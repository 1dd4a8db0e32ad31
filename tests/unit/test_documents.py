"""The commands of the documents: each is one that the program takes, and shell that a shell takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from streamwarden.cli.main import build_parser
from streamwarden.config.settings import load
from streamwarden.devkit.mediamtx_program import PINS, VERSION

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name
    for name in (
        *("README.md", "README.zh-TW.md", "SECURITY.md", "CONTRIBUTING.md"),
        *("docs/api.md", "docs/deployment.md", "docs/operating.md", "docs/webui.md"),
    )
]
ID = str(UUID(int=7))
VALUES = {
    **dict.fromkeys(("ID", "CAMERA_ID", "CAMERA"), ID),
    **dict.fromkeys(("TIME", "FROM", "TO"), "2026-01-31T09:00Z"),
    "HASH": "0" * 64,
}
"""What stands for the placeholders of the documents."""

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs the checkout")


def blocks(page: Path, language: str = "sh") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after ``streamwarden`` of every command in a page's shell and in its sentences."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page) for line in joined(block)]
    lines += [" ".join(it.split()) for it in re.findall(r"`(streamwarden [a-z-][^`]*)`", text)]
    for line in lines:
        found = re.search(r"(?:^|[\s;(/])streamwarden(?= +(?:--\w|[a-z]))(.*)", line)
        if found and not re.search(
            r"(useradd|createuser|createdb|systemctl|-u) .*streamwarden", line
        ):
            yield words_of(found[1])


def joined(block: str) -> list[str]:
    return re.sub(r"\\\n\s*", " ", block).splitlines()


def words_of(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&<>)")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word[0] in ";|&<>)":
            break
        words.append(VALUES.get(word, word))
    return words


PARSED = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)[:90]}")
    for page in PAGES
    if page.exists()
    for words in commands(page)
    if "…" not in "".join(words) and "COMMAND" not in words and words not in ([], ["demo"])
]


def test_the_documents_have_commands() -> None:
    assert len(PARSED) > 40


def accepted(words: list[str]) -> bool:
    try:
        build_parser().parse_args(words)
    except SystemExit as ended:
        return ended.code == 0
    return True


@pytest.mark.parametrize("words", PARSED)
def test_a_command_of_the_documents_is_one_that_the_program_takes(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if accepted(words):
        return
    # A sentence may name a command, or some options of one, without what else it needs.
    *names, help_ = *[word for word in words if word[0].islower()][:2], "--help"
    known = [names[:count] for count in (2, 1) if accepted([*names[:count], help_])]
    assert known, words
    capsys.readouterr()
    assert accepted([*known[0], help_])
    text = capsys.readouterr().out
    assert not [word for word in words if word.startswith("--") and word not in text], words
    assert "required" in _refusal(words, capsys), words


def _refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    accepted(words)
    return capsys.readouterr().err


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_the_shell_of_the_documents_is_shell(page: Path) -> None:
    for block in blocks(page):
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, f"{done.stderr}\n{block}"


def test_the_settings_file_of_the_deployment_page_is_complete(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "deployment.md", "toml")
    for number in range(text.count('"..."')):
        text = text.replace('"..."', f'"{number:064x}"', 1)
    path = tmp_path / "streamwarden.toml"
    path.write_text(text.replace('"k1:..."', f'"k1:{"5" * 64}"'))
    load(path, {}).require_for("all")
    assert tomllib.loads(path.read_text())["record_root"] == "/srv/recordings"


def test_the_settings_of_the_readme_are_complete() -> None:
    for name in ("README.md", "README.zh-TW.md"):
        text = next(block for block in blocks(ROOT / name) if "STREAM_TOKEN_KEYS" in block)
        environ: dict[str, str] = {}
        for number, (key, value) in enumerate(
            re.findall(r"^export (\w+)=(\S+)", text, re.MULTILINE)
        ):
            made = re.sub(r"\$\(openssl.*|…", f"{number:064x}", value)
            environ[key] = made.replace("$HOME", "/srv/me")
        load(None, environ).require_for("all")
        assert {"STREAMWARDEN_MEDIAMTX_API_URL", "STREAMWARDEN_SOURCE_SECRET_KEYS"} <= set(environ)


def test_the_deployment_page_names_the_pinned_media_server() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for pin in PINS.values():
        assert pin.sha256 in text
        assert pin.archive in text
    assert PINS["x86_64"].url in text
    assert VERSION in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_files_of_the_checkout_that_a_command_names_exist(page: Path) -> None:
    for block in blocks(page):
        for name in re.findall(r"(?:^|[\s<])((?:deploy|docs|scripts)/[\w./-]+)", block):
            made = ("deploy/secrets", "deploy/tls/", "deploy/.env")
            assert name.startswith(made) or (ROOT / name).exists(), name
