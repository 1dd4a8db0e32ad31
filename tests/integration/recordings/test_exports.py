"""Exports with real FFmpegs over real files."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.cli.main import main
from streamwarden.devkit.odd_camera import StreamLibrary
from streamwarden.errors import (
    ExportNotFound,
    ExportNotReady,
    ExportsBusy,
    NoSpace,
    NothingRecorded,
    ProofNotAvailable,
    RangeTooLong,
    TooManyExports,
)
from streamwarden.evidence.export_proof import ExportProver, SignedChange, check_export
from streamwarden.evidence.seal_keys import SealKey, by_id, new_key
from streamwarden.ffmpeg.command import _FRAGMENTS
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.ffmpeg.sandbox import Sandbox
from streamwarden.model import Gap, SealRow, Segment
from streamwarden.recordings import export_pieces
from streamwarden.recordings import exports as module
from streamwarden.recordings.durable import FreeSpace, file_digest
from streamwarden.recordings.exports import KEPT_FOR, Export, Exports, PartOf
from streamwarden.storage.seal_records import SealRepository
from tests.fakes.manual_time import ManualClock
from tests.fakes.storage import FakeStorage
from tests.fakes.storage_samples import a_camera, at
from tests.integration.recordings.footage import (
    FFMPEG,
    probe,
    rows_of,
    write_segments,
)

WITHIN_S = 120.0


class OneSeal(SealRepository):
    """Every segment is in the same seal."""

    def __init__(self) -> None:
        pass

    def that_hold(self, camera_id: UUID, segments: Collection[UUID]) -> list[SealRow]:
        assert segments
        return [
            SealRow(
                camera_id=camera_id,
                number=4,
                hash=bytes(32),
                until=at(3_000),
                removed_until=None,
                statement="",
                signature=b"",
            )
        ]


class ExportHarness:
    """Exports over a record root with twelve seconds of footage, then a gap, then three more."""

    def __init__(
        self, root: Path, jobs: JobRunner, *, ffmpeg: str = FFMPEG, key: SealKey | None = None
    ) -> None:
        self.root, self.camera_id, self.clock = root, uuid4(), ManualClock(at(3_600))
        folder = root / "alice" / str(self.camera_id) / "2026-03-01"
        self.rows = rows_of(root, self.camera_id, write_segments(folder, seconds=15, segment_s=3))
        late = timedelta(seconds=30)
        last = self.rows[-1]
        self.rows[-1] = moved(last, by=late)
        self.rows = [replace(row, digest=file_digest(root / row.path)) for row in self.rows]
        self.storage = FakeStorage()
        self.storage.segments.insert_many(self.rows)
        self.reserve_bytes = 0
        self.exports = Exports(
            jobs=jobs,
            ffmpeg=lambda: ffmpeg,
            segments=self.storage.segments,
            gaps=self.storage.gaps,
            record_root=root,
            reserve_bytes=lambda _: self.reserve_bytes,
            clock=self.clock,
            prove=None if key is None else self.prover(key).prove,
        )
        self.exports.start()

    def prover(self, key: SealKey) -> ExportProver:
        return ExportProver(
            record_root=self.root,
            key=key,
            seals=OneSeal(),
            gaps=self.storage.gaps,
            periods=self.storage.periods,
            clock=self.clock,
        )

    def add(self, start: float, end: float) -> Export:
        return self.exports.add(self.camera_id, "alice", at(start), at(end))

    def ended(self, export_id: UUID) -> Export:
        return self.until(export_id, lambda one: one.state not in {"queued", "running"})

    def until(self, export_id: UUID, so: Callable[[Export], bool]) -> Export:
        deadline = time.monotonic() + WITHIN_S
        while not so(found := self.exports.get(self.camera_id, export_id)):
            assert time.monotonic() < deadline, found
            os.sched_yield()
        return found

    def folder(self) -> list[str]:
        return sorted(one.name for one in (self.root / ".streamwarden" / "exports").iterdir())


def moved(row: Segment, *, by: timedelta) -> Segment:
    return replace(row, started_at=row.started_at + by, ended_at=row.ended_at + by)


@pytest.fixture
def jobs() -> Iterator[JobRunner]:
    """Jobs in a sandbox, where the kernel has one."""
    runner = JobRunner(Sandbox())
    runner.start()
    yield runner
    runner.close()


@pytest.fixture
def unconfined() -> Iterator[JobRunner]:
    runner = JobRunner()
    runner.start()
    yield runner
    runner.close()


@pytest.fixture
def harness(tmp_path: Path, jobs: JobRunner) -> Iterator[ExportHarness]:
    made = ExportHarness(tmp_path / "it's a root", jobs)
    yield made
    made.exports.stop()


@pytest.fixture
def stuck(tmp_path: Path, unconfined: JobRunner) -> Iterator[ExportHarness]:
    """Exports whose FFmpeg never ends by itself."""
    program = tmp_path / "stuck"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    made = ExportHarness(tmp_path / "root", unconfined, ffmpeg=str(program))
    yield made
    made.exports.stop()


def test_a_range_becomes_one_file_from_key_frame_to_key_frame(harness: ExportHarness) -> None:
    made = harness.add(2.4, 10.3)
    done = harness.ended(made.id)
    assert (done.state, done.progress, done.error) == ("done", 1.0, None)
    assert [(one.from_, one.to) for one in done.covers] == [(at(2.4), at(10.3))]
    with harness.exports.open(harness.camera_id, made.id).stream as file:
        content = file.read()
    assert len(content) == done.size_bytes
    # Faststart: what a player needs first stands first.
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"moof" not in content
    path = harness.root / "out.mp4"
    path.write_bytes(content)
    seconds, complaints = probe(path)
    assert complaints == ""
    assert seconds == pytest.approx(9.0, abs=0.2)  # 2 to 11, by key frames a second apart


def test_a_gap_is_left_out_and_reported(harness: ExportHarness) -> None:
    made = harness.ended(harness.add(0, 60).id)
    first, last = harness.rows[3], harness.rows[-1]
    expected = [(at(0), first.ended_at), (last.started_at, last.ended_at)]
    assert [(one.from_, one.to) for one in made.covers] == expected
    with harness.exports.open(harness.camera_id, made.id).stream as file:
        (harness.root / "out.mp4").write_bytes(file.read())
    seconds, complaints = probe(harness.root / "out.mp4")
    assert (round(seconds), complaints) == (15, "")


def test_what_is_not_there_is_not_exported(harness: ExportHarness) -> None:
    with pytest.raises(NothingRecorded):
        harness.add(20, 30)
    with pytest.raises(ExportNotFound):
        harness.exports.get(uuid4(), harness.add(0, 3).id)
    with pytest.raises(ExportNotFound):
        harness.exports.get(harness.camera_id, uuid4())


def test_too_many_segments_are_refused(
    harness: ExportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEGMENTS", 2)
    with pytest.raises(RangeTooLong):
        harness.add(0, 60)


def test_the_reserve_is_respected(harness: ExportHarness) -> None:
    harness.reserve_bytes = 1 << 60
    with pytest.raises(NoSpace):
        harness.add(0, 3)


def test_a_lost_file_fails_its_export_in_words(harness: ExportHarness) -> None:
    for row in harness.rows[:4]:
        (harness.root / row.path).unlink()
    found = harness.ended(harness.add(0, 12).id)
    assert (found.state, found.error) == ("failed", "nothing of the range is left")
    assert harness.folder() == []


def test_a_row_that_leads_outside_is_left_out(harness: ExportHarness) -> None:
    outside = harness.root.parent / "outside.mp4"
    (harness.root / harness.rows[0].path).rename(outside)
    (harness.root / harness.rows[0].path).symlink_to(outside)
    found = harness.ended(harness.add(0, 2).id)
    assert found.state == "failed"


@pytest.fixture
def at_reserve(harness: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> ExportHarness:
    """A disk that retention keeps at its reserve, with files of exports in the reserve."""
    harness.reserve_bytes = 4 * size_of(harness.rows)

    def disk(_folder: object) -> FreeSpace:
        free = harness.reserve_bytes - harness.exports._files.held_bytes()
        return FreeSpace(free_bytes=free, total_bytes=1 << 40, free_inodes=1, total_inodes=2)

    monkeypatch.setattr(module, "free_space_of", disk)
    return harness


def size_of(rows: list[Segment]) -> int:
    return sum(row.size_bytes for row in rows)


def test_a_disk_at_its_reserve_has_room_for_exports_of_each_user(at_reserve: ExportHarness) -> None:
    whole, part = (0, 60), (0, 3)
    assert at_reserve.ended(at_reserve.add(*whole).id).state == "done"
    with pytest.raises(NoSpace, match="shorter"):
        at_reserve.add(*whole)
    other = at_reserve.exports.add(at_reserve.camera_id, "bob", at(part[0]), at(part[1]))
    assert at_reserve.ended(other.id).state == "done"


def test_what_exports_hold_of_the_reserve_costs_no_recording(at_reserve: ExportHarness) -> None:
    at_reserve.ended(at_reserve.add(0, 60).id)
    held = at_reserve.exports._files.held_bytes()
    assert at_reserve.exports.give_way(held) == held
    assert len(at_reserve.folder()) == 1


def test_exports_beyond_their_share_go_before_any_recording(harness: ExportHarness) -> None:
    made = [harness.ended(harness.add(0, 60).id) for _ in range(3)]
    size = made[0].size_bytes
    assert size is not None
    # Without a reserve there is no share of it: all of an export gives way.
    assert harness.exports.give_way(size + 1) == size + 1
    states = [harness.exports.get(harness.camera_id, one.id).state for one in made]
    assert states == ["cancelled", "cancelled", "done"]
    assert harness.folder() == [f"{made[2].id}.mp4"]


def test_a_user_who_waits_comes_before_the_second_export_of_another(stuck: ExportHarness) -> None:
    first, second = stuck.add(0, 3), stuck.add(0, 3)
    other = stuck.exports.add(stuck.camera_id, "bob", at(0), at(3))
    states = [stuck.exports.get(stuck.camera_id, one.id).state for one in (first, second, other)]
    assert states == ["running", "queued", "running"]


def test_at_most_two_run_and_what_waits_is_bounded_for_each_user(stuck: ExportHarness) -> None:
    made = [stuck.add(0, 3) for _ in range(9)]
    with pytest.raises(TooManyExports):
        stuck.add(0, 3)
    others = [stuck.exports.add(stuck.camera_id, user, at(0), at(3)) for user in ("bob", "carol")]
    states = [stuck.exports.get(stuck.camera_id, one.id).state for one in (*made, *others)]
    assert states == ["running", *["queued"] * 8, "running", "queued"]
    with pytest.raises(ExportNotReady):
        stuck.exports.open(stuck.camera_id, made[0].id)


def test_all_that_wait_are_bounded(stuck: ExportHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 3)
    for number in range(5):
        stuck.exports.add(stuck.camera_id, f"user {number}", at(0), at(3))
    with pytest.raises(ExportsBusy):
        stuck.exports.add(stuck.camera_id, "another", at(0), at(3))


def test_a_cancelled_export_leaves_its_place_at_once(stuck: ExportHarness) -> None:
    for _ in range(60):
        made = stuck.add(0, 3)
        stuck.exports.cancel(stuck.camera_id, made.id)
    assert stuck.exports.add(stuck.camera_id, "bob", at(0), at(3)).state in {"running", "queued"}
    shown = stuck.exports.of_camera(stuck.camera_id)
    assert shown[-1].state == "cancelled"
    assert len(shown) <= 23  # 20 that have ended, those that FFmpeg is still ending, and bob's


def test_one_who_cancels_again_and_again_has_one_place_to_run(stuck: ExportHarness) -> None:
    ordered = stuck.add(0, 3)
    stuck.until(ordered.id, lambda _: any(n.endswith(".txt") for n in stuck.folder()))
    working = stuck.exports._running
    for _ in range(5):
        stuck.exports.cancel(stuck.camera_id, ordered.id)
        ordered = stuck.add(0, 3)
        assert sum(task.user_id == "alice" for task in working) == 1


def test_the_files_of_a_user_are_bounded(
    harness: ExportHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FILES_OF_USER", 1)
    made = harness.ended(harness.add(0, 3).id)
    with pytest.raises(TooManyExports):
        harness.add(0, 3)
    assert harness.exports.add(harness.camera_id, "bob", at(0), at(3))
    harness.exports.cancel(harness.camera_id, made.id)
    assert harness.add(0, 3)


def test_cancelling_ends_the_ffmpeg_and_lets_the_next_one_begin(stuck: ExportHarness) -> None:
    users = ("alice", "bob", "carol", "dave")
    first, second, third, fourth = (
        stuck.exports.add(stuck.camera_id, user, at(0), at(3)) for user in users
    )
    for export in (first, second):
        stuck.until(export.id, lambda _: any(n.endswith(".txt") for n in stuck.folder()))
    assert stuck.exports.cancel(stuck.camera_id, fourth.id).state == "cancelled"
    assert stuck.exports.cancel(stuck.camera_id, first.id).state == "cancelled"
    stuck.until(third.id, lambda one: one.state == "running")
    assert stuck.exports.get(stuck.camera_id, second.id).state == "running"
    assert stuck.exports.get(stuck.camera_id, fourth.id).state == "cancelled"


def test_what_is_a_day_old_goes(harness: ExportHarness) -> None:
    made = harness.ended(harness.add(0, 3).id)
    assert harness.folder() == [f"{made.id}.mp4"]
    harness.clock.advance(KEPT_FOR.total_seconds() + 1)
    assert harness.exports.of_camera(harness.camera_id) == []
    assert harness.folder() == []


def test_what_a_former_process_left_is_removed_at_the_start(harness: ExportHarness) -> None:
    (harness.root / ".streamwarden" / "exports" / "old.part").write_bytes(b"x")
    harness.exports.start()
    assert harness.folder() == []


def test_a_cancelled_export_leaves_no_file(harness: ExportHarness) -> None:
    made = harness.ended(harness.add(0, 3).id)
    harness.exports.cancel(harness.camera_id, made.id)
    assert harness.folder() == []
    with pytest.raises(ExportNotReady):
        harness.exports.open(harness.camera_id, made.id)


# Their proofs


@pytest.fixture
def key(tmp_path: Path) -> SealKey:
    return new_key(tmp_path / "seal.pem")


@pytest.fixture
def notary(tmp_path: Path, jobs: JobRunner, key: SealKey) -> Iterator[ExportHarness]:
    """Exports that are signed, of a camera that was wanted for 45 seconds."""
    made = ExportHarness(tmp_path / "root", jobs, key=key)
    camera = a_camera(id=made.camera_id)
    made.storage.streams.want(camera, requested_by="alice", at=at(0))
    last = made.rows[-1]
    made.storage.streams.unwant(made.camera_id, requested_by="alice", at=last.ended_at)
    gap = (made.rows[-2].ended_at, last.started_at)
    row = Gap(
        id=uuid4(), camera_id=made.camera_id, started_at=gap[0], ended_at=gap[1], cause="timeout"
    )
    made.storage.gaps.upsert_many([row])
    yield made
    made.exports.stop()


def saved(harness: ExportHarness, export_id: UUID, folder: Path) -> tuple[Path, Path]:
    file, proof = folder / "out.mp4", folder / "out.mp4.proof"
    with harness.exports.open(harness.camera_id, export_id).stream as stream:
        file.write_bytes(stream.read())
    proof.write_bytes(harness.exports.proof(harness.camera_id, export_id))
    return file, proof


def test_an_export_is_proven_offline_and_a_changed_one_is_not(
    notary: ExportHarness, key: SealKey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = notary.ended(notary.add(2, 60).id)
    assert (made.state, made.proven) == ("done", True)
    file, proof = saved(notary, made.id, tmp_path)
    said, findings = check_export(file, proof, by_id([key.public]))
    assert findings == []
    assert said is not None
    assert (said.camera_id, said.from_, said.to, said.until) == (
        *(notary.camera_id, at(2), at(60), at(60)),
    )
    assert [seal.number for seal in said.seals] == [4]
    public = tmp_path / "seal.pub"
    public.write_text(key.public.pem)
    command = ["recordings", "verify", "--signed", "--public-key", str(public)]
    command += ["--export", str(file), "--proof", str(proof)]
    assert main(command) == 0
    file.write_bytes(file.read_bytes() + b"0")
    assert main(command) == 1
    assert "export_altered" in capsys.readouterr().out
    other = new_key(tmp_path / "other.pem").public
    assert [one.kind for one in check_export(file, proof, by_id([other]))[1]] == ["wrong_key"]
    proof.write_bytes(proof.read_bytes().replace(b'"timeout"', b'"shutdown"'))
    assert [one.kind for one in check_export(file, proof, by_id([key.public]))[1]] == [
        "seal_altered"
    ]
    proof.write_bytes(b"nothing")
    assert [one.kind for one in check_export(file, proof, by_id([key.public]))[1]] == [
        "seal_damaged"
    ]


def test_seconds_that_an_export_does_not_account_for_are_found(
    notary: ExportHarness, key: SealKey, tmp_path: Path
) -> None:
    notary.storage.tables.gaps.clear()
    made = notary.ended(notary.add(0, 60).id)
    _, findings = check_export(*saved(notary, made.id, tmp_path), by_id([key.public]))
    assert [one.kind for one in findings] == ["second_missing"]


def test_an_open_gap_accounts_for_the_rest_of_an_export(
    notary: ExportHarness, key: SealKey, tmp_path: Path
) -> None:
    (gap,) = notary.storage.tables.gaps.values()
    notary.storage.tables.gaps[gap.id] = replace(gap, ended_at=None)
    made = notary.ended(notary.add(0, 30).id)
    said, findings = check_export(*saved(notary, made.id, tmp_path), by_id([key.public]))
    assert findings == []
    assert said is not None
    assert said.until == at(30)


def test_a_source_that_is_not_what_was_stored_is_not_signed(notary: ExportHarness) -> None:
    path = notary.root / notary.rows[1].path
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    made = notary.ended(notary.add(0, 9).id)
    assert (made.state, made.proven) == ("done", False)
    with pytest.raises(ProofNotAvailable, match="sources"):
        notary.exports.proof(notary.camera_id, made.id)


def test_without_a_key_there_is_no_proof_and_with_one_it_goes_with_its_export(
    harness: ExportHarness, notary: ExportHarness
) -> None:
    plain = harness.ended(harness.add(0, 3).id)
    with pytest.raises(ProofNotAvailable, match="SEAL_KEY_FILE"):
        harness.exports.proof(harness.camera_id, plain.id)
    made = notary.ended(notary.add(0, 3).id)
    assert notary.folder() == [f"{made.id}.mp4", f"{made.id}.proof"]
    notary.exports.cancel(notary.camera_id, made.id)
    assert notary.folder() == []
    with pytest.raises(ExportNotReady):
        notary.exports.proof(notary.camera_id, made.id)


class ChangedCamera(ExportHarness):
    """Six seconds of a small picture, then of a large one: the first run keeps its header until 12 s."""

    def __init__(
        self, root: Path, jobs: JobRunner, streams: Path, *, key: SealKey | None = None
    ) -> None:
        super().__init__(root, jobs, key=key)
        library = StreamLibrary(FFMPEG, streams)
        folder = root / "alice" / str(self.camera_id) / "2026-03-02"
        first = self.run(library, folder, 1, "small", "large")
        second = self.run(library, folder, 2, "large")
        later = timedelta(seconds=100)
        rows = [moved(row, by=later) for row in rows_of(root, self.camera_id, first, run=11)]
        later += timedelta(seconds=11.5)  # a make-before-break
        rows += [moved(row, by=later) for row in rows_of(root, self.camera_id, second, run=12)]
        back = self.run(library, folder, 3, "small", "large", "small", segment_s=60)
        later += timedelta(seconds=88.5)
        rows += [moved(row, by=later) for row in rows_of(root, self.camera_id, back, run=13)]
        self.storage.segments.insert_many(
            [replace(row, digest=file_digest(root / row.path)) for row in rows]
        )

    @staticmethod
    def run(
        library: StreamLibrary, folder: Path, number: int, *names: str, segment_s: int = 4
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        raw = folder / "raw.h264"
        for name in names:
            library.stream(name)
        parts = [library.encoded(f"{name}.h264", ()) for name in names]
        raw.write_bytes(b"".join(part.read_bytes() for part in parts))
        argv = [FFMPEG, "-v", "error", "-nostdin", "-f", "h264", "-framerate", "10", "-i", str(raw)]
        argv += ["-c", "copy", "-f", "segment", "-segment_time", str(segment_s)]
        argv += ["-reset_timestamps", "1", "-segment_format", "mp4"]
        argv += ["-segment_format_options", _FRAGMENTS]
        subprocess.run([*argv, str(folder / f"r{number}-%06d.mp4")], check=True, timeout=60)
        raw.unlink()
        return sorted(folder.glob(f"r{number}-*.mp4"))

    def parts(self, whole: Export) -> list[Export]:
        return [self.ended(one.export_id) for one in whole.parts if one.export_id is not None]

    def file(self, export: Export) -> Path:
        return self.root / ".streamwarden" / "exports" / f"{export.id}.mp4"


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture
def changed(
    tmp_path: Path, streams: Path, jobs: JobRunner, key: SealKey
) -> Iterator[ChangedCamera]:
    made = ChangedCamera(tmp_path / "root", jobs, streams, key=key)
    yield made
    made.exports.stop()


def test_a_range_in_which_the_format_changes_is_cut_into_parts(changed: ChangedCamera) -> None:
    whole = changed.ended(changed.add(100, 117.5).id)
    assert (whole.state, whole.error_code, whole.proven) == ("failed", "format_changed", False)
    assert whole.error is not None
    assert "2026-03-01T12:01:46.000Z" in whole.error
    expected = [(at(100), at(106)), (at(106), at(111.5)), (at(111.5), at(117.5))]
    assert [(one.range.from_, one.range.to) for one in whole.parts] == expected
    assert [(one.at, one.cut) for one in whole.changes] == [(at(106), True), (at(111.5), True)]
    assert [one.tracks.size for one in whole.parts] == [(320, 240), None, (640, 480)]
    parts = changed.parts(whole)
    assert [(one.from_, one.to) for one in parts] == expected
    widths = []
    for number, part in enumerate(parts, start=1):
        assert (part.state, part.error, part.parts, part.proven) == ("done", None, (), True), part
        assert part.part == PartOf(whole.id, number, 3)
        seconds, complaints = probe(changed.file(part))
        assert (round(seconds), complaints) == (6, "")
        widths.append(sizes_in(changed.file(part)))
    assert widths == [{"320x240"}, {"640x480"}, {"640x480"}]


def test_the_proof_of_a_part_names_its_place_and_the_changes_at_its_ends(
    changed: ChangedCamera, tmp_path: Path, key: SealKey
) -> None:
    whole = changed.ended(changed.add(100, 117.5).id)
    second = changed.parts(whole)[1]
    said, findings = check_export(*saved(changed, second.id, tmp_path), by_id([key.public]))
    assert findings == []
    assert said is not None
    assert said.part == PartOf(whole.id, 2, 3)
    assert said.changes == [SignedChange(at(106), cut=True), SignedChange(at(111.5), cut=True)]


def test_a_change_and_back_within_one_file_is_cut_twice(changed: ChangedCamera) -> None:
    whole = changed.ended(changed.add(200, 218).id)
    assert [one.at for one in whole.changes] == [at(206), at(212)]
    sizes = [sizes_in(changed.file(part)) for part in changed.parts(whole)]
    assert sizes == [{"320x240"}, {"640x480"}, {"320x240"}]


def test_cancelling_an_export_cancels_its_parts(changed: ChangedCamera) -> None:
    whole = changed.ended(changed.add(100, 117.5).id)
    changed.parts(whole)
    changed.exports.cancel(changed.camera_id, whole.id)
    assert {one.state for one in changed.exports.of_camera(changed.camera_id)} == {"cancelled"}
    assert changed.folder() == []


def test_more_parts_than_are_made_are_refused_in_words(
    changed: ChangedCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PARTS", 2)
    whole = changed.ended(changed.add(100, 117.5).id)
    assert "shorter" in str(whole.error)
    assert [one.export_id for one in whole.parts] == [None, None]
    assert len(changed.exports.of_camera(changed.camera_id)) == 1


def test_what_cannot_be_decoded_where_it_was_joined_is_not_done(
    changed: ChangedCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line: a change that the comparison does not see."""
    second = changed.storage.segments.in_range(changed.camera_id, at(111), at(112), limit=9)[-1]
    path = changed.root / second.path
    argv = [FFMPEG, "-v", "error", "-nostdin", "-y", "-f", "lavfi"]
    argv += ["-i", "testsrc=size=320x240:rate=10:duration=4", "-c:v", "libx265", "-g", "10"]
    argv += ["-x265-params", "log-level=none", "-f", "mp4"]
    argv += ["-movflags", "+frag_keyframe+empty_moov+default_base_moof", str(path)]
    subprocess.run(argv, check=True, timeout=60)
    monkeypatch.setattr(export_pieces, "_joins", lambda *_: True)
    whole = changed.ended(changed.add(100, 113).id)
    assert (whole.state, whole.proven, whole.size_bytes) == ("failed", False, None)
    assert "cannot be decoded" in str(whole.error)
    assert changed.folder() == []


def test_damage_of_a_recording_is_no_broken_joint(harness: ExportHarness) -> None:
    path = harness.root / harness.rows[1].path
    content = bytearray(path.read_bytes())
    at_byte = content.index(b"mdat") + 40
    content[at_byte : at_byte + 400] = bytes(400)
    path.write_bytes(content)
    done = harness.ended(harness.add(0, 9).id)
    assert (done.state, done.error) == ("done", None)


def test_the_gaps_of_the_range_are_listed(notary: ExportHarness) -> None:
    made = notary.ended(notary.add(0, 60).id)
    (gap,) = notary.storage.tables.gaps.values()
    assert [(one.started_at, one.ended_at) for one in made.gaps] == [(gap.started_at, gap.ended_at)]
    assert notary.add(0, 3).gaps == []


def sizes_in(file: Path) -> set[str]:
    """The sizes of a file's pictures as decoded."""
    argv = [
        FFMPEG,
        "-v",
        "debug",
        "-nostdin",
        "-i",
        str(file),
        "-vf",
        "showinfo",
        "-f",
        "null",
        "-",
    ]
    said = subprocess.run(argv, check=True, timeout=60, capture_output=True).stderr.decode()
    return set(re.findall(r"Parsed_showinfo.* s:(\d+x\d+)", said))
