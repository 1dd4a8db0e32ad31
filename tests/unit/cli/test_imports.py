"""An operator's command is started by hand and by scripts: it imports what it needs, and no role."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

AT_MOST = 100
RUN = """
import sys
from streamwarden.cli.main import main
code = main(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.split(".")[0] == "streamwarden"))
sys.exit(code)
"""
COMMANDS = [["camera", "list"], ["user", "list"], ["migrate"], ["token", "user", "--sub", "alice"]]


NOBODY_LISTENS = {
    "DATABASE_URL": "postgresql://user@127.0.0.1:1/none",
    "STREAMWARDEN_USER_JWT_SECRET": "j" * 40,
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_operators_command_imports_few_modules_and_no_role(command: list[str]) -> None:
    """Up to its question to the database, which nobody answers."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("STREAMWARDEN_")
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        env=environment | NOBODY_LISTENS,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    asks_nothing = command[0] == "token"
    assert done.returncode == (0 if asks_nothing else 1), done.stderr
    assert asks_nothing or "the database does not answer" in done.stderr
    imported = done.stdout.splitlines()[-1].split()
    assert "streamwarden.cli.environment" in imported
    assert not {"streamwarden.app.roles", "streamwarden.devkit", "streamwarden.http"} & {*imported}
    assert len(imported) < AT_MOST
