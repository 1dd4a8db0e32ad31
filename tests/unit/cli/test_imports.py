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


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_operators_command_imports_no_role(command: list[str]) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STREAMWARDEN_") and name != "DATABASE_URL"
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "is not set" in done.stderr) == (1, True), done.stderr
    imported = done.stdout.split()
    assert "streamwarden.cli.environment" in imported
    assert not {"streamwarden.app.roles", "streamwarden.devkit", "streamwarden.http"} & {*imported}
    assert len(imported) < AT_MOST
