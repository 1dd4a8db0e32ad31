"""``camera probe`` where nothing has to be looked at."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamwarden.cli.main import main
from streamwarden.probe.camera_probe import ProbeReport

REPORT = ProbeReport(url="rtsp://h/", seconds=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://h/"], "begins with rtsp://"),
        (["rtsp://h/", "--password-file", "x"], "needs --username"),
        (["rtsp://h/", "--username", "u", "--password-file", "/nowhere"], "cannot be read"),
        (["rtsp://h/", "--username", "u"], "--password-file"),
    ],
)
def test_wrong_usage_is_reported(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["camera", "probe", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_url_is_shown_clean(capsys: pytest.CaptureFixture[str]) -> None:
    url = "rtsp://u:SECRET@127.0.0.1:1/x?token=SECRET&password=SECRET"
    assert main(["camera", "probe", url]) == 1
    shown = capsys.readouterr()
    assert "rtsp://127.0.0.1:1/x?token=***&password=***" in shown.out
    assert "[refused]" in shown.out
    assert "--password-file" in shown.err
    assert "SECRET" not in shown.out + shown.err


def test_a_password_is_the_first_line_of_its_file_or_of_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    monkeypatch.setattr(
        "streamwarden.probe.camera_probe.probe_camera",
        lambda url, **_: seen.append(url.login.password) or REPORT,  # type: ignore[func-returns-value]  # a spy
    )
    file = tmp_path / "secret"
    file.write_bytes(b"p\xc3\xa4ss word\r\nnot this\n")
    stdin = SimpleNamespace(buffer=io.BytesIO(b"other\n"), isatty=lambda: False)
    monkeypatch.setattr("sys.stdin", stdin)
    for place in (str(file), "-"):
        probe = ["camera", "probe", "rtsp://h/", "--username", "u", "--password-file", place]
        assert main([*probe, "--json"]) == 0
    assert seen == ["p\u00e4ss word", "other"]
    assert '"ok": true' in capsys.readouterr().out
