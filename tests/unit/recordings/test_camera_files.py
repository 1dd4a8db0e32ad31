from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamwarden.model import Cause
from streamwarden.recordings import camera_files, gap_ledger, segment_store
from streamwarden.recordings.camera_files import CannotStore, SegmentVanished
from streamwarden.recordings.durable import FreeSpace
from streamwarden.recordings.gap_ledger import Ledger, decode_ledger, encode_ledger
from tests.unit.actors.recorder_harness import at
from tests.unit.recordings.camera_files_harness import (
    CAMERA,
    SECOND,
    CameraFilesHarness,
    torn,
    whole,
)


def recording(start_s: float = 0) -> Ledger:
    """A ledger that is covered up to a moment, with no gap open."""
    ledger, _ = gap_ledger.wanted(Ledger(), at(start_s))
    ledger, _ = gap_ledger.stored(ledger, at(start_s), at(start_s))
    return ledger


# A new camera


def test_a_camera_that_was_never_recorded_has_an_empty_folder_and_no_ledger(
    files_harness: CameraFilesHarness,
) -> None:
    opened = files_harness.files().open(())
    assert files_harness.live().is_dir()
    assert opened.ledger == Ledger()
    assert (opened.last_run, opened.first_time, opened.last_segment) == (0, True, None)


def test_only_the_first_opening_since_the_servers_start_says_so(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.serve(alive_until=at(50))
    first, second = files_harness.files().open(()), files_harness.files().open(())
    assert (first.first_time, first.alive_until) == (True, at(50))
    assert (second.first_time, second.alive_until) == (False, None)


def test_there_is_one_object_a_camera_and_owner(files_harness: CameraFilesHarness) -> None:
    files = files_harness.files()
    assert files_harness.files() is files
    assert files_harness.files("anna") is not files


# Runs


def test_a_runs_number_is_on_disk_before_it_begins(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open(())
    assert files_harness.files().next_run() == (files_harness.live(), 1)
    assert files_harness.files().next_run() == (files_harness.live(), 2)
    files_harness.serve()
    assert files_harness.files().open(()).last_run == 2
    assert files_harness.files().next_run()[1] == 3


def test_a_lost_run_file_is_made_good_from_the_recordings(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.write(7, 0)
    files_harness.files().publish(whole(7, 0, 0, 30))
    (files_harness.live() / "run").unlink()
    assert files_harness.files().next_run()[1] == 8
    (files_harness.live() / "run").write_text("nonsense")
    assert files_harness.files().next_run()[1] == 8


def test_a_run_is_never_below_those_of_the_index(files_harness: CameraFilesHarness) -> None:
    files_harness.ends.run = 41
    assert files_harness.files().open(()).last_run == 41
    assert files_harness.files().next_run()[1] == 42
    (files_harness.live() / "run").unlink()
    files_harness.ends.run = 60
    assert files_harness.files().next_run()[1] == 61


def test_a_lost_run_file_without_postgres_is_made_good_by_the_time(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.ends.run = None
    assert files_harness.files().next_run()[1] == 1  # the note is there
    (files_harness.live() / "run").unlink()
    minutes = int(files_harness.clock.now().timestamp() // 60)
    assert files_harness.files().next_run()[1] == minutes + 1


def test_without_an_inode_no_run_begins(
    files_harness: CameraFilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_harness.files().open(())
    space = FreeSpace(free_bytes=2**40, total_bytes=2**41, free_inodes=3, total_inodes=1000)
    monkeypatch.setattr(camera_files, "free_space_of", lambda _: space)
    with pytest.raises(CannotStore, match="inode") as refusal:
        files_harness.files().next_run()
    assert refusal.value.cause is Cause.DISK_FULL
    unlimited = replace(space, free_inodes=0, total_inodes=0)  # btrfs
    monkeypatch.setattr(camera_files, "free_space_of", lambda _: unlimited)
    assert files_harness.files().next_run()[1] == 1


def test_no_run_is_given_the_number_of_one_that_lives(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open({4, 9})
    assert files_harness.files().next_run()[1] == 10


def test_a_new_owner_goes_on_with_the_cameras_run_numbers(
    files_harness: CameraFilesHarness,
) -> None:
    for owner, run in (("otto", 1), ("anna", 2), ("otto", 3)):
        files = files_harness.files(owner)
        files.open(())
        assert files.next_run()[1] == run
        files_harness.write(run, 0, owner=owner)
        files.publish(whole(run, 0, 30 * run, 30 * run + 30))
    assert len({row.id for row in files_harness.rows()}) == 3
    assert [row.owner for row in files_harness.rows()] == ["otto", "anna", "otto"]


def test_without_room_no_run_begins(
    files_harness: CameraFilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_harness.files().open(())
    monkeypatch.setattr(camera_files, "_MIN_FREE_BYTES", 2**62)
    with pytest.raises(CannotStore) as refusal:
        files_harness.files().next_run()
    assert refusal.value.cause is Cause.DISK_FULL


# Segments


def test_a_finished_segment_gets_its_place_its_row_and_its_count(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    source = files_harness.write(1, 1, seconds=30)
    size = source.stat().st_size
    stored = files_harness.files().publish(whole(1, 1, 0.125, 30.25))
    assert stored is not None
    assert stored.row.size_bytes == size
    assert (stored.row.started_at, stored.row.ended_at) == (at(0.125), at(30.25))
    (row,) = files_harness.rows()
    assert row.path == f"otto/{CAMERA}/1970-01-01/001640.125Z-r1-1.mp4"
    assert (files_harness.root / row.path).stat().st_size == size
    assert (row.media_ms, row.salvaged, row.run, row.number) == (30_000, False, 1, 1)
    assert (row.owner, row.camera_id) == ("otto", CAMERA)
    assert not source.exists()
    assert files_harness.metrics.segments == [(30.0, 30.125, size, at(30.25).timestamp())]


def test_storing_again_writes_the_same_row_and_counts_nothing(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0)
    first = files_harness.files().publish(whole(1, 0, 0, 30))
    assert files_harness.files().publish(whole(1, 0, 0, 30)) == first
    one, two = files_harness.rows()
    assert one == two
    assert len(files_harness.metrics.segments) == 1


def test_a_segment_whose_place_is_taken_is_kept_aside_and_holds_up_nothing(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    source = files_harness.write(1, 1)
    taken = files_harness.root / f"otto/{CAMERA}/1970-01-01/001640.000Z-r1-1.mp4"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody else's")

    assert files_harness.files().publish(whole(1, 1, 0, 30)) is None

    assert taken.read_bytes() == b"somebody else's"
    assert not source.exists()
    assert source.with_suffix(".mp4.aside").exists()
    assert files_harness.rows() == []


def test_a_torn_segment_is_cut_and_marked(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0, seconds=2, torn=SECOND[:-9])
    stored = files_harness.files().publish(torn(1, 0, None, 30))
    assert stored is not None
    assert (stored.row.started_at, stored.row.ended_at) == (at(28), at(30))
    (row,) = files_harness.rows()
    assert (row.salvaged, row.media_ms) == (True, 2000)


def test_a_torn_segment_without_a_whole_fragment_leaves_nothing(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    path = files_harness.write(1, 0, seconds=0, torn=SECOND[:20])
    assert files_harness.files().publish(torn(1, 0, 0, 30)) is None
    assert not path.exists()
    assert files_harness.rows() == []
    assert files_harness.metrics.segments == []


def test_a_file_that_has_vanished_is_no_segment(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open(())
    with pytest.raises(SegmentVanished):
        files_harness.files().publish(whole(1, 0, 0, 30))
    assert files_harness.rows() == []


def test_a_length_that_the_index_cannot_hold_is_cut(
    files_harness: CameraFilesHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_store, "MAX_MEDIA_MS", 1500)
    files_harness.files().open(())
    files_harness.write(1, 0, seconds=3)
    files_harness.files().publish(whole(1, 0, 0, 3))
    assert [row.media_ms for row in files_harness.rows()] == [1500]


REFUSALS = [
    (errno.ENOSPC, Cause.DISK_FULL),
    (errno.EDQUOT, Cause.DISK_FULL),
    (errno.EROFS, Cause.RECORD_ROOT_READ_ONLY),
    (errno.EACCES, Cause.NOT_WRITABLE),
    (errno.EIO, Cause.NOT_WRITABLE),
]


@pytest.mark.parametrize(("number", "cause"), REFUSALS)
@pytest.mark.parametrize("call", ["open", "next_run", "store", "note"])
def test_what_the_disk_refuses_is_named_and_loses_nothing(
    files_harness: CameraFilesHarness,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    cause: Cause,
) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0)
    calls: dict[str, Callable[[], object]] = {
        "open": lambda: files_harness.files().open(()),
        "next_run": files_harness.files().next_run,
        "store": lambda: files_harness.files().publish(whole(1, 0, 0, 30)),
        "note": lambda: files_harness.files().write_ledger(Ledger(), ()),
    }

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "scripted")

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "fsync", refuse)
        refusing.setattr(Path, "replace", refuse)
        with pytest.raises(CannotStore) as refusal:
            calls[call]()
    assert refusal.value.cause is cause
    if call == "open":
        files_harness.files().open(())
    else:
        assert files_harness.files().publish(whole(1, 0, 0, 30)) is not None
    assert {(row.run, row.number) for row in files_harness.rows()} == {(1, 0)}


# The ledger


@pytest.mark.parametrize("gap", [True, False])
def test_the_ledger_survives_the_server(files_harness: CameraFilesHarness, gap: bool) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0)
    files_harness.files().publish(whole(1, 0, 0, 30))
    ledger = recording(30)
    changes: tuple[gap_ledger.GapChange, ...] = ()
    if gap:
        ledger, changes = gap_ledger.lost(ledger, Cause.STALLED, at(31))
    files_harness.files().write_ledger(ledger, changes)
    files_harness.serve()
    opened = files_harness.files().open(())
    assert opened.ledger == ledger
    assert opened.last_segment is not None
    assert opened.last_segment.ended_at == at(30)
    assert files_harness.files().read_ledger() == ledger


def test_gaps_go_to_the_journal_and_a_void_one_as_nothing(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    ledger, opened = gap_ledger.lost(recording(30), Cause.STALLED, at(31))
    files_harness.files().write_ledger(ledger, opened)
    ledger, void = gap_ledger.stored(ledger, at(29), at(60))
    files_harness.files().write_ledger(ledger, void)
    one, two = files_harness.gaps()
    assert (one.started_at, one.ended_at, one.cause) == (at(30), None, "stalled")
    assert (two.id, two.started_at, two.ended_at) == (one.id, at(30), at(30))


def test_closing_the_ledger_of_a_run_that_still_writes_touches_no_file(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    path = files_harness.write(1, 0)
    files_harness.files().read_ledger()
    assert path.exists()
    assert files_harness.rows() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b"\xff",
        b'{"covered_until": 7, "gap": null, "last_segment": null}',
        b'{"covered_until": "yesterday", "gap": null, "last_segment": null}',
        b'{"covered_until": null, "gap": {"id": 7}, "last_segment": null}',
        b'{"covered_until": null, "gap": null, "last_segment": {"started_at": null}}',
    ],
)
def test_a_ledger_that_cannot_be_read_is_rebuilt_from_the_recordings(
    files_harness: CameraFilesHarness, content: bytes
) -> None:
    files_harness.files().open(())
    (files_harness.live() / "ledger.json").write_bytes(content)
    opened = files_harness.files().open(())
    assert (opened.ledger, opened.rebuilt) == (Ledger(), True)
    for number, start_s in ((0, 87), (1, 90)):
        files_harness.write(1, number, seconds=3)
        files_harness.files().publish(whole(1, number, start_s, start_s + 3))
    (files_harness.live() / "ledger.json").write_bytes(content)
    opened = files_harness.files().open(())
    assert (opened.ledger, opened.rebuilt) == (Ledger(covered_until=at(93)), True)
    files_harness.files().write_ledger(recording(95), ())
    assert not files_harness.files().open(()).rebuilt


@pytest.mark.parametrize("lost", ["missing", "empty"])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_lost_ledger_goes_on_where_the_newest_segment_ends(
    files_harness: CameraFilesHarness, lost: str, indexed: bool
) -> None:
    files_harness.files().open(())
    files_harness.files().write_ledger(recording(60), ())
    for number, start_s in ((0, 57), (1, 60.4)):
        files_harness.write(1, number, seconds=3)
        files_harness.files().publish(whole(1, number, start_s, start_s + 3.4))
    if lost == "missing":
        (files_harness.live() / "ledger.json").unlink()
    else:
        (files_harness.live() / "ledger.json").write_bytes(b"")
    if indexed:
        files_harness.indexed.update({row.id: row.ended_at for row in files_harness.rows()})
    files_harness.serve()
    expected = Ledger(covered_until=at(63.8 if indexed else 63.4))
    assert files_harness.files().read_ledger() == expected
    opened = files_harness.files().open(())
    assert (opened.ledger, opened.rebuilt) == (expected, True)


def test_a_camera_without_recordings_has_lost_no_ledger(files_harness: CameraFilesHarness) -> None:
    assert files_harness.files().read_ledger() == Ledger()
    assert not files_harness.files().open(()).rebuilt


def test_a_ledger_comes_out_as_it_went_in() -> None:
    ledger, _ = gap_ledger.lost(recording(1.234), Cause.CLOCK_STEP, at(9))
    assert decode_ledger(encode_ledger(ledger, None)) == (ledger, None)
    assert decode_ledger(encode_ledger(Ledger(), None)) == (Ledger(), None)
    later, _ = gap_ledger.stored(ledger, at(50), at(60))
    assert later.closed
    assert decode_ledger(encode_ledger(later, None)) == (later, None)


def test_a_ledger_of_a_version_that_remembered_no_closed_gaps_is_read() -> None:
    fields = json.loads(encode_ledger(Ledger(covered_until=at(30)), None))
    del fields["closed"]
    found, _ = decode_ledger(json.dumps(fields).encode())
    assert found == Ledger(covered_until=at(30))


# What an earlier server has left


def test_what_a_killed_server_has_left_is_stored_and_accounted_for(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.files().next_run()
    files_harness.files().write_ledger(recording(90), ())
    files_harness.write(1, 3, seconds=10, torn=SECOND[:-3], flushed_s=100)
    files_harness.serve(alive_until=at(101))
    opened = files_harness.files().open(())
    (row,) = files_harness.rows()
    assert (row.started_at, row.ended_at, row.salvaged) == (at(90), at(100), True)
    assert opened.ledger == Ledger(covered_until=at(100))
    assert opened.last_segment is not None
    assert opened.last_segment.ended_at == at(100)
    assert opened.last_run == 1
    assert list(files_harness.live().glob("*.mp4")) == []


def test_a_leftover_that_follows_with_a_rounding_joins_the_segment_before(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.files().write_ledger(recording(88.5), ())
    files_harness.write(1, 3, seconds=10, flushed_s=100)
    assert files_harness.files().open(()).ledger.gap is None
    assert [row.started_at for row in files_harness.rows()] == [at(88.5)]


def test_a_leftover_that_begins_later_leaves_the_hole_to_the_ledger(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    ledger, changes = gap_ledger.lost(recording(30), Cause.SOURCE_OFFLINE, at(31))
    files_harness.files().write_ledger(ledger, changes)
    files_harness.write(2, 0, seconds=10, flushed_s=100)
    files_harness.files().open(())
    closed = files_harness.gaps()[-1]
    assert (closed.started_at, closed.ended_at, closed.cause) == (at(30), at(90), "source_offline")


def test_a_leftover_whose_time_stamps_have_jumped_is_not_dated_hours_back(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.files().write_ledger(recording(98), ())
    files_harness.write(1, 0, seconds=3000, flushed_s=100)
    files_harness.files().open(())
    assert [(row.started_at, row.ended_at) for row in files_harness.rows()] == [(at(88), at(100))]


def test_a_torn_first_segment_whose_time_stamps_have_jumped_is_not_dated_hours_back(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    files_harness.write(1, 0, seconds=3000)
    files_harness.files().publish(torn(1, 0, 88, 100))
    files_harness.write(2, 0, seconds=3)
    files_harness.files().publish(torn(2, 0, 88, 100))
    assert [row.started_at for row in files_harness.rows()] == [at(88), at(97)]


def test_what_a_living_run_writes_is_no_leftover(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open(())
    path = files_harness.write(5, 0)
    files_harness.write(4, 0)
    files_harness.files().open({5})
    assert path.exists()
    assert [row.run for row in files_harness.rows()] == [4]


def test_leftovers_are_stored_in_the_order_in_which_they_were_recorded(
    files_harness: CameraFilesHarness,
) -> None:
    files_harness.files().open(())
    for run, number, flushed_s in [(10, 0, 90), (9, 1, 60), (9, 0, 30)]:
        files_harness.write(run, number, flushed_s=flushed_s)
    files_harness.files().open(())
    assert [(row.run, row.number) for row in files_harness.rows()] == [(9, 0), (9, 1), (10, 0)]


def test_a_leftover_that_holds_nothing_is_cleared_away(files_harness: CameraFilesHarness) -> None:
    files_harness.files().open(())
    path = files_harness.write(3, 0, seconds=0, torn=SECOND[:5])
    assert files_harness.files().open(()).last_run == 3
    assert not path.exists()
    assert files_harness.rows() == []


def test_a_camera_that_was_forgotten_is_opened_as_new(files_harness: CameraFilesHarness) -> None:
    files = files_harness.files()
    files.open(())
    files_harness.store.forget(CAMERA)
    assert files_harness.files() is not files
    assert files_harness.files().open(()).first_time
