"""When the database was last dumped, as ``deploy/backup-database`` notes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamwarden.devkit.postgres_command import find_binaries
from streamwarden.storage.database_dump import DumpRepository
from streamwarden.storage.pool import Database

SCRIPT = Path(__file__).parents[3] / "deploy" / "backup-database"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="needs the checkout")


def test_a_dump_of_a_real_database_is_noted_in_it(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    dumps = DumpRepository(database)
    assert dumps.finished_at_s() is None
    settings = tmp_path / "streamwarden.toml"
    settings.write_text(f'database_url = "{database_url}"\n')
    environ = {
        "PATH": f"{find_binaries()}:{os.environ['PATH']}",
        "BACKUPS": str(tmp_path),
        "KEEP": "2",
        "PYTHON": sys.executable,
    }
    for _ in range(2):
        before = time.time()
        subprocess.run(["/bin/sh", SCRIPT, "--once", settings], env=environ, check=True, timeout=60)
        noted = dumps.finished_at_s()
        assert noted is not None
        assert before - 1 <= noted <= time.time() + 1
    (size,) = database.fetch_values(b"select size_bytes from database_dump")
    assert size in {path.stat().st_size for path in tmp_path.glob("*.dump")}
