"""``deploy/install``: its files, written twice below a folder, and its steps, only shown."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from streamwarden.config.settings import load
from streamwarden.devkit.mediamtx_program import PINS, VERSION
from streamwarden.mediamtx.control_secret import control_secret

ROOT = Path(__file__).parents[3]
INSTALL = ROOT / "deploy" / "install"
NAME = "cameras.example"

pytestmark = [
    pytest.mark.skipif(not INSTALL.exists(), reason="needs the checkout"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl"),
]


def install(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [INSTALL, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def files_of(*arguments: str, below: Path) -> str:
    done = install("--host", NAME, "--no-packages", "--destdir", str(below), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def made(tmp_path: Path) -> Path:
    files_of(below=tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_run_writes_nothing(made: Path) -> None:
    before = contents(made)
    assert len(before) >= 12
    again = files_of(below=made)
    assert contents(made) == before
    written = [line for line in again.splitlines() if re.match(r"[+~] /(?!opt/|usr/bin)", line)]
    assert written == []


def test_settings_that_were_changed_stay_and_a_changed_unit_is_written_again(made: Path) -> None:
    settings = made / "etc/streamwarden/streamwarden.toml"
    settings.write_text("# mine\n")
    unit = made / "etc/systemd/system/streamwarden.service"
    unit.write_text("# an older version's\n")
    told = files_of(below=made)
    assert settings.read_text() == "# mine\n"
    assert unit.read_bytes() == (ROOT / "deploy/systemd/streamwarden.service").read_bytes()
    assert "~ /etc/systemd/system/streamwarden.service" in told


def test_the_settings_are_complete_and_their_secrets_are_new(made: Path, tmp_path: Path) -> None:
    path = made / "etc/streamwarden/streamwarden.toml"
    assert path.stat().st_mode & 0o777 == 0o640
    load(path, {}).require_for("all")
    other = tmp_path / "other"
    files_of(below=other)
    first, second = (
        tomllib.loads((folder / "etc/streamwarden/streamwarden.toml").read_text())
        for folder in (made, other)
    )
    secret = {"internal_token", "user_jwt_secret", "stream_token_keys", "source_secret_keys"}
    assert {name for name in first if first[name] != second[name]} == secret
    token = made / "etc/prometheus/streamwarden/mediamtx.token"
    assert token.read_text().strip() == control_secret(first["internal_token"])
    assert token.stat().st_mode & 0o777 == 0o640
    scraped = (made / "etc/prometheus/prometheus.yml").read_text()
    assert "credentials_file: streamwarden/mediamtx.token\n" in scraped


def test_another_record_root_is_in_the_settings_and_in_the_units_drop_in(tmp_path: Path) -> None:
    files_of("--record-root", "/mnt/disk", below=tmp_path)
    text = (tmp_path / "etc/streamwarden/streamwarden.toml").read_text()
    assert tomllib.loads(text)["record_root"] == "/mnt/disk"
    drop_in = tmp_path / "etc/systemd/system/streamwarden.service.d/record-root.conf"
    assert {"RequiresMountsFor=/mnt/disk", "ReadWritePaths=/mnt/disk"} <= set(
        drop_in.read_text().splitlines()
    )


def test_a_database_url_comes_from_standard_input(tmp_path: Path) -> None:
    url = "postgresql://u:secret@db.example/warden"
    done = install(
        *("--host", NAME, "--no-packages", "--destdir", str(tmp_path), "--database-url", "-"),
        stdin=f"{url}\n",
    )
    assert done.returncode == 0, done.stderr
    assert "secret@" not in done.stdout
    text = (tmp_path / "etc/streamwarden/streamwarden.toml").read_text()
    assert tomllib.loads(text)["database_url"] == url


def test_no_unit_sets_what_the_settings_file_sets() -> None:
    for unit in (ROOT / "deploy" / "systemd").glob("*.service"):
        set_there = re.findall(r"STREAMWARDEN_(\w+)=", unit.read_text())
        assert set(set_there) <= {"LOG_FORMAT"}, unit.name


def test_media_server_and_proxy_agree_on_the_ports(made: Path) -> None:
    own = (made / "etc/mediamtx/mediamtx.env").read_text()
    site = (made / "etc/nginx/conf.d/streamwarden.conf").read_text()
    assert "MTX_WEBRTCADDRESS=127.0.0.1:8890\n" in own
    assert "set $whep 127.0.0.1:8890;" in site
    assert "${" not in site
    assert "default_server" not in site


def test_a_dry_run_shows_every_step_and_changes_nothing(tmp_path: Path) -> None:
    done = install("--host", NAME, "--dry-run", "--no-packages", "--record-root", "/srv/nowhere")
    assert done.returncode == 0, done.stderr
    for step in ("useradd", "python3 -m venv", "create", "systemctl enable", "nginx -t"):
        assert step in done.stdout
    pin = next(pin for machine, pin in PINS.items() if machine == _machine())
    assert f"{pin.url}\n" in done.stdout
    assert VERSION in pin.url
    assert f"SHA-256 {pin.sha256}\n" in done.stdout
    assert not Path("/srv/nowhere").exists()
    assert not list(tmp_path.iterdir())


def _machine() -> str:
    return subprocess.run(
        ["uname", "-m"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "usage:"),
        (("--host", "a;b"), "is no host name"),
        (("--host", NAME, "--frobnicate"), "--frobnicate is no option"),
        (("--host",), "--host needs a value"),
        (("--host", NAME, "--record-root", "relative"), "absolute path"),
        (("--host", NAME, "--record-root", "/a b"), "absolute path"),
        (("--host", NAME, "--tls-cert", "/nowhere.crt"), "two readable files"),
        (("--host", NAME, "--mediamtx", "/nowhere.tar.gz"), "cannot be read"),
        (("--host", NAME, "--database-url", 'a"b'), "must not hold"),
    ],
)
def test_what_cannot_be_right_is_refused_in_words(arguments: tuple[str, ...], words: str) -> None:
    done = install(*arguments, *(("--dry-run",) if len(arguments) > 1 else ()))
    assert done.returncode != 0
    assert words in done.stderr
