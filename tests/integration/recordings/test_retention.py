"""Retention over a real index and real files: what is deleted when, and nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from streamwarden.errors import Unavailable
from streamwarden.model import Camera, Cause, Segment
from streamwarden.paths import STATE, segment_id
from streamwarden.recordings import offline_retention, reconcile, retention
from streamwarden.recordings.deletion_log import DELETION_LOG
from streamwarden.recordings.deletion_rules import DeletionRulesFile, Wait
from streamwarden.recordings.durable import FreeSpace
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.retention import (
    BATCH,
    STUCK_AT_MOST,
    Retention,
    RetentionLimits,
    RulesInForce,
)
from streamwarden.recordings.root_identity import RootFault, RootNotKnown
from streamwarden.recordings.verify import VerifyOptions
from streamwarden.storage.pool import Database
from streamwarden.storage.recording_index import SegmentRepository
from streamwarden.storage.refusals import StorageUnavailable
from tests.fakes.manual_time import ManualClock
from tests.integration.recordings.harness import NOON, Recordings, at

DAY_S = 86_400
GRACE = timedelta(seconds=DAY_S)


class FakeWorld(ManualClock):
    """A clock, a disk and a counter that the test sets."""

    def __init__(self) -> None:
        super().__init__(at(100), 100.0)
        self.free_bytes = 10**12
        self.spare_bytes = 0
        self.counted: list[tuple[str, int, int]] = []
        self.waiting_since: datetime | None = None
        self.deletion_log = Path()
        self.known: datetime | None = None
        self.waits: list[str] = []
        self.floor: list[bool] = []
        self.known_for: int | None = None
        """How often the record root is still the known one; None: always."""

    def require_root(self) -> None:
        if self.known_for is None:
            return
        if self.known_for == 0:
            raise RootNotKnown(RootFault(Cause.RECORD_ROOT_MISSING, "scripted"))
        self.known_for -= 1

    def exports_give_way(self, missing_bytes: int) -> int:
        return min(missing_bytes, self.spare_bytes)

    def noted(self, waits: Collection[Wait]) -> None:
        self.waits = [wait.reason.value for wait in waits]

    def last_floor(self) -> bool:
        return self.floor[-1]

    def deleted(self, reason: str, segments: int, size_bytes: int) -> None:
        self.counted.append((reason, segments, size_bytes))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    world = FakeWorld()
    monkeypatch.setattr(retention, "free_bytes", lambda _root: world.free_bytes)
    return world


@pytest.fixture
def two(made: Recordings) -> tuple[Camera, Camera]:
    """Two cameras that recorded in turns: 0 to 2, 2 to 4 and so on, three segments each."""
    first, second = made.camera(), made.camera(wanted_s=2)
    for start_s in (0, 4, 8):
        made.record(first, start_s, start_s + 2)
        made.record(second, start_s + 2, start_s + 4)
        made.miss(first, start_s + 2, start_s + 4)
        made.miss(second, start_s + 4, start_s + 6)
    return first, second


Make = Callable[..., Retention]


@pytest.fixture
def make(made: Recordings, world: FakeWorld) -> Make:
    state = made.root / STATE
    world.deletion_log = state / DELETION_LOG

    def policy(*, grace: timedelta = GRACE, **limits: object) -> Retention:
        given = {"keep_for": timedelta(days=30), "reserve_bytes": 0} | limits
        given_limits = RetentionLimits(**given)  # type: ignore[arg-type]
        rules = RulesInForce(
            file=DeletionRulesFile(state),
            limits=given_limits.rules,
            grace=grace,
            known=lambda: world.known,
            clock=world,
            on_waits=world.noted,
            on_floor=world.floor.append,
        )
        return Retention(
            record_root=made.root,
            limits=given_limits,
            rules=rules,
            segments=made.segments,
            gaps=made.gaps,
            periods=made.periods,
            on_deleted=world.deleted,
            offline=OfflineRetention(
                record_root=made.root,
                state=state,
                waiting_since=lambda: world.waiting_since,
                clock=world,
                reckoned=rules.now,
                kept_from=(lambda: rules.aged(given_limits.floor)) if given_limits.floor else None,
            ),
            require_root=world.require_root,
            give_way=world.exports_give_way,
        )

    return policy


def finish(policy: Retention) -> int:
    """Sweep until there is nothing more to do."""
    sweeps = 0
    while policy.sweep():
        sweeps += 1
        assert sweeps < 50
    return sweeps


def kept(made: Recordings, *cameras: Camera) -> list[list[float]]:
    """Return where each camera's segments start; rows and files must agree."""
    starts = []
    for camera in cameras:
        rows = made.rows(camera)
        assert [made.root / row.path for row in rows] == made.files(camera)
        starts.append([(row.started_at - NOON).total_seconds() for row in rows])
    return starts


# What


def test_nothing_goes_while_no_limit_is_reached(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    assert finish(make(total_bytes=10**9, camera_bytes=10**9, reserve_bytes=10**11)) == 0
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    assert world.counted == []


def test_what_is_too_old_goes_and_nothing_younger(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    world.move_to(DAY_S + 7)
    finish(make(keep_for=timedelta(days=1)))
    assert kept(made, *two) == [[8], [6, 10]]
    assert [(reason, count) for reason, count, _ in world.counted] == [("age", 3)]
    assert made.verify() == []


def test_over_the_total_quota_the_oldest_of_all_cameras_go_first(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    sizes = [row.size_bytes for camera in two for row in made.rows(camera)]
    rows = sorted((row for camera in two for row in made.rows(camera)), key=lambda r: r.ended_at)
    finish(make(total_bytes=sum(sizes) - sum(row.size_bytes for row in rows[:3])))
    assert kept(made, *two) == [[8], [6, 10]]
    assert {reason for reason, _, _ in world.counted} == {"total_quota"}
    assert made.verify() == []


def test_over_its_own_quota_a_camera_loses_its_oldest_alone(
    made: Recordings, two: tuple[Camera, Camera], make: Make
) -> None:
    made.record_all(two[0], 12, 18)
    sizes = {camera.id: sum(row.size_bytes for row in made.rows(camera)) for camera in two}
    finish(make(camera_bytes=sizes[two[1].id]))
    assert kept(made, *two) == [[12, 14, 16], [2, 6, 10]]
    assert made.verify() == []


def test_below_the_reserve_as_much_goes_as_frees_it_and_no_more(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    first, second = (made.rows(camera)[0].size_bytes for camera in two)
    world.free_bytes = 10**6
    policy = make(reserve_bytes=10**6 + first + 1)
    assert policy.sweep()
    world.free_bytes += first + second  # what the two marked ones will free
    finish(policy)
    assert kept(made, *two) == [[4, 8], [6, 10]]


@pytest.mark.parametrize("spared", [1.0, 0.4])
def test_recordings_make_no_room_for_what_exports_hold_or_give_way(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, spared: float
) -> None:
    first = made.rows(two[0])[0].size_bytes
    before = kept(made, *two)
    world.free_bytes = 10**6
    world.spare_bytes = int(first * spared)
    policy = make(reserve_bytes=10**6 + first)
    assert policy.sweep() is (spared < 1)
    world.free_bytes += first
    finish(policy)
    gone = sum(len(each) for each in before) - sum(len(each) for each in kept(made, *two))
    assert gone == (0 if spared == 1 else 1)


@pytest.fixture
def flooded(made: Recordings) -> tuple[Camera, Camera]:
    """Two cameras: one with three old segments, and one that has recorded ten since."""
    victim, flooder = made.camera(), made.camera(wanted_s=8)
    for start_s in (0, 2, 4):
        made.record(victim, start_s, start_s + 2)
    for number in range(10):
        made.record(flooder, 8 + 2 * number, 10 + 2 * number)
    return victim, flooder


def test_a_flood_costs_no_other_camera_its_recordings(
    made: Recordings, flooded: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    size = made.rows(flooded[1])[0].size_bytes
    world.free_bytes = 10**6
    policy = make(reserve_bytes=10**6 + 2 * size - 10)
    assert policy.sweep()
    world.free_bytes = 10**9
    finish(policy)
    assert kept(made, *flooded) == [[0, 2, 4], list(range(12, 28, 2))]
    assert made.verify() == []


def test_inodes_are_the_flooders_too(
    made: Recordings,
    flooded: tuple[Camera, Camera],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter([1, 10])
    monkeypatch.setattr(
        retention,
        "free_space_of",
        lambda _root: FreeSpace(
            free_bytes=10**9, total_bytes=10**9, free_inodes=next(left, 10), total_inodes=100
        ),
    )
    finish(make(reserve_inodes=4))
    assert kept(made, *flooded) == [[0, 2, 4], list(range(14, 28, 2))]


def test_a_flood_over_the_total_quota_costs_no_other_camera_its_recordings(
    made: Recordings, flooded: tuple[Camera, Camera], make: Make
) -> None:
    total = sum(row.size_bytes for camera in flooded for row in made.rows(camera))
    size = made.rows(flooded[1])[0].size_bytes
    finish(make(total_bytes=total - 2 * size + 10))
    assert kept(made, *flooded) == [[0, 2, 4], list(range(12, 28, 2))]


def test_a_flood_without_an_index_costs_no_other_camera_its_recordings(
    made: Recordings, flooded: tuple[Camera, Camera], away: Make
) -> None:
    blind = away(missing=made.rows(flooded[1])[0].size_bytes + 10)
    assert blind.sweep()
    assert [len(made.files(camera)) for camera in flooded] == [3, 8]


def test_a_reserve_that_nothing_can_free_is_said_once(
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    world: FakeWorld,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.free_bytes = 0
    policy = make(reserve_bytes=10**15)
    finish(policy)
    assert kept(made, *two) == [[], []]
    assert not policy.sweep()
    assert capsys.readouterr().out.count("reserve_out_of_reach") == 1


def test_a_wanted_open_segment_is_never_touched(
    made: Recordings, make: Make, world: FakeWorld
) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    open_file = made.live(camera) / "r1-000001.mp4"
    open_file.write_bytes(b"being written")
    world.free_bytes = 0
    world.move_to(40 * DAY_S)
    finish(make(reserve_bytes=10**15, total_bytes=0, camera_bytes=0))
    assert kept(made, camera) == [[]]
    assert open_file.read_bytes() == b"being written"


def test_more_than_a_batch_goes_in_several(made: Recordings, make: Make, world: FakeWorld) -> None:
    camera = made.camera()
    rows = [_row(camera, number) for number in range(BATCH + 5)]
    made.segments.insert_many(rows)
    world.move_to(40 * DAY_S)
    assert finish(make(grace=timedelta())) == 4
    assert made.rows(camera) == []


def _row(camera: Camera, number: int, path: str | None = None) -> Segment:
    name = f"alice~40home/{camera.id}/2026-01-31/1200{number % 60:02d}.000Z-r1-{number}.mp4"
    return Segment(
        id=segment_id(camera.id, 1, number),
        camera_id=camera.id,
        owner=camera.owner,
        run=1,
        number=number,
        started_at=at(number),
        ended_at=at(number + 1),
        media_ms=1000,
        size_bytes=10,
        path=path or name,
    )


# What is known of it afterwards


def test_gaps_and_wanted_periods_older_than_all_that_is_kept_are_forgotten(
    made: Recordings, make: Make, world: FakeWorld
) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, 100)
    made.unwant(camera, 100)
    made.streams.want(camera, requested_by="bob", at=at(2 * DAY_S))
    made.record(camera, 2 * DAY_S, 2 * DAY_S + 2)
    world.move_to(2 * DAY_S + 10)
    finish(make(keep_for=timedelta(days=1)))
    assert made.ledger(camera) == []
    periods = made.periods.in_range(camera.id, at(-1), at(9 * DAY_S))
    assert [period.started_at for period in periods] == [at(2 * DAY_S)]
    assert made.verify() == []


def test_a_camera_that_was_away_for_longer_than_is_kept_is_not_missed_then(
    made: Recordings, make: Make, world: FakeWorld
) -> None:
    # Its gaps are forgotten and it has no segment to go: its wanted period must begin anew all the same.
    camera = made.camera()
    made.miss(camera, 0, DAY_S)
    made.miss(camera, DAY_S, None)
    world.move_to(2.5 * DAY_S)
    finish(make(keep_for=timedelta(days=1)))
    assert [gap.started_at for gap in made.ledger(camera)] == []
    (gap,) = made.gaps.in_range(camera.id, at(0), at(2.5 * DAY_S))
    assert gap.started_at == at(DAY_S)
    assert made.verify() == []


def test_a_period_is_cut_where_the_deleted_ends(made: Recordings) -> None:
    first, second = made.camera(), made.camera()
    made.unwant(first, 10)
    made.streams.want(first, requested_by="bob", at=at(20))
    made.unwant(first, 30)
    made.streams.want(first, requested_by="bob", at=at(40))

    def periods(camera: Camera) -> list[tuple[datetime, datetime | None]]:
        found = made.periods.in_range(camera.id, at(-1), at(999))
        return [(period.started_at, period.ended_at) for period in found]

    made.periods.trim(first.id, at(10))
    assert periods(first) == [(at(20), at(30)), (at(40), None)]
    made.periods.trim(first.id, at(25))
    made.periods.trim(first.id, at(24))
    assert periods(first) == [(at(25), at(30)), (at(40), None)]
    made.periods.trim(first.id, at(50))
    assert periods(first) == [(at(50), None)]
    assert periods(second) == [(at(0), None)]


def test_an_empty_day_goes_with_its_last_file(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    day = made.files(two[0])[0].parent
    (made.files(two[1])[0].parent / "note.txt").write_text("somebody's")
    world.move_to(40 * DAY_S)
    finish(make())
    assert not day.exists()
    assert (made.folder(two[1]) / day.name / "note.txt").exists()
    assert made.live(two[0]).is_dir()


# Cut off


STEPS: dict[str, tuple[object, str, bool]] = {
    "before marking": (SegmentRepository, "mark_deleting", False),
    "after marking": (SegmentRepository, "mark_deleting", True),
    "before trimming": (Retention, "_trim", False),
    "before unlinking": (Path, "unlink", False),
    "after unlinking": (Path, "unlink", True),
    "before syncing": (offline_retention, "sync_folder", False),
    "after removing the folder": (Path, "rmdir", True),
    "before the row goes": (SegmentRepository, "delete", False),
    "after the row is gone": (SegmentRepository, "delete", True),
}


class Crash(BaseException):
    """The process ends here."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Have the process end before or after one step of a deletion."""
    owner, name, afterwards = STEPS[step]
    real = getattr(owner, name)

    def crashing(*args: object, **kwargs: object) -> None:
        if afterwards:
            real(*args, **kwargs)
        raise Crash(step)

    monkeypatch.setattr(owner, name, crashing)


@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_that_was_cut_off_is_carried_through_and_misses_nothing(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, step: str
) -> None:
    world.move_to(DAY_S + 11)  # all of the first camera's, so that its day becomes empty
    policy = make(keep_for=timedelta(days=1))
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(Crash, match=step):
            finish(policy)
    assert made.verify() == []
    finish(make(keep_for=timedelta(days=1)))
    assert kept(made, *two) == [[], [10]]
    assert made.verify() == []


def test_without_postgres_nothing_is_deleted(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, database: Database
) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none", wait_s=0.1)
    away.open()
    policy = make()
    policy._segments = SegmentRepository(away)
    world.move_to(40 * DAY_S)
    files = [made.files(camera) for camera in two]
    with pytest.raises(Unavailable):
        policy.sweep()
    assert [made.files(camera) for camera in two] == files
    away.close()
    policy._segments = SegmentRepository(database)
    finish(policy)
    assert kept(made, *two) == [[], []]


# Strange rows, strange files


@pytest.mark.parametrize(
    "path",
    [
        "../outside/2026-01-31/120000.000Z-r1-0.mp4",
        "alice~40home/../../outside/2026-01-31/120000.000Z-r1-0.mp4",
        "link/2026-01-31/120000.000Z-r1-0.mp4",
        "inner/2026-01-31/120000.000Z-r1-0.mp4",
        "{outside}/2026-01-31/120000.000Z-r1-0.mp4",
        ".streamwarden/journal.jsonl",
        "alice~40home/{camera}/.live/r1-000000.mp4",
        "",
        ".",
        "..",
    ],
)
def test_a_row_that_is_no_stored_segment_unlinks_nothing(
    made: Recordings, make: Make, world: FakeWorld, tmp_path: Path, path: str
) -> None:
    camera = made.camera()
    outside = tmp_path / "outside"
    precious = outside / "2026-01-31" / "120000.000Z-r1-0.mp4"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"precious")
    (made.root / "link").symlink_to(outside)
    another = made.root / "bob" / "2026-01-31" / "120000.000Z-r1-0.mp4"
    another.parent.mkdir(parents=True)
    another.write_bytes(b"another's")
    (made.root / "inner").symlink_to(made.root / "bob")
    made.live(camera).mkdir(parents=True)
    (made.live(camera) / "r1-000000.mp4").write_bytes(b"being written")
    there = path.format(outside=outside, camera=camera.id)
    made.segments.insert_many([_row(camera, 0, there or " ")])
    policy = make()
    world.deletion_log.touch()
    before = sorted(tmp_path.rglob("*"))
    world.move_to(40 * DAY_S)
    finish(policy)
    assert sorted(tmp_path.rglob("*")) == before
    assert precious.read_bytes() == b"precious"
    assert made.rows(camera) == []


def test_a_file_that_is_gone_already_keeps_nothing_up(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    made.files(two[0])[0].unlink()
    world.move_to(40 * DAY_S)
    finish(make())
    assert kept(made, *two) == [[], []]


def test_one_file_that_cannot_be_unlinked_keeps_no_other(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    stuck = made.files(two[0])[0]
    stuck.unlink()
    stuck.mkdir()
    world.move_to(DAY_S + 7)
    policy = make(keep_for=timedelta(days=1))
    finish(policy)
    assert made.segments.deleting(limit=9)[0].path == str(stuck.relative_to(made.root))
    world.move_to(DAY_S + 9)
    finish(policy)
    assert kept(made, two[1]) == [[10]]
    stuck.rmdir()
    finish(policy)
    assert made.segments.deleting(limit=9) == []


def test_a_disk_that_refuses_everything_has_nothing_more_marked(
    made: Recordings, make: Make, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = made.camera()
    made.segments.insert_many([_row(camera, number) for number in range(3 * STUCK_AT_MOST)])

    def read_only(path: Path, missing_ok: bool = False) -> None:
        del missing_ok
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", read_only)
    world.free_bytes = 0
    policy = make(reserve_bytes=100)
    while not made.segments.deleting(limit=STUCK_AT_MOST + 1)[STUCK_AT_MOST:]:
        assert policy.sweep()
    for _ in range(9):
        with pytest.raises(OSError, match="Read-only"):
            policy.sweep()
    assert len(made.segments.deleting(limit=999)) <= STUCK_AT_MOST + 10
    assert len(made.rows(camera)) >= STUCK_AT_MOST


# In words


def test_what_will_be_deleted_is_said_in_words() -> None:
    said = RetentionLimits(keep_for=timedelta(days=30), reserve_bytes=5 * 1024**3).in_words()
    assert said == (
        "recordings older than 30 days are deleted, "
        "others as well while less than 5.0 GiB of the disk is free, "
        "first those of cameras beyond their share"
    )
    quotas = RetentionLimits(
        keep_for=timedelta(days=7),
        reserve_bytes=0,
        total_bytes=2 * 1024**4,
        camera_bytes=3 * 1024**3 // 2,
    )
    assert quotas.in_words().endswith(
        "or all take more than 2048.0 GiB, or one camera's take more than 1.5 GiB"
    )
    small = RetentionLimits(keep_for=timedelta(days=7), reserve_bytes=0, total_bytes=6 * 1024**2)
    assert small.in_words().endswith("or all take more than 6.0 MiB")


# While Postgres is unavailable


HOUR_S = 3_600


class Away:
    """A table of segments that does not answer."""

    def __getattr__(self, _name: str) -> NoReturn:
        raise StorageUnavailable("the database does not answer", reason="stopped by the test")


@pytest.fixture
def away(make: Make, world: FakeWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Retention]:
    """A policy an hour later, with a disk of which too little is free, and no index."""

    def policy(*, missing: int) -> Retention:
        world.move_to(HOUR_S)
        world.free_bytes = 10**6
        made = make(reserve_bytes=10**6 + missing)
        monkeypatch.setattr(made, "_segments", Away())
        return made

    return policy


def test_without_an_index_the_oldest_files_go_at_the_reserve(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, away: Make
) -> None:
    rows = sorted((row for camera in two for row in made.rows(camera)), key=lambda r: r.started_at)
    blind = away(missing=rows[0].size_bytes + 1)
    assert blind.sweep()
    assert [made.root / row.path for row in rows if not (made.root / row.path).exists()] == [
        made.root / row.path for row in rows[:2]
    ]
    assert world.counted == [("reserve", 2, sum(row.size_bytes for row in rows[:2]))]
    finish(make())
    assert kept(made, *two) == [[4, 8], [6, 10]]
    assert made.verify() == []
    assert world.deletion_log.read_text().split() == []
    assert len(world.counted) == 1


def test_without_an_index_nothing_goes_above_the_reserve(
    made: Recordings, two: tuple[Camera, Camera], world: FakeWorld, away: Make
) -> None:
    blind = away(missing=0)
    world.move_to(100 * DAY_S)  # too old as well: that can wait
    with pytest.raises(Unavailable):
        blind.sweep()
    assert [len(made.files(camera)) for camera in two] == [3, 3]


def test_without_an_index_what_is_young_stays(
    made: Recordings, two: tuple[Camera, Camera], world: FakeWorld, away: Make
) -> None:
    blind = away(missing=10**9)
    world.move_to(607)
    assert blind.sweep()
    with pytest.raises(Unavailable):
        blind.sweep()
    assert [len(made.files(camera)) for camera in two] == [1, 1]


def test_a_row_that_is_still_on_its_way_is_waited_for(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, away: Make
) -> None:
    assert away(missing=1).sweep()
    noted_at = datetime.fromtimestamp(world.deletion_log.stat().st_mtime, UTC)
    world.waiting_since = noted_at - timedelta(seconds=1)
    finish(make())
    assert [len(made.rows(camera)) for camera in two] == [3, 3]
    world.waiting_since = noted_at + timedelta(seconds=1)
    finish(make())
    assert [len(made.rows(camera)) for camera in two] == [2, 3]


def test_a_crash_before_the_file_is_gone_is_carried_through(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld, away: Make
) -> None:
    oldest = made.rows(two[0])[0]
    world.deletion_log.write_text(f"{oldest.path}\n{oldest.path[:-9]}")  # and a name that was torn
    assert away(missing=1).sweep()
    finish(make())
    assert kept(made, *two) == [[4, 8], [2, 6, 10]]
    assert made.verify() == []


def test_a_file_that_cannot_go_keeps_no_other(
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    away: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck, next_ = made.root / made.rows(two[0])[0].path, made.root / made.rows(two[1])[0].path
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(errno.EPERM, "immutable")
        unlink(path, missing_ok=missing_ok)

    blind = away(missing=1)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(Unavailable):
            blind.sweep()
        assert blind.sweep()
    assert stuck.exists()
    assert not next_.exists()
    finish(make())
    assert kept(made, *two) == [[4, 8], [6, 10]]


def test_what_was_deleted_without_an_index_is_not_lost_before_its_rows_are_marked(
    made: Recordings, two: tuple[Camera, Camera], make: Make, away: Make
) -> None:
    oldest, ledgers = made.rows(two[0])[0], [made.ledger(camera) for camera in two]
    assert away(missing=oldest.size_bytes + 1).sweep()
    assert made.verify() == []
    assert made.reconcile() == []
    assert [len(made.rows(camera)) for camera in two] == [3, 3]
    finish(make())
    assert kept(made, *two) == [[4, 8], [6, 10]]
    assert [made.ledger(camera) for camera in two] == ledgers
    assert made.verify() == []


def test_what_somebody_else_removed_meanwhile_is_lost(
    made: Recordings, two: tuple[Camera, Camera], away: Make
) -> None:
    lost = made.rows(two[1])[1]
    assert away(missing=1).sweep()
    (made.root / lost.path).unlink()
    assert [found.path for found in made.verify()] == [lost.path]


def test_a_deletion_that_is_written_down_while_we_look_is_known(
    made: Recordings, two: tuple[Camera, Camera], away: Make
) -> None:
    looking, scope, blind = (
        reconcile.verifier(made.root, made.database),
        VerifyOptions(to=at(3600)),
        away(missing=1),
    )
    assert blind.sweep()
    assert list(looking.verify(two[0].id, scope)) == []
    assert blind.sweep()
    assert len(made.files(two[1])) == 2
    assert list(looking.verify(two[1].id, scope)) == []


@pytest.mark.parametrize("step", ["before marking", "after marking", "before trimming"])
def test_whoever_looks_between_two_steps_of_it_misses_nothing(
    made: Recordings, two: tuple[Camera, Camera], make: Make, away: Make, step: str
) -> None:
    oldest, ledgers = made.rows(two[0])[0], [made.ledger(camera) for camera in two]
    assert away(missing=oldest.size_bytes + 1).sweep()
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(Crash, match=step):
            finish(make())
    assert made.reconcile() == []
    finish(make())
    assert kept(made, *two) == [[4, 8], [6, 10]]
    assert [made.ledger(camera) for camera in two] == ledgers
    assert made.verify() == []


# A record root that is not the known one


def test_nothing_is_deleted_from_a_root_that_is_not_the_known_one(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    before = kept(made, *two)
    world.known_for = 0
    with pytest.raises(RootNotKnown):
        make(keep_for=timedelta(0)).sweep()
    world.known_for = None
    assert kept(made, *two) == before


def test_a_root_that_goes_during_a_sweep_costs_no_row(
    made: Recordings, make: Make, world: FakeWorld
) -> None:
    made.record(made.camera(), 0, 2)
    sweeper = make(keep_for=timedelta(0))
    assert sweeper.sweep()  # marks
    marked = made.segments.deleting(limit=100)
    world.known_for = 1
    away = made.root.rename(made.root.with_name("away"))
    with pytest.raises(RootNotKnown):
        sweeper.sweep()
    away.rename(made.root)
    assert made.segments.deleting(limit=100) == marked


# The floor


def test_the_reserve_takes_nothing_that_is_younger_than_the_floor(
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    world: FakeWorld,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.free_bytes = 0
    world.move_to(HOUR_S + 7)
    policy = make(reserve_bytes=10**15, floor=timedelta(hours=1))
    finish(policy)
    policy.sweep()
    assert kept(made, *two) == [[8], [6, 10]]
    assert world.last_floor() is True
    said = capsys.readouterr().out
    assert said.count("retention_floor_reached") == 1
    assert "reserve_out_of_reach" not in said
    world.move_to(HOUR_S + 11)
    finish(policy)
    assert kept(made, *two) == [[], [10]]
    world.free_bytes = 10**16
    policy.sweep()
    assert world.last_floor() is False


def test_a_clock_that_is_ahead_takes_nothing_of_the_floor(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    policy = make(reserve_bytes=10**15, floor=timedelta(hours=1))
    finish(policy)
    world.free_bytes = 0
    world.step_wall(40 * DAY_S)
    finish(policy)
    assert world.last_floor() is True
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]


def test_without_an_index_the_floor_stays_as_well(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    rows = sorted((row for camera in two for row in made.rows(camera)), key=lambda r: r.started_at)
    for row in rows:
        os.utime(made.root / row.path, (row.ended_at.timestamp(),) * 2)
    world.move_to(HOUR_S + 7)
    world.free_bytes = 0
    blind = make(reserve_bytes=10**15, floor=timedelta(hours=1))
    blind._segments = Away()  # type: ignore[assignment]
    assert blind.sweep()
    assert world.last_floor() is False
    with pytest.raises(Unavailable):
        blind.sweep()
    assert world.last_floor() is True
    assert [len(made.files(camera)) for camera in two] == [1, 2]
    copied = made.root / rows[3].path
    os.utime(copied)  # its end is not known any more
    world.move_to(HOUR_S + 60)
    with pytest.raises(Unavailable):
        blind.sweep()
    assert copied.exists()
    world.move_to(3 * HOUR_S + 60)
    assert blind.sweep()
    assert not copied.exists()


def test_a_flood_has_no_floor(made: Recordings, make: Make, world: FakeWorld) -> None:
    victim, flooder = made.camera(), made.camera(wanted_s=8)
    made.record_all(victim, 0, 6)
    flood = [made.record(flooder, 8 + 0.25 * n, 8.25 + 0.25 * n) for n in range(10)]
    world.free_bytes = 0
    policy = make(reserve_bytes=2 * flood[0].stat().st_size - 100, floor=timedelta(hours=1))
    assert policy.sweep()
    world.free_bytes = 10**9
    finish(policy)
    assert kept(made, victim)[0] == [0, 2, 4]
    assert len(made.rows(flooder)) == 8
    world.free_bytes = 0
    finish(policy)  # down to its share
    assert kept(made, victim)[0] == [0, 2, 4]
    assert world.last_floor() is True


# Inodes


def few_inodes(monkeypatch: pytest.MonkeyPatch, made: Recordings, *, limit: int) -> None:
    """Let the disk hold so many segments."""

    def space(_root: Path) -> FreeSpace:
        files = len(list(made.root.glob("*/*/*/*.mp4")))
        return FreeSpace(
            free_bytes=10**12, total_bytes=10**12, free_inodes=limit - files, total_inodes=limit
        )

    monkeypatch.setattr(retention, "free_space_of", space)


def test_inodes_are_kept_in_reserve_as_bytes_are(
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    world: FakeWorld,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_inodes(monkeypatch, made, limit=8)
    finish(make(reserve_inodes=4))
    assert kept(made, *two) == [[4, 8], [6, 10]]
    assert [reason for reason, *_ in world.counted] == ["reserve"]


def test_without_the_index_the_oldest_files_go_for_their_inodes(
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    world: FakeWorld,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few_inodes(monkeypatch, made, limit=8)
    world.advance(3600)
    policy = make(reserve_inodes=4)
    monkeypatch.setattr(made.segments, "deleting", _away)
    assert policy.sweep()
    assert sum(len(made.files(camera)) for camera in two) == 4


def _away(**_: object) -> NoReturn:
    raise Unavailable("scripted: Postgres is away")


# What waits


def aged(make: Make, world: FakeWorld, **limits: object) -> Retention:
    """Return a retention that has run on the present clock, and is restarted with other limits."""
    finish(make())
    world.advance(60)
    return make(**limits)


def test_a_clock_that_is_ahead_for_a_while_deletes_nothing(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    policy = make()
    finish(policy)
    world.step_wall(40 * DAY_S)
    world.advance(12)
    finish(policy)
    assert world.waits == ["clock"]
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    assert made.ledger(two[0])
    finish(make())
    world.step_wall(-40 * DAY_S)
    finish(policy)
    assert world.waits == []
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]


def test_a_clock_that_stays_ahead_is_believed_after_the_grace_time(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    policy = make()
    finish(policy)
    # The machine was off: another boot, in which the monotonic clock begins anew.
    world.boot, world.monotonic_s = "another boot", 5.0
    world.step_wall(40 * DAY_S)
    finish(policy)
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    world.advance(DAY_S - 10)
    finish(policy)
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    world.advance(20)
    finish(policy)
    assert kept(made, *two) == [[], []]
    assert world.waits == []


def test_a_first_boot_without_a_clock_deletes_nothing_once_the_clock_is_right(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    world.move_to(-10)
    policy = make()
    finish(policy)
    world.move_to(100)
    world.step_wall(10 * 365 * DAY_S)
    for _ in range(3):
        world.advance(DAY_S)
        finish(policy)
    assert world.waits == []
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    world.advance(30 * DAY_S)
    finish(policy)
    assert kept(made, *two) == [[], []]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"keep_for": timedelta(seconds=60)}, "age"),
        ({"total_bytes": 0}, "total_quota"),
        ({"camera_bytes": 0}, "camera_quota"),
    ],
)
def test_a_limit_that_deletes_more_waits_a_day(  # noqa: PLR0917 - a case a column
    made: Recordings,
    two: tuple[Camera, Camera],
    make: Make,
    world: FakeWorld,
    limits: dict[str, object],
    reason: str,
) -> None:
    policy = aged(make, world, **limits)
    finish(policy)
    assert world.waits == [reason]
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    world.advance(DAY_S - 100)
    finish(make(**limits))
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]
    world.advance(200)
    finish(make(**limits))
    assert kept(made, *two) == [[], []]


def test_an_operator_confirms_what_waits(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    policy = aged(make, world, keep_for=timedelta(seconds=60))
    finish(policy)
    file = DeletionRulesFile(made.root / STATE)
    rules = file.read()
    assert rules is not None
    file.confirm(rules.waits())
    finish(policy)
    assert world.waits == []
    assert kept(made, *two) == [[], []]


@pytest.mark.usefixtures("two")
def test_the_reserve_waits_for_nothing(make: Make, world: FakeWorld) -> None:
    policy = aged(make, world, reserve_bytes=1)
    world.step_wall(40 * DAY_S)
    world.free_bytes = 0
    policy.sweep()
    assert [reason for reason, _, _ in world.counted] == ["reserve"]


def test_a_lost_state_and_a_wrong_clock_together_delete_nothing(
    made: Recordings, two: tuple[Camera, Camera], make: Make, world: FakeWorld
) -> None:
    world.known = world.now()
    world.step_wall(400 * DAY_S)
    finish(make())
    assert kept(made, *two) == [[0, 4, 8], [2, 6, 10]]


def test_an_age_that_would_take_most_at_once_waits(
    made: Recordings, make: Make, world: FakeWorld
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 60)
    world.move_to(31 * DAY_S)
    policy = make()
    finish(policy)
    assert world.waits == ["share"]
    assert len(made.rows(camera)) == 30
    world.advance(DAY_S + 5)
    finish(policy)
    assert made.rows(camera) == []
