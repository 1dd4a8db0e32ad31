from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.errors import ConfigError, Unavailable
from streamwarden.model import Cause
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.recordings.root_identity import (
    NOTHING,
    Indexed,
    RootFacts,
    RootNotKnown,
    RootVerdict,
    belongs,
    facts_of,
    judge,
    write_id,
)
from streamwarden.recordings.root_pairing import LEASE_S, RootPairing
from streamwarden.recordings.root_watch import RootWatch
from streamwarden.storage.record_roots import (
    IndexedFile,
    Lease,
    PairedRoot,
    RecordRootRepository,
)
from tests.fakes.manual_time import ManualClock

OURS, THEIRS = UUID(int=1), UUID(int=2)
NEW = RootFacts(exists=True)
OLD_VERSION = RootFacts(exists=True, used=True)
MARKED = RootFacts(exists=True, used=True, id=OURS)
UNKNOWN = Indexed(root_id=None, segments=True)


@pytest.mark.parametrize(
    ("facts", "indexed", "verdict"),
    [
        (NOTHING, Indexed(root_id=None, segments=False), RootVerdict.ADOPT),
        (NEW, Indexed(root_id=None, segments=False), RootVerdict.ADOPT),
        (MARKED, Indexed(root_id=None, segments=False), RootVerdict.ADOPT),
        (MARKED, Indexed(root_id=OURS, segments=True), RootVerdict.OWN),
        (MARKED, Indexed(root_id=THEIRS, segments=False), RootVerdict.CHANGED),
        (OLD_VERSION, Indexed(root_id=OURS, segments=True), RootVerdict.MISSING),
        (NEW, Indexed(root_id=OURS, segments=False), RootVerdict.MISSING),
        (NOTHING, UNKNOWN, RootVerdict.MISSING),
        (NEW, UNKNOWN, RootVerdict.COMPARE),
        (OLD_VERSION, UNKNOWN, RootVerdict.COMPARE),
        (MARKED, UNKNOWN, RootVerdict.COMPARE),
        (MARKED, None, RootVerdict.TRUSTED),
        (OLD_VERSION, None, RootVerdict.TRUSTED),
        (NEW, None, RootVerdict.UNDECIDED),
    ],
)
def test_what_is_at_the_path_and_in_the_database_decides(
    facts: RootFacts, indexed: Indexed | None, verdict: RootVerdict
) -> None:
    assert judge(facts, indexed) is verdict


def test_a_few_files_may_be_gone_and_none_is_a_foreign_root() -> None:
    assert belongs(40, 50)
    assert not belongs(0, 1)
    assert not belongs(10, 50)


class FakeRoots(RecordRootRepository):
    """The tables in memory; ``away``: Postgres does not answer."""

    def __init__(self) -> None:
        self.row: PairedRoot | None = None
        self.files: list[IndexedFile] = []
        self.held: Lease | None = None
        self.away = False
        self.renews = False

    def known(self) -> tuple[PairedRoot | None, bool]:
        self._answer()
        return self.row, bool(self.files)

    def get(self) -> PairedRoot | None:
        self._answer()
        return self.row

    def register(self, root: PairedRoot) -> bool:
        self._answer()
        self.row = self.row or root
        return self.row.id == root.id

    def newest_files(self, *, limit: int) -> list[IndexedFile]:
        return self.files[:limit]

    def lease(self) -> Lease | None:
        self._answer()
        return self.held

    def take_lease(self, lease: Lease, *, over: UUID | None = None) -> bool:
        if self.held is not None and self.held.session != over:
            return False
        self.held = lease
        return True

    def renew_lease(self, session: UUID) -> bool:
        self._answer()
        return self.held is not None and self.held.session == session

    def drop_lease(self, session: UUID) -> bool:
        if self.held is None or self.held.session != session:
            return False
        self.held = None
        return True

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("scripted: Postgres is away")


class PairingHarness:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.roots = FakeRoots()
        self.opened: list[datetime | None] = []
        self.confirmed = 0
        self.slept_s = 0.0
        self.start()

    def start(self) -> None:
        """A new server."""
        self.root = RecordRoot(self.path)
        self.watch = RootWatch(self.path)
        self.watch.start()
        self.pairing = RootPairing(
            root=self.root,
            watch=self.watch,
            roots=self.roots,
            node="here",
            clock=ManualClock(),
            opened=self.opened.append,
            sleep=self._sleep,
        )
        self.pairing.when_confirmed(self._note)

    def _note(self) -> None:
        self.confirmed += 1

    def _sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        if self.roots.held is not None:
            age_s = 0.0 if self.roots.renews else self.roots.held.age_s + seconds
            self.roots.held = replace(self.roots.held, age_s=age_s)

    def end(self) -> None:
        self.pairing.close()
        self.watch.close()
        self.root.release()

    def step(self) -> None:
        self.watch.look()
        self.pairing.step()

    def fault(self) -> Cause | None:
        fault = self.watch.fault()
        return None if fault is None else fault.cause

    def recorded(self) -> None:
        """The database has recordings, and their files are here."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "one.mp4").write_bytes(b"1234")
        self.roots.files = [IndexedFile(path="one.mp4", size_bytes=4)]


@pytest.fixture
def paired(tmp_path: Path) -> Iterator[PairingHarness]:
    harness = PairingHarness(tmp_path / "root")
    yield harness
    harness.end()


def a_lease(**changes: object) -> Lease:
    lease = Lease(session=uuid4(), root_id=THEIRS, node="other", path="/there", place="", age_s=3.0)
    return replace(lease, **changes)  # type: ignore[arg-type] # the test names real fields


def test_a_first_start_adopts_a_new_root_without_a_word(paired: PairingHarness) -> None:
    paired.pairing.begin()
    assert paired.fault() is None
    assert paired.roots.row is not None
    assert facts_of(paired.path).id == paired.roots.row.id
    assert paired.confirmed == 1
    paired.pairing.require_index()


def test_a_restart_finds_its_own_root(paired: PairingHarness) -> None:
    paired.pairing.begin()
    paired.recorded()
    paired.end()
    paired.start()
    paired.pairing.begin()
    assert paired.fault() is None
    assert paired.confirmed == 2


def test_an_empty_folder_in_the_place_of_recordings_is_left_as_it_is(
    paired: PairingHarness,
) -> None:
    paired.path.mkdir()
    paired.roots.files = [IndexedFile(path="one.mp4", size_bytes=4)]
    paired.pairing.begin()
    assert paired.fault() is Cause.RECORD_ROOT_MISSING
    assert list(paired.path.iterdir()) == []
    assert paired.opened == []
    with pytest.raises(RootNotKnown, match="adopt-root"):
        paired.pairing.require_index()


def test_recordings_below_a_mount_point_are_named_before_a_disk_hides_them(
    paired: PairingHarness,
) -> None:
    below = paired.path / "otto" / str(UUID(int=7)) / "2026-03-01"
    below.mkdir(parents=True)
    paired.roots.row = PairedRoot(id=OURS, node="here", path="/x", adopted_at=ManualClock().now())
    paired.pairing.begin()
    fault = paired.watch.fault()
    assert fault is not None
    assert fault.cause is Cause.RECORD_ROOT_MISSING
    assert f"holds recordings (otto/{UUID(int=7)})" in fault.text


def test_the_right_root_that_comes_later_is_taken_then(paired: PairingHarness) -> None:
    paired.roots.row = PairedRoot(id=OURS, node="here", path="/x", adopted_at=ManualClock().now())
    paired.pairing.begin()
    assert paired.fault() is Cause.RECORD_ROOT_MISSING
    assert not paired.path.exists()
    write_id(paired.path, OURS)
    paired.step()
    assert paired.fault() is None
    assert (len(paired.opened), paired.confirmed) == (1, 1)


def test_the_root_of_another_installation_is_refused_until_it_is_adopted(
    paired: PairingHarness,
) -> None:
    write_id(paired.path, THEIRS)
    row = PairedRoot(id=OURS, node="here", path="/x", adopted_at=ManualClock().now())
    paired.roots.row = row
    paired.pairing.begin()
    assert paired.fault() is Cause.RECORD_ROOT_CHANGED
    paired.roots.row = replace(row, id=THEIRS)
    paired.step()
    assert paired.fault() is None


def test_an_installation_of_an_earlier_version_is_adopted_by_its_files(
    paired: PairingHarness,
) -> None:
    (paired.path / ".streamwarden").mkdir(parents=True)
    paired.recorded()
    paired.pairing.begin()
    assert paired.fault() is None
    assert paired.roots.row is not None
    assert facts_of(paired.path).id == paired.roots.row.id


def test_recordings_without_the_state_folder_are_adopted_by_their_files(
    paired: PairingHarness,
) -> None:
    paired.recorded()
    paired.pairing.begin()
    assert paired.fault() is None
    assert paired.roots.row is not None


def test_a_root_of_an_earlier_version_without_the_files_is_not_adopted(
    paired: PairingHarness,
) -> None:
    (paired.path / ".streamwarden").mkdir(parents=True)
    paired.roots.files = [IndexedFile(path="one.mp4", size_bytes=4)]
    paired.pairing.begin()
    assert paired.fault() is Cause.RECORD_ROOT_MISSING


def test_while_postgres_is_away_a_used_root_is_recorded_into_and_the_index_waits(
    paired: PairingHarness,
) -> None:
    write_id(paired.path, OURS)
    paired.roots.away = True
    paired.pairing.begin()
    assert paired.fault() is None
    with pytest.raises(RootNotKnown):
        paired.pairing.require_index()
    with pytest.raises(Unavailable):
        paired.pairing.step()
    paired.roots.away = False
    paired.step()
    paired.pairing.require_index()
    assert paired.confirmed == 1


def test_a_foreign_root_that_was_trusted_is_found_out_when_postgres_is_back(
    paired: PairingHarness,
) -> None:
    write_id(paired.path, THEIRS)
    paired.roots.away = True
    paired.pairing.begin()
    paired.roots.away = False
    paired.roots.row = PairedRoot(id=OURS, node="here", path="/x", adopted_at=ManualClock().now())
    paired.step()
    assert paired.fault() is Cause.RECORD_ROOT_CHANGED
    assert paired.confirmed == 0


def test_while_postgres_is_away_a_new_root_waits(paired: PairingHarness) -> None:
    paired.roots.away = True
    paired.pairing.begin()
    assert paired.fault() is Cause.RECORD_ROOT_MISSING
    assert not paired.path.exists()
    paired.roots.away = False
    paired.step()
    assert paired.fault() is None


def test_a_second_role_is_refused_with_the_name_of_the_first(paired: PairingHarness) -> None:
    paired.roots.held = a_lease()
    paired.roots.renews = True
    with pytest.raises(ConfigError, match=r"node other, record root /there"):
        paired.pairing.begin()
    assert not paired.path.exists()


def test_a_role_that_has_died_elsewhere_is_waited_for(paired: PairingHarness) -> None:
    paired.roots.held = a_lease(root_id=OURS)
    paired.pairing.begin()
    assert LEASE_S - 4 < paired.slept_s < LEASE_S
    paired.pairing.require_index()


def test_a_crashed_role_does_not_lock_out_its_own_restart(paired: PairingHarness) -> None:
    paired.pairing.begin()
    crashed = paired.roots.held
    paired.watch.close()
    paired.root.release()
    paired.start()
    paired.pairing.begin()
    assert paired.slept_s == 0
    assert paired.roots.held is not None
    assert crashed is not None
    assert paired.roots.held.session != crashed.session
    paired.pairing.require_index()


def test_a_role_that_stops_in_order_gives_its_lease_up(paired: PairingHarness) -> None:
    paired.pairing.begin()
    paired.pairing.close()
    assert paired.roots.held is None


def test_a_role_that_has_lost_its_lease_writes_nothing_more(paired: PairingHarness) -> None:
    paired.pairing.begin()
    paired.roots.held = a_lease()
    paired.step()
    with pytest.raises(RootNotKnown, match="node other"):
        paired.pairing.require_index()
    assert "node other" in paired.pairing.other_role()
    assert paired.fault() is None  # what is recorded waits in the journal
