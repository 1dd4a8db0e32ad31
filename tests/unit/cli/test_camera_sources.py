"""A camera's source on the command line: the password from a file, never an argument."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from streamwarden.cli.camera_commands import source_given
from streamwarden.cli.main import build_parser
from streamwarden.errors import InvalidInput

URL = "rtsp://10.0.0.7/x"
SET = ("camera", "set", "00000000-0000-4000-8000-000000000001")


def given(*options: str) -> dict[str, str | None]:
    return source_given(build_parser().parse_args([*SET, *options]))


@pytest.fixture
def secret(tmp_path: Path) -> str:
    file = tmp_path / "secret"
    file.write_text("geheim \n", encoding="utf-8")
    return str(file)


def test_nothing_of_a_source_is_nothing() -> None:
    assert given("--name", "x") == {}
    add = ("camera", "add", "--owner", "alice", "--name", "x")
    assert source_given(build_parser().parse_args(add)) == {}


def test_a_password_is_read_from_its_file_without_the_line_end(secret: str) -> None:
    options = ("--source-url", URL, "--source-username", "viewer", "--source-password-file", secret)
    assert given(*options) == {
        "source_url": URL,
        "source_username": "viewer",
        "source_password": "geheim ",
    }


def test_a_password_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"geheim\r\n")

    monkeypatch.setattr("sys.stdin", Stdin())
    assert given("--source-password-file", "-") == {"source_password": "geheim"}


def test_a_source_or_its_credentials_are_removed() -> None:
    assert given("--no-source") == {"source_url": None}
    assert given("--no-source-credentials") == {"source_username": None, "source_password": None}
    both = given("--source-url", URL, "--no-source-credentials")
    assert both == {"source_url": URL, "source_username": None, "source_password": None}


def test_a_transport_is_given_by_its_word() -> None:
    assert given("--transport", "udp") == {"source_transport": "udp"}
    with pytest.raises(SystemExit):
        given("--transport", "pigeon")


def test_an_empty_file_is_an_empty_password(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    options = ("--source-username", "root", "--source-password-file", str(tmp_path / "empty"))
    assert given(*options) == {"source_username": "root", "source_password": ""}


def test_credentials_in_an_argument_are_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        given("--source-url", "rtsp://viewer:geheim@10.0.0.7/x")
    assert "geheim" not in str(refused.value)
    assert "--source-password-file" in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        ("--no-source", "--source-url", URL),
        ("--no-source", "--source-username", "a"),
        ("--no-source", "--transport", "udp"),
        ("--no-source-credentials", "--source-username", "a"),
        ("--source-password-file", "/nonexistent/file"),
        ("--source-password-file", "/"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_read_is_wrong_usage(options: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        given(*options)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput):
        given("--source-password-file", str(tmp_path / "x"))
