"""Commands that root runs on the record root of another user: what they make belongs to that user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from streamwarden.paths import STATE

OTHER = 54321
"""A user id that no account has."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")


@pytest.fixture
def own_root(tmp_path: Path) -> Path:
    """A record root of another user, in a folder that every user may pass through."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path(folder.anchor) and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    root = tmp_path / "recordings"
    (root / STATE).mkdir(parents=True)
    for folder in (root, root / STATE):
        os.chown(folder, OTHER, OTHER)
        folder.chmod(0o700)
    return root


@pytest.fixture
def reachable_url(database_url: str) -> str:
    """The database, also for another user: its socket is in a folder of root's."""
    folder = Path(unquote(parse_qs(urlsplit(database_url).query).get("host", ["/"])[0]))
    for each in (folder, *folder.parents):
        if each != Path(each.anchor) and each.stat().st_mode & 0o011 != 0o011:
            each.chmod(each.stat().st_mode | 0o011)
    for socket in folder.glob(".s.PGSQL.*"):
        if socket.is_socket():
            socket.chmod(0o777)
    return database_url


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "streamwarden", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=120, check=False, env=kept | environ
    )


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(each.stat().st_uid, each.stat().st_gid) for each in (folder, *folder.rglob("*"))}


def test_a_key_belongs_to_the_owner_of_its_folder(own_root: Path) -> None:
    made = run("key", "new", str(own_root / "seal.pem"))
    assert made.returncode == 0, made.stderr
    assert owners(own_root) == {(OTHER, OTHER)}


def test_a_confirmation_of_a_deletion_is_written_as_the_owner(
    own_root: Path, reachable_url: str, tmp_path: Path
) -> None:
    settings = tmp_path / "roots.toml"
    settings.write_text(f'database_url = "{reachable_url}"\nrecord_root = "{own_root}"\n')
    watched = (
        "import sys, os; from streamwarden.cli.main import main; main(sys.argv[1:]); "
        "print('ran as', os.geteuid(), os.getegid())"
    )
    argv = [sys.executable, "-c", watched, "--config", str(settings), "retention", "confirm"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert f"ran as {OTHER} {OTHER}" in done.stdout, done.stderr


@pytest.mark.parametrize("command", ["seal", "reconcile", "verify"])
def test_a_command_on_recordings_leaves_nothing_of_roots(
    own_root: Path, reachable_url: str, command: str, tmp_path: Path
) -> None:
    key = tmp_path / "roots.pem"
    assert run("key", "new", str(key)).returncode == 0
    settings = tmp_path / "roots.toml"
    settings.write_text(
        f'database_url = "{reachable_url}"\nrecord_root = "{own_root}"\nseal_key_file = "{key}"\n'
    )
    settings.chmod(0o600)
    watched = (
        "import sys, os; from streamwarden.cli.main import main; code = main(sys.argv[1:]); "
        "print('ran as', os.geteuid(), os.getegid(), os.getgroups()); sys.exit(code)"
    )
    argv = [sys.executable, "-c", watched, "--config", str(settings), "recordings", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"ran as {OTHER} {OTHER} []" in done.stdout
    assert owners(own_root) == {(OTHER, OTHER)}
