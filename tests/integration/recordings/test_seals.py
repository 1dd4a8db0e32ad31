"""Seals: made once, chained, and verified offline, with files, rows and chain altered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
import structlog

from streamwarden.cli.evidence_commands import chain_heads, check_chains
from streamwarden.cli.main import main
from streamwarden.errors import Unavailable
from streamwarden.evidence.seal_files import SealFiles, SealingFailed, seal_name
from streamwarden.evidence.seal_keys import SealKey, by_id, new_key
from streamwarden.evidence.sealer import Sealer
from streamwarden.evidence.seals import Entry, SegmentEntry, decode_entries, read_seal
from streamwarden.evidence.signed_check import SignedCheckOptions, SignedFinding
from streamwarden.evidence.statements import sign
from streamwarden.model import Camera, SealRow
from streamwarden.recordings.deletion_rules import DeletionRulesFile
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.retention import Retention, RetentionLimits, RulesInForce
from streamwarden.storage.pool import Database
from streamwarden.storage.refusals import StorageUnavailable
from streamwarden.storage.seal_records import SealRepository
from tests.fakes.manual_time import ManualClock
from tests.integration.recordings.harness import Recordings, at

YEARS = timedelta(days=36_500)
WITHIN_S = 60


def an_hour_after_noon() -> ManualClock:
    return ManualClock(at(3600), 3600.0)


class Failing(SealRepository):
    """The process dies, or Postgres goes away, before a seal is entered."""

    def enter(
        self, row: SealRow, *, segments: Mapping[UUID, bytes | None], gaps: Collection[UUID]
    ) -> None:
        del row, segments, gaps
        raise Unavailable("the database does not answer")


@dataclass(slots=True)
class SealHarness:
    """A record root whose recordings are sealed and checked."""

    made: Recordings
    key: SealKey
    clock: ManualClock = field(default_factory=an_hour_after_noon)
    keep_for: timedelta = YEARS

    def sealer(self, *, key: SealKey | None = None, table: SealRepository | None = None) -> Sealer:
        return Sealer(
            record_root=self.made.root,
            key=key or self.key,
            table=table or SealRepository(self.made.database),
            periods=self.made.periods,
            clock=self.clock,
            keep_for=self.keep_for,
        )

    def seal(self, camera: Camera, until_s: float, *, key: SealKey | None = None) -> int:
        return self.sealer(key=key).seal(camera.id, at(until_s))

    def check(
        self, *cameras: Camera, keys: Collection[SealKey] = (), **asked: object
    ) -> list[SignedFinding]:
        known = by_id(key.public for key in keys or [self.key])
        question = SignedCheckOptions(keys=known, **asked)  # type: ignore[arg-type]  # its own fields
        return check_chains(self.made.root, [camera.id for camera in cameras], question)[1]

    def kinds(self, *cameras: Camera, **asked: object) -> list[str]:
        return [one.kind.value for one in self.check(*cameras, **asked)]  # type: ignore[arg-type]  # as check

    def files(self, camera: Camera) -> SealFiles:
        return SealFiles(self.made.root, camera.id)

    def entries(self, camera: Camera) -> list[Entry]:
        files = self.files(camera)
        bodies = [files.read_entries(number) for number in files.numbers_of_entries()]
        return [entry for body in bodies for entry in decode_entries(body)]

    def sealed_paths(self, camera: Camera) -> list[str]:
        found = [one.path for one in self.entries(camera) if isinstance(one, SegmentEntry)]
        return sorted(found)

    def stored_paths(self, camera: Camera) -> list[str]:
        return sorted(str(path.relative_to(self.made.root)) for path in self.made.files(camera))


@pytest.fixture
def sealing(made: Recordings, tmp_path: Path) -> SealHarness:
    return SealHarness(made, new_key(tmp_path / "seal.pem"))


@pytest.fixture
def camera(sealing: SealHarness) -> Camera:
    """Three seals: twelve seconds in segments, then a gap, then eight more; wanted throughout."""
    camera = sealing.made.camera()
    sealing.made.record_all(camera, 0, 12)
    sealing.seal(camera, 6)
    sealing.made.miss(camera, 12, 20)
    sealing.made.record_all(camera, 20, 28)
    sealing.seal(camera, 12)
    sealing.made.unwant(camera, 28)
    sealing.seal(camera, 3600)
    return camera


def test_what_is_complete_and_unaltered_is_proven(sealing: SealHarness, camera: Camera) -> None:
    assert sealing.files(camera).numbers() == [0, 1, 2]
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)
    assert sealing.check(camera) == []
    assert sealing.check() == []
    (proven,), _ = check_chains(
        sealing.made.root, [], SignedCheckOptions(keys=by_id([sealing.key.public]))
    )
    assert (proven.seals, proven.files, proven.wanted_s, proven.gap_s) == (3, 10, 28.0, 8.0)
    assert (proven.from_, proven.until) == (at(0), at(3600))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: install it")
def test_a_seal_can_be_checked_by_hand(
    sealing: SealHarness, camera: Camera, tmp_path: Path
) -> None:
    """As the design note describes it, without streamwarden."""
    (tmp_path / "seal.pub").write_text(sealing.key.public.pem)
    script = (
        f"cd '{sealing.files(camera).folder}' && "
        f"head -n 1 00000001.seal >'{tmp_path}/statement' && "
        f"tail -n 1 00000001.seal | base64 -d >'{tmp_path}/signature' && cd '{tmp_path}' && "
        "openssl pkeyutl -verify -pubin -inkey seal.pub -rawin -in statement -sigfile signature "
        ">&2 && sha256sum <statement && "
        f"sha256sum <'{sealing.files(camera).folder}/00000001.entries' && "
        "openssl pkey -pubin -in seal.pub -outform DER | sha256sum | cut -c1-16"
    )
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=WITHIN_S)
    statement, entries, key_id = (line.split()[0] for line in said.stdout.decode().splitlines())
    files = sealing.files(camera)
    assert statement == read_seal(files.read(2)).previous.hex()
    assert entries == read_seal(files.read(1)).entries_sha256.hex()
    assert key_id == sealing.key.key_id


def test_nothing_is_sealed_twice(sealing: SealHarness, camera: Camera) -> None:
    assert sealing.seal(camera, 3600) == 0
    assert sealing.sealer().cameras() == []


# What somebody does to files and chain


def flip(path: Path, place: int = -200) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"0")


def a_segment(sealing: SealHarness, camera: Camera) -> Path:
    return sealing.made.files(camera)[4]


def a_seal(sealing: SealHarness, camera: Camera, number: int = 1) -> Path:
    return sealing.files(camera).folder / seal_name(number)


def swap(sealing: SealHarness, camera: Camera) -> None:
    one, other = a_seal(sealing, camera, 1), a_seal(sealing, camera, 2)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def forge(sealing: SealHarness, camera: Camera) -> None:
    path = sealing.made.files(camera)[1]
    (path.parent / "120013.000Z-r7-1.mp4").write_bytes(path.read_bytes())


TAMPERING: list[tuple[str, Callable[[SealHarness, Camera], object], str]] = [
    ("a byte of a file", lambda d, c: flip(a_segment(d, c)), "file_altered"),
    ("a longer file", lambda d, c: lengthen(a_segment(d, c)), "file_altered"),
    ("a file removed", lambda d, c: a_segment(d, c).unlink(), "file_missing"),
    ("a file put there", forge, "file_unsealed"),
    ("a seal removed", lambda d, c: a_seal(d, c).unlink(), "seal_missing"),
    ("the first seal removed", lambda d, c: a_seal(d, c, 0).unlink(), "seal_missing"),
    ("a byte of a seal", lambda d, c: flip(a_seal(d, c), 200), "seal_"),
    ("a byte of a signature", lambda d, c: flip(a_seal(d, c), -20), "seal_"),
    ("two seals swapped", swap, "chain_broken"),
    (
        "a seal repeated",
        lambda d, c: a_seal(d, c, 3).write_bytes(a_seal(d, c, 2).read_bytes()),
        "chain_broken",
    ),
    (
        "a byte of the entries",
        lambda d, c: flip(a_seal(d, c).with_suffix(".entries"), 50),
        "entries_altered",
    ),
    (
        "entries removed",
        lambda d, c: a_seal(d, c).with_suffix(".entries").unlink(),
        "entries_missing",
    ),
]


def test_a_file_with_an_absurd_number_is_two_findings_and_the_chain_goes_on(
    sealing: SealHarness, camera: Camera
) -> None:
    """The check found every number up to it missing, one by one, and the sealer refused the camera."""
    planted = a_seal(sealing, camera, 0).with_name("99999999999999.seal")
    planted.touch()
    found = sealing.check(camera)
    assert [one.kind for one in found] == ["seal_missing", "seal_damaged"]
    assert "to 99999999999998 are not there" in found[0].detail
    sealing.clock.advance(3600)
    sealing.made.record_all(camera, 3700, 3704)
    assert sealing.seal(camera, 7000) == 1
    assert sealing.files(camera).numbers() == [0, 1, 2, 3, 99999999999999]
    planted.unlink()
    assert sealing.kinds(camera) == []


@pytest.mark.parametrize(
    ("tamper", "kind"), [one[1:] for one in TAMPERING], ids=[o[0] for o in TAMPERING]
)
def test_tampering_is_named(
    tamper: Callable[[SealHarness, Camera], object], kind: str, sealing: SealHarness, camera: Camera
) -> None:
    tamper(sealing, camera)
    found = sealing.check(camera)
    assert found
    assert found[0].kind.startswith(kind)
    if kind.startswith("file"):
        assert len(found) == 1
        assert found[0].path is not None


def test_a_cut_off_end_is_found_by_a_head_that_was_noted(
    sealing: SealHarness, camera: Camera
) -> None:
    ((_, head),) = chain_heads(sealing.made.root, camera.id)
    assert not isinstance(head, str)
    assert sealing.kinds(camera, heads=[head.hash]) == []
    a_seal(sealing, camera, 2).unlink()
    for path in sealing.made.files(camera)[6:]:
        path.unlink()
    assert sealing.kinds(camera) == []  # nobody can tell
    assert sealing.kinds(camera, heads=[head.hash]) == ["head_missing"]
    assert sealing.kinds(camera, to=at(28)) == ["not_sealed"]


def test_a_chain_that_was_removed_whole_is_missed(sealing: SealHarness, camera: Camera) -> None:
    assert [one.camera_id for one in sealing.check()] == []
    shutil.rmtree(a_seal(sealing, camera, 0).parent)
    assert [(one.kind, one.camera_id) for one in sealing.check()] == [("not_sealed", camera.id)]


def test_another_key_proves_nothing(sealing: SealHarness, camera: Camera, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.pem")
    assert sealing.kinds(camera, keys=[other]) == [*["wrong_key"] * 3, "not_sealed"]


def test_a_chain_goes_on_with_a_new_key_and_needs_both(
    sealing: SealHarness, camera: Camera, tmp_path: Path
) -> None:
    new = new_key(tmp_path / "new.pem")
    sealing.made.record_all(camera, 100, 104)
    assert sealing.seal(camera, 3600, key=new) == 1
    assert sealing.kinds(camera, keys=[sealing.key, new]) == []
    assert sealing.kinds(camera, keys=[sealing.key]) == ["wrong_key"]


def test_a_past_that_was_signed_anew_does_not_fit_what_follows_it(
    sealing: SealHarness, camera: Camera
) -> None:
    """Somebody has the key, and leaves a segment out of the second seal."""
    seal = read_seal(sealing.files(camera).read(1))
    fields = seal.fields() | {"entries": 0, "entries_sha256": hashlib.sha256(b"").hexdigest()}
    forged = sign(sealing.key, fields | {"first": None, "last": None})
    a_seal(sealing, camera, 1).write_bytes(forged.encoded())
    found = sealing.check(camera)
    assert (found[0].kind, found[0].seal) == ("chain_broken", 2)
    assert "follows another seal" in found[0].detail


def test_a_second_that_nobody_accounts_for_is_sealed_as_such_and_found(
    sealing: SealHarness, made: Recordings
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    made.record_all(camera, 8, 12)
    made.unwant(camera, 12)
    sealing.seal(camera, 3600)
    (found,) = sealing.check(camera)
    assert found.kind == "second_missing"
    assert (found.started_at, found.ended_at) == (at(4), at(8))
    assert sealing.kinds(camera, to=at(4)) == []
    assert sealing.kinds(camera, from_=at(8)) == []


# What comes late, and what has not ended


def test_what_comes_late_is_in_the_next_seal(sealing: SealHarness, made: Recordings) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    late = made.record(camera, 4, 6, indexed=False)
    made.miss(camera, 6, 10, indexed=False)
    sealing.seal(camera, 4)
    assert sealing.kinds(camera) == []
    made.index()
    made.record_all(camera, 10, 12)
    made.unwant(camera, 12)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.kinds(camera) == []
    assert str(late.relative_to(made.root)) in sealing.sealed_paths(camera)


def test_a_gap_is_sealed_when_it_has_ended_and_settled(
    sealing: SealHarness, made: Recordings
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    gap = made.miss(camera, 4, None)
    sealing.seal(camera, 3600)
    assert sealing.kinds(camera, to=at(4)) == []
    assert sealing.kinds(camera, to=at(5)) == ["not_sealed"]
    sealing.clock.move_to(100)
    made.database.execute(
        b"update gap set ended_at = %(at)s where id = %(id)s", {"at": at(50), "id": gap}
    )
    made.record_all(camera, 50, 52)
    assert sealing.seal(camera, 100) == 0
    sealing.clock.move_to(171)
    made.unwant(camera, 52)
    assert sealing.seal(camera, 171) == 1
    assert sealing.kinds(camera) == []


def test_a_segment_that_goes_over_the_end_is_in_the_seal_and_the_next_goes_on_from_there(
    sealing: SealHarness, made: Recordings
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 8)
    sealing.seal(camera, 5)
    assert sealing.kinds(camera, to=at(5)) == []
    made.unwant(camera, 8)
    sealing.seal(camera, 3600)
    assert sealing.kinds(camera) == []
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)


def test_a_seal_ends_where_the_segment_in_progress_began_however_lately_that_was(
    sealing: SealHarness, made: Recordings
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    sealing.seal(camera, 4)
    made.record_all(camera, 4, 8)
    sealing.seal(camera, 8.075)  # the next segment has begun, and is in no row yet
    made.record(camera, 8, 10)
    assert sealing.kinds(camera) == []
    assert sealing.kinds(camera, to=at(8)) == []
    made.unwant(camera, 10)
    sealing.seal(camera, 3600)
    assert sealing.kinds(camera) == []
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)


def test_many_rows_take_more_than_one_seal(
    sealing: SealHarness, made: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamwarden.evidence.sealer.MOST_ROWS", 3)
    camera = made.camera()
    made.record_all(camera, 0, 16)
    made.unwant(camera, 16)
    assert sealing.seal(camera, 3600) == 3
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)
    assert sealing.kinds(camera) == []


# What breaks


def test_a_seal_that_postgres_does_not_know_is_made_up_for_and_not_repeated(
    sealing: SealHarness, made: Recordings
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    with pytest.raises(Unavailable):
        sealing.sealer(table=Failing(made.database)).seal(camera.id, at(4))
    assert sealing.kinds(camera) == []
    made.record_all(camera, 4, 8)
    made.unwant(camera, 8)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)
    assert sealing.kinds(camera) == []


@pytest.mark.parametrize("dies_at", ["entries", "seal"])
def test_a_disk_that_fills_while_sealing_leaves_no_half_of_a_seal(
    dies_at: str, sealing: SealHarness, made: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 4)
    write = SealFiles._write

    def full(files: SealFiles, name: str, content: bytes) -> None:
        if name.endswith(dies_at):
            raise OSError(28, "No space left on device")
        write(files, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(SealFiles, "_write", full)
        with pytest.raises(OSError, match="No space"):
            sealing.seal(camera, 4)
    assert sealing.files(camera).numbers() == []
    made.record_all(camera, 4, 6)
    made.unwant(camera, 6)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)
    assert sealing.kinds(camera) == []


def test_a_database_that_was_lost_learns_from_the_files_what_is_sealed(
    sealing: SealHarness, camera: Camera, database: Database
) -> None:
    forget_seals(database)
    sealing.made.record_all(camera, 100, 102)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.sealed_paths(camera) == sealing.stored_paths(camera)
    assert sealing.kinds(camera) == []


def forget_seals(database: Database) -> None:
    """Restore a database that knows of no seal."""
    for statement in (
        b"alter table seal disable trigger user",
        b"truncate seal",
        b"alter table seal enable trigger user",
        b"update segment set seal = null",
        b"update gap set seal = null",
    ):
        database.execute(statement)


def test_a_seal_of_another_key_is_believed_only_if_one_of_ours_follows_it(
    sealing: SealHarness, camera: Camera, database: Database, tmp_path: Path
) -> None:
    new = new_key(tmp_path / "new.pem")
    forget_seals(database)
    sealing.made.record_all(camera, 100, 102)
    with pytest.raises(SealingFailed, match="not signed with this key"):
        sealing.seal(camera, 3600, key=new)  # anybody could have put them there
    assert sealing.seal(camera, 3600) == 1
    sealing.made.record_all(camera, 102, 104)
    assert sealing.seal(camera, 3600, key=new) == 1
    forget_seals(database)
    assert sealing.seal(camera, 3600, key=new) == 0
    assert sealing.kinds(camera, keys=[sealing.key, new]) == []


def test_a_chain_that_was_tampered_with_is_not_gone_on_with_by_a_database_that_lost_it(
    sealing: SealHarness, camera: Camera, database: Database
) -> None:
    forget_seals(database)
    flip(a_seal(sealing, camera, 1).with_suffix(".entries"), 50)
    with pytest.raises(SealingFailed, match="entries are not what was signed"):
        sealing.seal(camera, 3600)
    a_seal(sealing, camera, 1).unlink()
    with pytest.raises(SealingFailed, match="does not follow"):
        sealing.seal(camera, 3600)
    a_seal(sealing, camera, 2).write_bytes(b"nothing" * 10_000)
    with pytest.raises(SealingFailed, match="not two lines"):
        sealing.seal(camera, 3600)
    assert sealing.kinds(camera)[:2] == ["seal_missing", "seal_damaged"]


def test_bytes_that_a_database_has_otherwise_do_not_count_as_sealed(
    sealing: SealHarness, camera: Camera, database: Database
) -> None:
    row = sealing.made.rows(camera)[0]
    forget_seals(database)
    other = {"id": row.id, "digest": bytes(32)}
    database.execute(b"update segment set digest = %(digest)s where id = %(id)s", other)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.kinds(camera) == ["file_altered"]


def test_seals_that_were_removed_are_not_made_anew(sealing: SealHarness, camera: Camera) -> None:
    a_seal(sealing, camera, 2).unlink()
    sealing.made.record_all(camera, 100, 102)
    assert sealing.seal(camera, 3600) == 1
    assert sealing.files(camera).numbers() == [0, 1, 3]
    assert sealing.kinds(camera) == ["seal_missing"]


def test_the_table_of_seals_takes_no_change(camera: Camera, database: Database) -> None:
    for statement in (b"update seal set until = now()", b"delete from seal", b"truncate seal"):
        with pytest.raises(StorageUnavailable) as refused:
            database.execute(statement)
        assert isinstance(refused.value.__cause__, psycopg.errors.InsufficientPrivilege)
    row = SealRepository(database).head(camera.id)
    assert row is not None
    assert row.number == 2


def test_a_killed_command_seals_nothing_twice(
    sealing: SealHarness, made: Recordings, shared_url: str, tmp_path: Path
) -> None:
    cameras = [made.camera() for _ in range(6)]
    for one in cameras:
        made.record_all(one, 0, 8)
        made.unwant(one, 8)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DATABASE_URL": shared_url,
        "STREAMWARDEN_RECORD_ROOT": str(made.root),
        "STREAMWARDEN_SEAL_KEY_FILE": str(tmp_path / "seal.pem"),
        "STREAMWARDEN_RETENTION_DAYS": "36500",
    }
    argv = [sys.executable, "-m", "streamwarden", "recordings", "seal"]
    process = subprocess.Popen(argv, env=environ)
    while process.poll() is None and not list(made.root.glob(".seals/*/*.entries*")):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(WITHIN_S)
    subprocess.run(argv, env=environ, check=True, timeout=WITHIN_S)
    for one in cameras:
        assert sealing.sealed_paths(one) == sealing.stored_paths(one)
    assert sealing.kinds() == []
    assert sealing.sealer().cameras() == []


# What retention does


def sweep(sealing: SealHarness, keep_s: float) -> None:
    """Delete recordings older than ``keep_s`` seconds at the clock's time."""
    limits = RetentionLimits(keep_for=timedelta(seconds=keep_s), reserve_bytes=0)
    sweeper = Retention(
        record_root=sealing.made.root,
        limits=limits,
        rules=RulesInForce(
            file=DeletionRulesFile(sealing.made.root / ".streamwarden"),
            limits=limits.rules,
            grace=timedelta(),
            known=lambda: None,
            clock=sealing.clock,
            on_waits=lambda _waits: None,
        ),
        segments=sealing.made.segments,
        gaps=sealing.made.gaps,
        periods=sealing.made.periods,
        on_deleted=lambda _reason, _segments, _size_bytes: None,
        offline=OfflineRetention(
            record_root=sealing.made.root,
            state=sealing.made.root / ".streamwarden",
            waiting_since=lambda: None,
            clock=sealing.clock,
        ),
        announce=sealing.sealer().announce,
    )
    while sweeper.sweep():
        pass


def test_what_retention_deletes_is_signed_away_and_what_others_delete_is_not(
    sealing: SealHarness, camera: Camera
) -> None:
    sealing.made.record(camera, 1000, 1002)
    sealing.seal(camera, 3600)
    sweep(sealing, 3600 - 5)
    assert len(sealing.made.files(camera)) == 9
    assert sealing.kinds(camera) == []
    seal = read_seal(sealing.files(camera).read(4))
    assert (seal.entries, seal.until, seal.from_) == (0, at(3600), at(3600))
    assert seal.removed_until is not None
    assert seal.removed_until >= at(4)
    sealing.made.record(camera, 1010, 1012)
    sealing.seal(camera, 3600)
    assert read_seal(sealing.files(camera).read(5)).removed_until == seal.removed_until
    sealing.made.files(camera)[-1].unlink()
    assert sealing.kinds(camera) == ["file_missing"]


def test_a_camera_whose_recordings_are_all_deleted_verifies_and_keeps_its_statements(
    sealing: SealHarness, camera: Camera
) -> None:
    sweep(sealing, 60)
    assert sealing.made.files(camera) == []
    assert sealing.kinds(camera) == []
    files = sealing.files(camera)
    assert (files.numbers(), files.numbers_of_entries()) == ([0, 1, 2, 3], [])


def test_what_goes_by_age_is_announced_a_day_ahead_by_the_daily_seal(
    sealing: SealHarness, made: Recordings
) -> None:
    sealing.keep_for = timedelta(days=30)
    camera = made.camera()
    made.record_all(camera, 0, 4)
    made.unwant(camera, 4)
    sealing.clock.move_to(30 * 86_400 - 3600)
    sealing.seal(camera, 3600)
    seal = read_seal(sealing.files(camera).read(0))
    assert seal.removed_until == at(-3600 + 25 * 3600)


def test_a_removal_that_could_not_be_signed_is_in_the_next_seal(
    sealing: SealHarness, camera: Camera
) -> None:
    sealer = sealing.sealer(table=Failing(sealing.made.database))
    with pytest.raises(Unavailable):
        sealer.announce(camera.id, at(6))
    # The file was written; Postgres learns of it, and nothing is said twice.
    assert sealing.seal(camera, 3600) == 0
    sealing.made.record_all(camera, 100, 102)
    sealing.seal(camera, 3600)
    assert sealing.kinds(camera) == []


# As commands


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """A command that sends logs to standard error does so to the end of its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def environment(
    sealing: SealHarness,
    shared_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logs_as_before: None,
) -> Path:
    del logs_as_before
    public = tmp_path / "seal.pub"
    public.write_text(sealing.key.public.pem)
    monkeypatch.setenv("DATABASE_URL", shared_url)
    monkeypatch.setenv("STREAMWARDEN_RECORD_ROOT", str(sealing.made.root))
    monkeypatch.setenv("STREAMWARDEN_SEAL_KEY_FILE", str(tmp_path / "seal.pem"))
    monkeypatch.setenv("STREAMWARDEN_RETENTION_DAYS", "36500")
    return public


def test_a_copy_is_verified_without_settings_and_without_a_database(
    sealing: SealHarness,
    camera: Camera,
    environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sealing.made.record_all(camera, 200, 202)
    assert main(["recordings", "seal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sealed": {str(camera.id): 1}}
    assert main(["recordings", "seals", "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["camera_id"], item["number"]) == (str(camera.id), 3)
    for name in ("DATABASE_URL", "STREAMWARDEN_RECORD_ROOT", "STREAMWARDEN_SEAL_KEY_FILE"):
        monkeypatch.delenv(name)
    copy = sealing.made.root.rename(sealing.made.root.with_name("copy"))
    command = ["recordings", "verify", "--signed", "--public-key", str(environment)]
    command += ["--record-root", str(copy), "--head", item["head"]]
    assert main(command) == 0
    assert "complete and unaltered" in capsys.readouterr().err
    flip(next(copy.glob("*/*/2*/*r1-3.mp4")))
    assert main([*command, "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in shown["findings"]] == ["file_altered"]
    assert shown["findings"][0]["path"].endswith("120004.000Z-r1-3.mp4")
    assert shown["proven"][0]["head"] == item["head"]
    assert main([*command, "--quick"]) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--signed"],
        ["--public-key", "seal.pub"],
        ["--signed", "--public-key", "KEY", "--export", "a.mp4"],
        ["--signed", "--public-key", "KEY", "--from", "2026-02-01", "--to", "2026-01-01"],
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    options: list[str], environment: Path
) -> None:
    given = [str(environment) if one == "KEY" else one for one in options]
    assert main(["recordings", "verify", *given]) == 2


def test_a_folder_without_seals_proves_nothing(
    environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recordings", "verify", "--signed", "--public-key", str(environment)]
    assert main([*command, "--record-root", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["kind"] == "not_sealed"


def test_without_a_key_nothing_can_be_sealed_by_hand(
    environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert environment.exists()
    monkeypatch.delenv("STREAMWARDEN_SEAL_KEY_FILE")
    assert main(["recordings", "seal"]) == 1
    assert "STREAMWARDEN_SEAL_KEY_FILE is not set" in capsys.readouterr().err
