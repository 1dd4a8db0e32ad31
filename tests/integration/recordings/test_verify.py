"""``recordings verify`` over real files and a real index: each kind of loss is found and placed."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from streamwarden.ffmpeg.command import find_ffmpeg
from streamwarden.ffmpeg.jobs import decode
from streamwarden.model import Camera, Gap
from streamwarden.recordings.reconcile import verifier
from streamwarden.recordings.verify import Finding, FindingKind, VerifyOptions
from streamwarden.storage.recording_index import GapRepository
from tests.integration.recordings.harness import Recordings, at

PLAYED = VerifyOptions(to=at(3600), decode=partial(decode, find_ffmpeg(None)))


@pytest.fixture
def camera(made: Recordings) -> Camera:
    """A camera with a start, three segments, an outage, three segments of another run, and a stop."""
    camera = made.camera()
    made.miss(camera, 0, 1)
    made.record_all(camera, 1, 7)
    made.next_run(camera)
    made.miss(camera, 7, 10)
    made.record_all(camera, 10, 16)
    made.unwant(camera, 16)
    return camera


def one(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def place(finding: Finding) -> tuple[float, float | None]:
    """Return where a finding is, in seconds after noon."""
    start = (finding.started_at - at(0)).total_seconds()
    ended_at = finding.ended_at
    return start, None if ended_at is None else (ended_at - at(0)).total_seconds()


@pytest.mark.usefixtures("camera")
def test_where_every_second_is_accounted_for_nothing_is_found(made: Recordings) -> None:
    assert made.verify() == []
    assert made.verify(scope=PLAYED) == []


def test_an_empty_record_root_is_in_order(made: Recordings) -> None:
    assert made.verify() == []


# Bytes


def test_a_file_that_was_cut_short_is_named(made: Recordings, camera: Camera) -> None:
    path = made.files(camera)[1]
    os.truncate(path, path.stat().st_size - 1)
    found = one(made.verify(camera))
    assert found.kind is FindingKind.FILE_CUT_SHORT
    assert found.path == str(path.relative_to(made.root))
    assert place(found) == (3, 5)
    assert f"instead of {path.stat().st_size + 1}" in found.detail


def test_a_file_that_grew_is_named(made: Recordings, camera: Camera) -> None:
    path = made.files(camera)[0]
    path.write_bytes(path.read_bytes() + b"\0")
    found = one(made.verify(camera))
    assert (found.kind, found.path) == (FindingKind.FILE_GROWN, str(path.relative_to(made.root)))


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_flipped_bit_is_found(made: Recordings, camera: Camera, where: str) -> None:
    path = made.files(camera)[2]
    size = path.stat().st_size
    flip(path, {"first": 0, "middle": size // 2, "last": size - 1}[where])
    found = one(made.verify(camera))
    assert (found.kind, found.path) == (FindingKind.BYTES_CHANGED, str(path.relative_to(made.root)))


def test_a_quick_look_reads_no_bytes(made: Recordings, camera: Camera) -> None:
    path = made.files(camera)[2]
    flip(path, 5000)
    assert made.verify(camera, scope=VerifyOptions(to=at(3600), digests=False)) == []
    os.truncate(path, 5000)
    assert made.verify(camera, scope=VerifyOptions(to=at(3600), digests=False)) != []


def test_decoding_finds_what_was_broken_before_it_was_digested(
    made: Recordings, clips: list[Path], tmp_path: Path
) -> None:
    broken = bytearray(clips[0].read_bytes())
    middle = len(broken) // 2
    broken[middle : middle + 400] = os.urandom(400)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(broken)
    other = Recordings(tmp_path / "other", made.database, [bad])
    victim = other.camera()
    path = other.record(victim, 0, 2)
    assert other.verify(victim) == []
    found = one(other.verify(victim, scope=PLAYED))
    assert (found.kind, found.path) == (
        FindingKind.FILE_UNREADABLE,
        str(path.relative_to(other.root)),
    )
    assert found.detail
    other.close()


# Rows and files


def test_a_row_that_was_removed_is_found_by_its_file(made: Recordings, camera: Camera) -> None:
    row = made.rows(camera)[1]
    made.forget_rows(row.id)
    found = made.verify(camera)
    assert {one.kind for one in found} == {FindingKind.ROW_MISSING, FindingKind.SECOND_MISSING}
    by_kind = {one.kind: one for one in found}
    assert by_kind[FindingKind.ROW_MISSING].path == row.path
    assert place(by_kind[FindingKind.ROW_MISSING]) == (3, None)
    assert place(by_kind[FindingKind.SECOND_MISSING]) == (3, 5)


def test_a_file_that_was_removed_is_found_by_its_row(made: Recordings, camera: Camera) -> None:
    path = made.files(camera)[4]
    path.unlink()
    found = one(made.verify(camera))
    assert (found.kind, found.path) == (FindingKind.FILE_MISSING, str(path.relative_to(made.root)))
    assert place(found) == (12, 14)


def test_a_whole_folder_that_was_removed_is_found(made: Recordings, camera: Camera) -> None:
    made.folder(camera).rename(made.root / "elsewhere")
    found = made.verify()
    assert [one.kind for one in found] == [FindingKind.FILE_MISSING] * 6


def test_a_link_in_the_place_of_a_file_is_not_taken_for_it(
    made: Recordings, camera: Camera, tmp_path: Path
) -> None:
    path = made.files(camera)[0]
    path.rename(tmp_path / "moved.mp4")
    path.symlink_to(tmp_path / "moved.mp4")
    assert one(made.verify(camera)).kind is FindingKind.FILE_UNREADABLE


# Seconds


@pytest.mark.parametrize("missing_s", [1.0, 0.6])
def test_a_second_left_out_between_two_segments_is_found(
    made: Recordings, missing_s: float
) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.record(camera, 2 + missing_s, 5)
    found = one(made.verify(camera))
    assert found.kind is FindingKind.SECOND_MISSING
    assert place(found) == (2, 2 + missing_s)
    assert f"{missing_s:.3f} s" in found.detail


def test_what_is_only_rounding_is_no_loss(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0.2, 2)
    made.record(camera, 2.4, 5)
    made.unwant(camera, 5.3)
    assert made.verify(camera) == []


def test_a_second_before_the_first_segment_and_one_before_the_stop_are_found(
    made: Recordings,
) -> None:
    camera = made.camera()
    made.record(camera, 1, 4)
    made.unwant(camera, 6)
    assert [place(found) for found in made.verify(camera)] == [(0, 1), (4, 6)]


def test_what_was_never_wanted_is_not_missed(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.unwant(camera, 2)
    made.streams.want(camera, requested_by="bob", at=at(100))
    made.record(camera, 100, 102)
    assert made.verify(camera) == []


def test_a_camera_that_was_wanted_and_never_recorded_is_found_once_it_was_stopped(
    made: Recordings,
) -> None:
    camera = made.camera()
    made.unwant(camera, 30)
    assert place(one(made.verify())) == (0, 30)


def test_a_gap_left_open_after_the_stop_is_found(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    made.unwant(camera, 9)
    found = one(made.verify(camera))
    assert (found.kind, place(found)) == (FindingKind.GAP_LEFT_OPEN, (2, None))


def test_a_gap_that_is_rightly_open_is_none(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    assert made.verify(camera) == []


def test_a_gap_left_open_while_recording_went_on_is_found(made: Recordings) -> None:
    # The line that closed it was in the journal that a power cut has taken.
    camera = made.camera()
    made.record(camera, 0, 2)
    made.miss(camera, 2, None)
    made.record_all(camera, 6, 10)
    found = one(made.verify(camera))
    assert (found.kind, place(found)) == (FindingKind.GAP_LEFT_OPEN, (2, None))


def test_a_gap_about_to_be_closed_is_no_finding(made: Recordings) -> None:
    # A recorder stores the first segment, and then notes the end of the gap.
    camera = made.camera()
    made.miss(camera, 0, None)
    made.record(camera, 3, 5)
    assert made.verify(camera) == []


def test_a_gap_and_a_segment_over_the_same_time_are_found(made: Recordings, camera: Camera) -> None:
    made.miss(camera, 4, 6)
    found = one(made.verify(camera))
    assert (found.kind, place(found)) == (FindingKind.SECOND_TWICE, (4, 6))


def test_two_runs_that_overlap_are_in_order(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.next_run(camera)
    made.record(camera, 1, 3)
    assert made.verify(camera) == []


def test_two_runs_that_overlap_for_longer_than_one_replaces_the_other_are_found(
    made: Recordings,
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 40)
    made.next_run(camera)
    made.record_all(camera, 4, 44)
    found = one(made.verify(camera))
    assert (found.kind, place(found)) == (FindingKind.RECORDED_TWICE, (4, 40))


@pytest.mark.parametrize(("now_s", "found"), [(6, [(12, 18)]), (8, [(14, 18)]), (12, [])])
def test_segments_of_a_time_that_has_not_come_yet_are_found(
    made: Recordings, now_s: float, found: list[tuple[float, float]]
) -> None:
    camera = made.camera()
    made.record_all(camera, 0, 6)
    made.record_all(camera, 12, 18)
    made.miss(camera, 6, 12)
    scope = VerifyOptions(to=at(now_s), now=at(now_s))
    ahead = made.verify(camera, scope=scope)
    assert [place(each) for each in ahead] == found
    assert all(each.kind is FindingKind.SEGMENT_IN_FUTURE for each in ahead)


# Beside a running server


def test_rows_still_in_the_journal_count(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2)
    made.record(camera, 2, 4, indexed=False)
    assert made.verify(camera) == []
    assert made.journal.waiting == 1


def test_a_gap_whose_end_is_still_in_the_journal_is_closed(made: Recordings) -> None:
    camera = made.camera()
    gap_id = made.miss(camera, 0, None)
    (gap,) = made.gaps.in_range(camera.id, at(0), at(1))
    assert gap.id == gap_id
    made.record_all(camera, 3, 7)
    made.journal.append([replace(gap, ended_at=at(3))], at(8))
    assert made.verify(camera) == []


def test_a_torn_line_in_the_journal_is_passed_over(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2, indexed=False)
    path = made.root / ".streamwarden" / "journal.jsonl"
    with path.open("ab") as file:
        file.write(b'{"kind": "segm')
    assert made.verify(camera) == []


def test_what_comes_behind_the_newest_row_is_not_missed_while_files_are_in_progress(
    made: Recordings,
) -> None:
    # The wanted period has ended this moment; FFmpeg closes its file, or a killed one waits to be salvaged.
    camera = made.camera()
    made.record(camera, 0, 2)
    (made.live(camera) / "r1-000001.mp4").write_bytes(b"...")
    made.unwant(camera, 9)
    assert made.verify(camera) == []
    (made.live(camera) / "r1-000001.mp4").unlink()
    assert place(one(made.verify(camera))) == (2, 9)


def test_a_file_that_gets_its_row_while_we_look_is_no_finding(made: Recordings) -> None:
    camera = made.camera()
    made.record(camera, 0, 2, indexed=False)
    rows = made.journal.take(10).entries
    made.index()
    looks = iter([[], list(rows)])
    looking = verifier(made.root, made.database)
    made.forget_rows(*(row.id for row in rows))
    looking._pending = lambda: next(looks)
    assert [found.kind for found in looking.verify(camera.id, VerifyOptions(to=at(3600)))] == []


def test_what_retention_has_marked_is_no_finding(made: Recordings, camera: Camera) -> None:
    rows = made.rows(camera)[:2]
    made.periods.trim(camera.id, rows[-1].ended_at)
    assert made.verify() == []
    made.segments.mark_deleting([row.id for row in rows])
    assert made.verify() == []
    (made.root / rows[0].path).unlink()
    assert made.verify() == []


def test_a_file_that_retention_takes_while_we_look_is_no_finding(
    made: Recordings, camera: Camera
) -> None:
    row = made.rows(camera)[0]
    made.periods.trim(camera.id, row.ended_at)
    (made.root / row.path).unlink()
    read, looking = GapRepository.in_range, verifier(made.root, made.database)

    def in_range(self: GapRepository, *args: object) -> list[Gap]:
        made.forget_rows(row.id)  # after the rows have been read
        return read(self, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GapRepository, "in_range", in_range)
        assert list(looking.verify(camera.id, VerifyOptions(to=at(3600)))) == []


# Scope


def test_only_the_asked_camera_is_looked_at(made: Recordings, camera: Camera) -> None:
    other = made.camera()
    made.record(other, 0, 2).unlink()
    assert made.verify(camera) == []
    assert [found.camera_id for found in made.verify()] == [other.id]


def test_only_the_asked_time_is_looked_at(made: Recordings, camera: Camera) -> None:
    files = made.files(camera)
    files[0].unlink()  # 1 to 3
    files[5].unlink()  # 14 to 16
    made.forget_rows(made.rows(camera)[2].id)  # 5 to 7
    middle = VerifyOptions(from_=at(3.5), to=at(13))
    assert {found.kind for found in made.verify(camera, scope=middle)} == {
        FindingKind.ROW_MISSING,
        FindingKind.SECOND_MISSING,
    }
    assert made.verify(camera, scope=VerifyOptions(from_=at(7), to=at(14))) == []
    assert [place(found) for found in made.verify(camera, scope=VerifyOptions(to=at(4)))] == [
        (1, 3)
    ]
    assert [
        place(found) for found in made.verify(camera, scope=VerifyOptions(from_=at(14), to=at(99)))
    ] == [(14, 16)]


def test_a_file_that_reaches_into_the_asked_time_is_found_too(
    made: Recordings, camera: Camera
) -> None:
    made.forget_rows(made.rows(camera)[1].id)  # 3 to 5
    found = made.verify(camera, scope=VerifyOptions(from_=at(4), to=at(16)))
    assert {one.kind: place(one) for one in found} == {
        FindingKind.ROW_MISSING: (3, None),
        FindingKind.SECOND_MISSING: (4, 5),
    }


def test_a_camera_that_was_removed_is_still_looked_at(made: Recordings, camera: Camera) -> None:
    # There never was a row in the table of cameras: recordings outlive it.
    made.files(camera)[0].unlink()
    assert [found.camera_id for found in made.verify()] == [camera.id]


def test_a_camera_known_by_its_files_alone_is_looked_at(made: Recordings) -> None:
    camera = made.camera(wanted_s=None)
    made.record(camera, 0, 2)
    made.forget_rows(made.rows(camera)[0].id)
    assert [found.kind for found in made.verify()] == [FindingKind.ROW_MISSING]


def test_a_beginning_that_retention_has_deleted_is_not_missed(
    made: Recordings, camera: Camera
) -> None:
    rows = made.rows(camera)
    for row in rows[:4]:
        (made.root / row.path).unlink()
    made.forget_rows(*(row.id for row in rows[:4]))
    made.periods.trim(camera.id, rows[3].ended_at)
    assert made.verify() == []


# Strangers


def strangers(made: Recordings, camera: Camera, outside: Path) -> None:
    """Leave what other programs and people leave in folders."""
    day = made.files(camera)[0].parent
    name = made.files(camera)[0].name
    (outside / "2026-01-31").mkdir(parents=True)
    (outside / "2026-01-31" / name).write_bytes(b"not ours")
    (made.root / "lost+found").mkdir()
    (made.root / "a file").write_text("x")
    (made.root / "bob").mkdir()
    (made.root / "bob" / "notes").mkdir()
    (made.root / "bob" / str(uuid4())).write_text("a file, named like a camera")
    (made.root / "bob" / str(uuid4())).symlink_to(outside)
    (made.root / "carol").symlink_to(made.root / "alice~40home")
    (made.root / "%2e%2e").mkdir()
    (made.root / "bob" / camera.id.hex / "2026-01-31").mkdir(parents=True)
    (made.root / "bob" / camera.id.hex / "2026-01-31" / name).write_bytes(b"another spelling")
    (made.root / "bob" / "{12345678-1234-5678-1234-567812345678}" / "2026-01-31").mkdir(
        parents=True
    )
    (made.folder(camera) / "2026-01-30").symlink_to(outside / "2026-01-31")
    (made.folder(camera) / "2026-02-30").mkdir()
    (made.folder(camera) / "2026-02-30" / name).write_bytes(b"no such day")
    (day / "120001.000Z-r01-0.mp4").write_bytes(b"a number that we do not write")
    (day / "120001.000Z-r1-0.mp4.part").write_bytes(b"x")
    (day / "120009.000Z-r9-9.mp4").mkdir()
    (day / "120008.000Z-r9-8.mp4").symlink_to(outside / "2026-01-31" / name)
    os.mkfifo(day / "120007.000Z-r9-7.mp4")
    (day / os.fsdecode(b"\xff\xfe.mp4")).write_bytes(b"x")


def test_strange_files_and_folders_disturb_nobody(
    made: Recordings, camera: Camera, tmp_path: Path
) -> None:
    strangers(made, camera, tmp_path / "outside")
    assert made.verify() == []
    assert made.reconcile() == []


def refuse(monkeypatch: pytest.MonkeyPatch, module: object, name: str, victim: Path) -> None:
    """Make the system refuse one path, as it does to a user without the right to it."""
    real = getattr(module, name)

    def refusing(path: object, *args: object, **kwargs: object) -> object:
        if Path(str(path)) == victim:
            raise PermissionError(13, "Permission denied", str(victim))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(module, name, refusing)


def test_a_file_that_may_not_be_read_is_not_called_lost(
    made: Recordings, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, os, "open", made.files(camera)[0])
    found = one(made.verify(camera))
    assert (found.kind, found.detail) == (FindingKind.FILE_UNREADABLE, "Permission denied")


def test_a_folder_that_may_not_be_entered_costs_no_row(
    made: Recordings, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made.rows(camera)
    victim = made.files(camera)[0]
    refuse(monkeypatch, Path, "lstat", victim)
    refuse(monkeypatch, os, "scandir", victim.parent)
    assert one(made.verify(camera)).kind is FindingKind.FILE_UNREADABLE
    assert [mended.how for mended in made.reconcile(camera)] == [""]
    assert made.rows(camera) == before


def test_a_folder_that_goes_while_it_is_listed_is_empty(
    made: Recordings, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, real = made.files(camera)[0].parent, os.scandir

    def vanishing(path: Path) -> object:
        if path == victim:
            raise FileNotFoundError(2, "No such file or directory", str(victim))
        return real(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert made.verify(camera) == []


def test_the_same_look_twice_finds_the_same(made: Recordings, camera: Camera) -> None:
    made.files(camera)[0].unlink()
    made.miss(camera, 4, 6)
    assert made.verify() == made.verify()
