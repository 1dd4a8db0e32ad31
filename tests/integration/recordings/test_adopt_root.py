"""A record root and a database that do not belong together, as the commands see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from streamwarden.cli.demo_command import refuse_installation
from streamwarden.cli.main import main
from streamwarden.clock import Clock
from streamwarden.errors import ConfigError
from streamwarden.model import Camera
from streamwarden.recordings.root_identity import facts_of, write_id
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.record_roots import Lease, PairedRoot, RecordRootRepository
from tests.integration.recordings.harness import Recordings

Adopt = Callable[..., dict[str, Any]]
OURS = UUID(int=1)


@pytest.fixture
def roots(database: Database) -> RecordRootRepository:
    return RecordRootRepository(database)


@pytest.fixture
def camera(made: Recordings) -> Camera:
    camera = made.camera()
    made.record_all(camera, 0, 8)
    made.unwant(camera, 8)
    return camera


@pytest.fixture
def adopt(
    made: Recordings,
    shared_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Adopt:
    monkeypatch.setenv("DATABASE_URL", shared_url)
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(made.root))

    def command(*argv: str) -> dict[str, Any]:
        assert main(["recordings", "adopt-root", *argv, "--json"]) == 0
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return shown

    return command


def paired(root_id: UUID = OURS) -> PairedRoot:
    return PairedRoot(
        id=root_id, node="first", path="/srv/first", adopted_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


@pytest.mark.usefixtures("camera")
def test_what_would_be_adopted_is_shown_and_nothing_is_changed(
    made: Recordings, roots: RecordRootRepository, adopt: Adopt, capsys: pytest.CaptureFixture[str]
) -> None:
    roots.adopt(paired())
    shown = adopt()
    assert (shown["root_id"], shown["database_root_id"]) == (None, str(OURS))
    assert shown["files_found"] == shown["newest_segments"] > 0
    assert facts_of(made.root).id is None
    assert roots.get() == paired()
    assert main(["recordings", "adopt-root"]) == 0
    assert "Nothing was changed. With --yes" in capsys.readouterr().out


@pytest.mark.usefixtures("camera")
def test_an_adopted_root_and_the_database_have_one_id(
    made: Recordings, roots: RecordRootRepository, adopt: Adopt, database: Database
) -> None:
    roots.adopt(paired())
    shown = adopt("--yes")
    known = roots.get()
    assert known is not None
    assert shown["adopted"] == str(known.id) == str(facts_of(made.root).id)
    assert known.path == str(made.root)
    assert adopt("--yes")["adopted"] is None  # they belong together already
    day = timedelta(days=1)
    now = Clock().now()
    (event,) = (
        AuditRepository(database)
        .page(from_=now - day, to=now + day, camera_id=None, user=None, limit=1)
        .items
    )
    assert event.action == "record_root_adopted"


def test_no_root_is_adopted_while_another_is_recorded_into(
    roots: RecordRootRepository, adopt: Adopt, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = Lease(
        session=uuid4(), root_id=OURS, node="first", path="/srv/first", place="x", age_s=0
    )
    assert roots.take_lease(lease)
    assert main(["recordings", "adopt-root", "--yes"]) != 0
    assert "node first" in capsys.readouterr().err
    assert roots.drop_lease(lease.session)
    assert adopt("--yes")["adopted"] is not None


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("command", ["verify", "reconcile"])
def test_a_foreign_root_is_neither_verified_nor_mended(
    command: str,
    made: Recordings,
    roots: RecordRootRepository,
    adopt: Adopt,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del adopt  # it sets the environment
    roots.adopt(paired())
    rows = made.segments.oldest(limit=100)
    for path in made.root.glob("*/*/*/*.mp4"):
        path.unlink()
    assert main(["recordings", command]) not in {0, 1} or "is its disk mounted" in (
        capsys.readouterr().err
    )
    write_id(made.root, uuid4())
    main(["recordings", command])
    assert "adopt-root" in capsys.readouterr().err
    assert made.segments.oldest(limit=100) == rows


def test_one_lease_at_a_time(roots: RecordRootRepository) -> None:
    first = Lease(session=uuid4(), root_id=OURS, node="a", path="/a", place="x", age_s=0)
    second = Lease(session=uuid4(), root_id=OURS, node="b", path="/b", place="y", age_s=0)
    assert roots.lease() is None
    assert roots.take_lease(first)
    assert not roots.take_lease(second)
    assert not roots.take_lease(second, over=uuid4())
    assert roots.renew_lease(first.session)
    assert not roots.renew_lease(second.session)
    assert roots.take_lease(second, over=first.session)
    held = roots.lease()
    assert held is not None
    assert (held.session, held.node) == (second.session, "b")
    assert 0 <= held.age_s < 60
    assert not roots.drop_lease(first.session)
    assert roots.drop_lease(second.session)


def test_a_root_is_registered_only_where_there_is_none(roots: RecordRootRepository) -> None:
    assert roots.register(paired())
    assert not roots.register(paired(UUID(int=2)))
    assert roots.register(paired())
    assert roots.get() == paired()


def test_the_demo_writes_into_no_installations_database(
    made: Recordings, roots: RecordRootRepository, shared_url: str, tmp_path: Path
) -> None:
    refuse_installation(shared_url, tmp_path / "demo")  # an empty database
    roots.adopt(paired())
    with pytest.raises(ConfigError, match="/srv/first on node first"):
        refuse_installation(shared_url, tmp_path / "demo")
    write_id(made.root, OURS)
    refuse_installation(shared_url, made.root)


def test_a_database_that_nobody_has_migrated_is_free(
    empty_database_url: str, tmp_path: Path
) -> None:
    refuse_installation(empty_database_url, tmp_path)
