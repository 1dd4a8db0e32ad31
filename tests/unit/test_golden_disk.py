"""What lies on disk: names, lines and whole files are written byte for byte as they are kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from streamwarden.evidence.export_proof import ExportProver
from streamwarden.evidence.seal_files import SealFiles
from streamwarden.evidence.seal_keys import SealKey
from streamwarden.evidence.seals import (
    Entry,
    GapEntry,
    SealDraft,
    SegmentEntry,
    WantedEntry,
    make_seal,
    read_seal,
)
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.metrics.recording_metrics import RecordingMetrics
from streamwarden.model import Cause, Gap, LastSegment, SealRow, Segment, WantedPeriod
from streamwarden.paths import (
    decode_owner,
    encode_owner,
    live_name,
    live_pattern,
    parse_live,
    parse_stored,
    segment_id,
    stored_name,
)
from streamwarden.recordings.camera_files import CameraFileStore, IndexedEnds
from streamwarden.recordings.deletion_log import ROOM_BYTES
from streamwarden.recordings.exports import FILE, PART, ExportFiles, ExportTask
from streamwarden.recordings.gap_ledger import (
    ClosedGap,
    GapChange,
    Ledger,
    OpenGap,
    decode_ledger,
    encode_ledger,
)
from streamwarden.recordings.live import LiveIndex
from streamwarden.recordings.offline_retention import OfflineRetention
from streamwarden.recordings.reconcile import JOURNAL
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.storage.journal import Journal, encode, read_pending
from streamwarden.storage.recording_index import GapRepository
from streamwarden.storage.seal_records import SealRepository
from streamwarden.storage.streams import PeriodRepository
from streamwarden.workers import SerialExecutor
from tests.fakes.manual_time import ManualClock
from tests.fakes.recording import ManualWorkers
from tests.golden.stored import same_as_stored
from tests.unit.mp4 import box_writer as boxes
from tests.unit.recordings.camera_files_harness import SECOND

CAMERA: Final = UUID("01234567-89ab-cdef-0123-456789abcdef")
OTHER: Final = UUID("11111111-2222-3333-4444-555555555555")
EXPORT: Final = UUID("99999999-8888-7777-6666-555555555555")
GAPS: Final = tuple(UUID(f"aaaaaaaa-0000-4000-8000-00000000000{number}") for number in range(3))
NOON: Final = datetime(2026, 1, 31, 12, 0, 0, 125_000, tzinfo=UTC)
KEY: Final = SealKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OWNER: Final = "otto@example.org"


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


LEDGER: Final = Ledger(
    covered_until=after(60),
    gap=OpenGap(id=GAPS[0], started_at=after(60), cause=Cause.SOURCE_OFFLINE),
    closed=(
        ClosedGap(id=GAPS[1], started_at=after(0), ended_at=after(2.5), cause=Cause.STARTING),
        ClosedGap(id=GAPS[2], started_at=after(30), ended_at=after(31), cause=Cause.STALLED),
    ),
)
LAST: Final = LastSegment(started_at=after(31), ended_at=after(60), size_bytes=123_456)


@pytest.fixture(autouse=True)
def _as_the_program_makes_files() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


# Names

OWNERS: Final = (
    *("alice", "Alice_B-2", "otto@example.org", "auth0|5f7c8ec7", "a b", "a.b", "~", "%41"),
    *("..", ".", ".live", "a/b", "a\\b", "a\0b", "Zoë", "王小明", "🎥", "x" * 255),
)


def test_owners_have_the_folders_that_they_had() -> None:
    assert [decode_owner(encode_owner(owner)) for owner in OWNERS] == list(OWNERS)
    same_as_stored(
        "owner-folders.txt", "".join(f"{owner!a} {encode_owner(owner)}\n" for owner in OWNERS)
    )


def test_segments_have_the_names_and_ids_that_they_had() -> None:
    lines = [f"pattern of run 7: {live_pattern(7)}\n"]
    for moment, run, number in (
        (NOON, 1, 0),
        (NOON + timedelta(microseconds=999), 1, 0),
        (datetime(1970, 1, 1, tzinfo=UTC), 3, 12),
        (datetime(2026, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), 12_345, 1_234_567),
    ):
        path, live = stored_name(moment, run, number), live_name(run, number)
        read = parse_stored(*path.split("/"))
        assert read is not None
        assert stored_name(read.started_at, read.run, read.number) == path
        assert parse_live(live) == (run, number)
        lines.append(f"{live} {path} {segment_id(CAMERA, run, number)}\n")
    same_as_stored("segment-names.txt", "".join(lines))


# Lines and small files


def test_a_ledger_is_written_as_it_was() -> None:
    assert decode_ledger(encode_ledger(LEDGER, LAST)) == (LEDGER, LAST)
    same_as_stored("ledger.json", encode_ledger(LEDGER, LAST))
    same_as_stored("ledger-empty.json", encode_ledger(Ledger(), None))


def segment(number: int, *, digest: bytes | None = None, salvaged: bool = False) -> Segment:
    started_at = after(10 * number)
    return Segment(
        id=segment_id(CAMERA, 1, number),
        camera_id=CAMERA,
        owner=OWNER,
        run=1,
        number=number,
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=10),
        media_ms=10_000,
        size_bytes=1000 + number,
        path=f"{encode_owner(OWNER)}/{CAMERA}/{stored_name(started_at, 1, number)}",
        salvaged=salvaged,
        digest=digest,
        init_bytes=0 if digest is None else 640,
    )


def test_each_kind_of_line_of_the_journal_is_written_as_it_was(tmp_path: Path) -> None:
    rows = (
        segment(0, digest=bytes(range(32))),
        segment(1, salvaged=True),
        Gap(id=GAPS[0], camera_id=CAMERA, started_at=NOON, ended_at=None, cause="starting"),
        Gap(id=GAPS[1], camera_id=CAMERA, started_at=NOON, ended_at=after(2), cause="stalled"),
    )
    written = b"".join(encode(row, after(90)) for row in rows)
    (tmp_path / JOURNAL).write_bytes(written)
    assert read_pending(tmp_path / JOURNAL) == list(rows)
    same_as_stored("journal.jsonl", written)


def test_the_copy_of_the_wanted_streams_is_written_as_it_was(tmp_path: Path) -> None:
    path, disk = tmp_path / "streams.json", SerialExecutor(ManualWorkers())
    wanted = WantedStreams(path, disk)
    for camera_id, owner in ((CAMERA, OWNER), (OTHER, "王小明")):
        wanted.put(
            WantedStream(camera_id=camera_id, owner=owner, segment_seconds=30, since=after(1))
        )
    assert WantedStreams(path, disk).all() == wanted.all()
    same_as_stored("streams.json", path.read_bytes())


# Seals and proofs


def stretch(until_s: float, entries: Sequence[Entry], *, removed_s: float | None) -> SealDraft:
    return SealDraft(
        camera_id=CAMERA,
        from_=NOON,
        until=after(until_s),
        entries=entries,
        removed_until=None if removed_s is None else after(removed_s),
    )


ENTRIES: Final[Sequence[Entry]] = (
    SegmentEntry(
        path="otto/café/1.mp4",
        started_at=after(2.5),
        ended_at=after(60),
        media_ms=57_500,
        size_bytes=1000,
        digest=bytes(range(32)),
    ),
    SegmentEntry(
        path="otto/2.mp4",
        started_at=after(60),
        ended_at=after(90),
        media_ms=30_000,
        size_bytes=10,
        digest=None,
    ),
    GapEntry(id=GAPS[0], started_at=NOON, ended_at=after(2.5), cause="starting"),
    WantedEntry(started_at=NOON, ended_at=after(90)),
)


def test_seals_and_their_files_are_written_as_they_were(tmp_path: Path) -> None:
    files = SealFiles(tmp_path, CAMERA)
    first = make_seal(KEY, stretch(90, ENTRIES, removed_s=None), after=None, signed_at=after(100))
    removal = make_seal(KEY, stretch(90, (), removed_s=30), after=first.head, signed_at=after(200))
    with files.locked():
        files.publish(first)
        files.publish(removal)
    assert read_seal(files.read(1)) == removal.seal
    same_as_stored("seal-first.seal", files.read(0).encoded())
    same_as_stored("seal-first.entries", files.read_entries(0))
    same_as_stored("seal-removal.seal", files.read(1).encoded())
    same_as_stored("seal-public-key.pem", KEY.public.pem)


class Seals(SealRepository):
    """What Postgres would say, for a proof; so do the next two."""

    def __init__(self) -> None:
        pass

    def that_hold(self, camera_id: UUID, segments: Collection[UUID]) -> list[SealRow]:
        assert len(segments) == 2
        return [
            SealRow(
                camera_id=camera_id,
                number=4,
                hash=bytes(range(32)),
                until=after(60),
                removed_until=None,
                statement="",
                signature=b"",
            )
        ]


class Gaps(GapRepository):
    def __init__(self) -> None:
        pass

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[Gap]:
        del from_, to
        return [
            Gap(
                id=GAPS[0], camera_id=camera_id, started_at=NOON, ended_at=after(2), cause="stalled"
            )
        ]


class Periods(PeriodRepository):
    def __init__(self) -> None:
        pass

    def in_range(self, camera_id: UUID, from_: datetime, to: datetime) -> list[WantedPeriod]:
        del from_, to
        return [WantedPeriod(camera_id=camera_id, started_at=NOON, ended_at=None)]


# All of it in its places


class NoEnds(IndexedEnds):
    """An index without rows."""

    def __init__(self) -> None:
        """Nothing is asked."""

    def end_of(self, camera_id: UUID, segment_id: UUID) -> None:
        """No row is known."""

    def last_run(self, camera_id: UUID, *, journal: bool) -> int:
        del camera_id, journal
        return 0


def record(root: RecordRoot, journal: Journal, clock: ManualClock) -> None:
    """Two segments, a gap, a segment in progress, and one that somebody else's file keeps away."""
    archive = CameraFileStore(
        record_root=root.path,
        journal=journal,
        metrics=RecordingMetrics(CollectorRegistry()),
        clock=clock,
        alive_until=None,
        indexed_ends=NoEnds(),
        live=LiveIndex(clock),
    )
    files = archive.camera(CAMERA, OWNER)
    files.open(())
    live, run = files.next_run()
    for number in range(4):
        fragments = boxes.header() + SECOND * 10
        (live / live_name(run, number)).write_bytes(fragments)
    (live / live_name(run, 3)).chmod(0o640)
    in_the_way = live.parent / stored_name(after(22), run, 2)
    in_the_way.parent.mkdir()
    in_the_way.write_bytes(b"a stranger's file")
    for number in range(3):
        files.publish(
            ClosedSegment(
                run=run,
                number=number,
                started_at=after(2 + 10 * number),
                ended_at=after(12 + 10 * number),
            )
        )
    gap = GapChange(id=GAPS[0], started_at=NOON, ended_at=after(2), cause=Cause.STARTING)
    files.write_ledger(LEDGER, [gap])


def export(root: RecordRoot, clock: ManualClock, segments: Sequence[Segment]) -> None:
    """One export with its proof; FFmpeg's part is played by a file of a few bytes."""
    files = ExportFiles(root.path)
    files.clear()
    task = ExportTask(
        id=EXPORT,
        camera_id=CAMERA,
        user_id="bob",
        from_=after(3),
        to=after(20),
        created_at=after(100),
        created_s=0.0,
        segments=segments,
    )
    prover = ExportProver(
        record_root=root.path, key=KEY, seals=Seals(), gaps=Gaps(), periods=Periods(), clock=clock
    )
    assert files.prepare(task) is not None
    argv = files.joining_argv(task, "ffmpeg")
    same_as_stored("export-argv.txt", "".join(f"{word}\n" for word in argv))
    files.path(task, PART).write_bytes(b"what FFmpeg has joined")
    files.publish(task)
    assert files.path(task, FILE).exists()
    files.write_proof(task, prover.prove(task.snapshot(), segments, files.path(task, FILE)))
    same_as_stored("export.proof", files.read_proof(task))


def listed(root: Path) -> Iterator[str]:
    """Every entry below the record root with its mode, and what is in it unless it is a recording."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        mode = f"{path.stat().st_mode & 0o7777:04o}"
        if path.is_dir():
            yield f"{mode} {name}/\n"
            continue
        content = path.read_bytes()
        yield f"{mode} {name} {len(content)} bytes\n" if ".mp4" in name else f"{mode} {name}\n"
        if ".mp4" not in name:
            text = content.decode().rstrip("\n").replace(str(root.resolve()), "RECORD_ROOT")
            yield "".join(f"    |{line}\n" for line in text.splitlines())


def test_the_record_root_is_laid_out_as_it_was(tmp_path: Path) -> None:
    clock = ManualClock(after(120))
    root = RecordRoot(tmp_path / "records")
    root.take()
    root.heartbeat()
    journal = Journal(root.state / JOURNAL)
    record(root, journal, clock)
    segments = [row for row in journal.take(10).entries if isinstance(row, Segment)]
    export(root, clock, segments)
    files = SealFiles(root.path, CAMERA)
    with files.locked():
        files.publish(
            make_seal(KEY, stretch(90, ENTRIES, removed_s=None), after=None, signed_at=after(100))
        )
    clock.advance(3600)
    outage = OfflineRetention(
        record_root=root.path, state=root.state, waiting_since=lambda: None, clock=clock
    )
    assert len(outage.delete(1)) == 1
    journal.close()
    root.release()
    same_as_stored("record-root.txt", "".join(listed(root.path)))


def test_deletions_are_noted_as_they_were(tmp_path: Path) -> None:
    root = RecordRoot(tmp_path / "records")
    root.take()
    for number in range(2):
        path = root.path / segment(number).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    outage = OfflineRetention(
        record_root=root.path,
        state=root.state,
        waiting_since=lambda: None,
        clock=ManualClock(after(3600)),
    )
    assert len(outage.delete(1)) == 1
    assert len(outage.delete(1)) == 1
    (deletion_log,) = [path for path in root.state.iterdir() if path.name != "lock"]
    root.release()
    content = deletion_log.read_bytes()
    assert len(content) == ROOM_BYTES
    same_as_stored("deletions.txt", content.rstrip(b"\n") + b"\n")
