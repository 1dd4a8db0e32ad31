"""``deploy/backup-database``, as a container and as a unit run it, with a pg_dump that is a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.acceptance.waiting import PATIENCE_S, wait_for

SCRIPT = Path(__file__).parents[3] / "deploy" / "backup-database"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="needs the checkout")


@contextmanager
def backing_up(folder: Path, pg_dump: str) -> Iterator[Path]:
    """Run it over a folder of dumps until the end; it ends by SIGTERM, as a container is stopped."""
    program = folder / "bin" / "pg_dump"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{pg_dump}\n")
    program.chmod(0o755)
    psql = program.with_name("psql")
    psql.write_text(f'#!/bin/sh\necho "$PGDATABASE $*" >>{folder}/noted\nexit 1\n')
    psql.chmod(0o755)
    kept = folder / "backups"
    kept.mkdir()
    for day in range(10, 13):
        (kept / f"streamwarden-202601{day}T023000Z.dump").write_text("old")
    environ = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "BACKUPS": str(kept),
        "KEEP": "2",
        "POSTGRES_USER": "u",
        "POSTGRES_PASSWORD": "p",
        "POSTGRES_DB": "d",
    }
    process = subprocess.Popen(
        ["/bin/sh", SCRIPT], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield kept
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        with suppress(ProcessLookupError):  # its last wait may not have begun
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_dump_has_its_name_once_it_is_complete_and_the_newest_are_kept(tmp_path: Path) -> None:
    dump = 'for a; do case $a in --file=*) echo "$PGUSER $PGDATABASE" >"${a#--file=}";; esac; done'
    with backing_up(tmp_path, dump) as kept:
        wait_for("two dumps", lambda: len(list(kept.iterdir())) == 2)
        names = sorted(path.name for path in kept.iterdir())
    assert names[0] == "streamwarden-20260112T023000Z.dump"
    noted = (tmp_path / "noted").read_text()
    assert noted.startswith("d ")
    assert "insert into database_dump" in noted
    assert (kept / names[1]).read_text() == "u d\n"
    assert (kept / names[1]).stat().st_mode & 0o777 == 0o600


def test_a_failed_dump_deletes_nothing_and_leaves_no_part(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    failing = (
        'for a; do case $a in --file=*) echo half >"${a#--file=}";; esac; done; '
        f"echo >>{tried}; exit 1"
    )
    with backing_up(tmp_path, failing) as kept:
        wait_for("an attempt", tried.exists)
        wait_for("no part", lambda: not list(kept.glob("*.part")))
        assert len(list(kept.glob("*.dump"))) == 3
    assert not (tmp_path / "noted").exists()


@pytest.mark.parametrize(("ends", "code"), [("exit 0", 0), ("exit 1", 1)])
def test_a_unit_dumps_the_database_of_its_settings_once(
    tmp_path: Path, ends: str, code: int
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(
        '#!/bin/sh\nfor a; do case $a in --file=*) cp "$PGSERVICEFILE" "${a#--file=}";; esac; done\n'
        f"echo $PGSERVICE $* >{tmp_path}/called\n{ends}\n"
    )
    program.chmod(0o755)
    settings = tmp_path / "streamwarden.toml"
    settings.write_text('database_url = "postgresql://u:p%23q@db.example/warden?sslmode=require"\n')
    kept = tmp_path / "backups"
    kept.mkdir()
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "BACKUPS": str(kept),
        "KEEP": "2",
        "PYTHON": sys.executable,
        "TMPDIR": str(tmp_path / "tmp"),
    }
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        ["/bin/sh", SCRIPT, "--once", settings], env=environ, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
    called = (tmp_path / "called").read_text()
    assert called.startswith("streamwarden ")
    assert "p#q" not in called
    dumps = list(kept.iterdir())
    assert len(dumps) == (1 if code == 0 else 0)
    for dump in dumps:
        expected = {"host=db.example", "user=u", "password=p#q", "dbname=warden", "sslmode=require"}
        assert expected <= set(dump.read_text().splitlines())
