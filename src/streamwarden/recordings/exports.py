"""Exports: a time range of a camera's recordings joined into one MP4 and kept for a day.

Exports are kept in memory, their files in the state folder of the record root, where no recording is
looked for. A restart forgets them, and ``start`` removes the files of the process before.
"""

from __future__ import annotations

import math
import os
import shutil
import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Final, Literal
from uuid import UUID, uuid4

import structlog

from streamwarden.clock import Clock, rfc3339
from streamwarden.errors import (
    ExportNotFound,
    ExportNotReady,
    ExportsBusy,
    FormatChanged,
    NoSpace,
    NothingRecorded,
    ProofNotAvailable,
    RangeTooLong,
    TooManyExports,
)
from streamwarden.ffmpeg.jobs import (
    ConcatEntry,
    Job,
    JobEnd,
    JobOrder,
    JobOutcome,
    JobRunner,
    concat_argv,
    concat_list,
    progress_ms,
)
from streamwarden.ffmpeg.sandbox import Reach
from streamwarden.model import Gap, Segment, TimeRange
from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.formats import file_format, read_moov
from streamwarden.mp4.silence import silence_like
from streamwarden.paths import STATE, open_nofollow
from streamwarden.recordings.deletion_rules import size_in_words
from streamwarden.recordings.durable import free_space_of
from streamwarden.recordings.export_check import chosen, first_broken, joints_of
from streamwarden.recordings.export_pieces import (
    SEAM,
    ExportPiece,
    FormatChange,
    Tracks,
    plan_export,
    tracks_of,
)
from streamwarden.recordings.export_room import ExportRoom
from streamwarden.recordings.root_identity import RootNotKnown
from streamwarden.recordings.serving import OpenFile
from streamwarden.storage.recording_index import GapRepository, SegmentRepository
from streamwarden.timers import Timers

log = structlog.get_logger(__name__)

KEPT_FOR: Final = timedelta(days=1)

MAX_SEGMENTS: Final = 10_000

_SHOWN_CHANGES: Final = 5

MOST_PARTS: Final = 20
"""So many files an export is cut into; a range with more changes is refused."""

_SHOWN_GAPS: Final = 200

_CHECKED_WITHIN_S: Final = 120.0
"""Each joint is decoded within this time."""

_AT_ONCE: Final = 2
_AT_ONCE_A_USER: Final = 1
_WAITING: Final = 64
_WAITING_OF_USER: Final = 8
_FILES_OF_USER: Final = 50
"""Exports with a file, or still to be made. A cancelled or failed one leaves its place at once."""
_ENDED_OF_USER: Final = 20
"""Exports without a file that are still shown; the oldest go first."""
_TIMEOUT_S: Final = 3_600.0
_TIDY_EVERY_S: Final = 300.0
_BUFFER_CHARS: Final = 4_096
_BLOCK_BYTES: Final = 512
"""The unit of ``st_blocks``."""
_KEY_FRAMES_WITHIN_S: Final = 60.0
"""The distance of key frames, at most: a cut widens to the one before it."""

FILE: Final = ".mp4"
PROOF: Final = ".proof"
LIST: Final = ".txt"
SOUND_LIST: Final = ".sound.txt"
SILENCE: Final = ".silence"
PART: Final = ".part"
"""FFmpeg reads the lists and the silence, and writes the part; all are removed when it ends."""

ExportState = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ExportPart:
    """A range of one format, and the export that holds it; None where there are too many parts."""

    number: int
    range: TimeRange
    tracks: Tracks
    export_id: UUID | None


@dataclass(frozen=True, slots=True)
class PartOf:
    """The place of a part: its number from 1 on among the ``count`` parts of an export."""

    export_id: UUID
    number: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An export at one moment. ``progress`` is 0 to 1, ``covers`` what was recorded in its range.

    ``size_bytes`` is None until there is a file, ``error`` None unless it has failed. ``error_code`` is
    for programs; with ``format_changed``, ``parts`` are the ranges of one format each, with an export of
    its own. ``part`` is the place of such an export among the parts. ``gaps`` are the first ones of the
    range, ``changes`` those of the tracks, also where they are joined.
    """

    id: UUID
    camera_id: UUID
    user_id: str
    from_: datetime
    to: datetime
    state: ExportState
    progress: float
    size_bytes: int | None
    error: str | None
    error_code: str | None = None
    parts: Sequence[ExportPart] = ()
    part: PartOf | None = None
    gaps: Sequence[Gap] = ()
    changes: Sequence[FormatChange] = ()
    created_at: datetime
    expires_at: datetime
    covers: Sequence[TimeRange]
    proven: bool


Prove = Callable[[Export, Sequence[Segment], Path], bytes]
"""Returns the proof of an export's file, which was joined from these segments; raises on doubt."""


@dataclass(slots=True, kw_only=True)
class ExportTask:
    """An export while it is kept; changed under the lock of ``Exports``."""

    id: UUID
    camera_id: UUID
    user_id: str
    from_: datetime
    to: datetime
    created_at: datetime
    created_s: float
    """By the monotonic clock, which decides when it is removed."""
    segments: Sequence[Segment]
    covers: Sequence[TimeRange] = ()
    state: ExportState = "queued"
    progress_ms: int = 0
    total_ms: int = 1
    size_bytes: int | None = None
    error: str | None = None
    error_code: str | None = None
    parts: Sequence[ExportPart] = ()
    part: PartOf | None = None
    gaps: Sequence[Gap] = ()
    changes: Sequence[FormatChange] = ()
    pieces: Sequence[ExportPiece] = field(default=(), repr=False)
    """What is joined; empty until the files are read."""
    folders: Sequence[str] = ()
    """The camera's folders that hold the segments."""
    hevc: bool = False
    filled: bool = False
    """Whether time without sound is filled with silence."""
    job: Job | None = None
    output: bytes = field(default=b"", repr=False)
    proven: bool = False
    unproven: str = "nothing is signed here: no SEAL_KEY_FILE is set"

    def snapshot(self) -> Export:
        """Return the export as it is now."""
        done = self.state == "done"
        return Export(
            id=self.id,
            camera_id=self.camera_id,
            user_id=self.user_id,
            from_=self.from_,
            to=self.to,
            state=self.state,
            progress=1.0 if done else round(min(0.99, self.progress_ms / self.total_ms), 3),
            size_bytes=self.size_bytes,
            error=self.error,
            error_code=self.error_code,
            parts=self.parts,
            part=self.part,
            gaps=self.gaps,
            changes=self.changes,
            created_at=self.created_at,
            expires_at=self.created_at + KEPT_FOR,
            covers=self.covers,
            proven=self.proven and done,
        )

    @property
    def unfinished(self) -> bool:
        """Whether its file is still to be made."""
        return self.state in {"queued", "running"}

    @property
    def needs_bytes(self) -> int:
        """Disk space that it takes, or may take once it is made."""
        if not self.unfinished:
            return self.size_bytes or 0
        return sum(_share_of(segment, self.from_, self.to) for segment in self.segments)


class Exports:
    """All exports of this process, signed by ``prove`` where that is given. Any thread.

    ``require_root`` raises RootNotKnown unless the record root is the known one: nothing is written to
    another folder.

    FFmpeg runs in the thread of all jobs. Preparing and proving an export read whole files, and have a
    short-lived thread each.
    """

    def __init__(
        self,
        *,
        jobs: JobRunner,
        ffmpeg: Callable[[], str],
        segments: SegmentRepository,
        gaps: GapRepository,
        record_root: Path,
        reserve_bytes: Callable[[int], int],
        clock: Clock,
        prove: Prove | None = None,
        require_root: Callable[[], None] = lambda: None,
    ) -> None:
        self._require_root = require_root
        self._cleared = False
        self._jobs = jobs
        self._ffmpeg = ffmpeg
        self._segments = segments
        self._gaps = gaps
        self._files = ExportFiles(record_root)
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._prove = prove
        self._tasks: dict[UUID, ExportTask] = {}
        self._queue: deque[ExportTask] = deque()
        self._running: list[ExportTask] = []
        """Those that a thread or FFmpeg works on, also when they have been cancelled meanwhile."""
        self._lock = threading.RLock()
        self._timers: Timers | None = None

    def start(self) -> None:
        """Remove the files of the process before, and begin to tidy up."""
        self._cleared = False
        with suppress(RootNotKnown):
            self._clear_once()
        self._timers = Timers()
        self._timers.after(_TIDY_EVERY_S, self._tidy_again)

    def _clear_once(self) -> None:
        self._require_root()
        if not self._cleared:
            self._files.clear()
            self._cleared = True

    def stop(self) -> None:
        """Stop tidying up; the jobs end with their runner."""
        if self._timers is not None:
            self._timers.close()

    def add(self, camera_id: UUID, user_id: str, from_: datetime, to: datetime) -> Export:
        """Queue an export.

        Raises:
            NothingRecorded: the range has no recordings.
            RangeTooLong: it has more segments than one export may hold.
            TooManyExports: the user has as many as one may have.
            ExportsBusy, NoSpace, RootNotKnown: not now.
        """
        self._clear_once()
        found = self._segments.in_range(camera_id, from_, to, limit=MAX_SEGMENTS + 1)
        if len(found) > MAX_SEGMENTS:
            raise RangeTooLong(f"more than {MAX_SEGMENTS} segments; ask for less", field="to")
        taken = without_overlap(found)
        if not taken:
            raise NothingRecorded("nothing was recorded then")
        task = ExportTask(
            id=uuid4(),
            camera_id=camera_id,
            user_id=user_id,
            from_=from_,
            to=to,
            created_at=self._clock.now(),
            created_s=self._clock.monotonic(),
            segments=taken,
            covers=covered(taken, from_, to),
            gaps=_shown_gaps(self._gaps.in_range(camera_id, from_, to), from_, to),
        )
        with self._lock:
            self._tidy()
            self._refuse_if_full(task)
            self._tasks[task.id] = task
            self._queue.append(task)
            self._run_next()
            return task.snapshot()

    def of_camera(self, camera_id: UUID) -> list[Export]:
        """Return a camera's exports, newest first."""
        with self._lock:
            self._tidy()
            found = [task for task in self._tasks.values() if task.camera_id == camera_id]
            return [task.snapshot() for task in reversed(found)]

    def get(self, camera_id: UUID, export_id: UUID) -> Export:
        """Return an export; raise ExportNotFound."""
        with self._lock:
            self._tidy()
            return self._known(camera_id, export_id).snapshot()

    def cancel(self, camera_id: UUID, export_id: UUID) -> Export:
        """End an unfinished export, delete the file of a finished one; both leave their place at once.

        So do its parts.
        """
        with self._lock:
            task = self._known(camera_id, export_id)
            for part in task.parts:
                if part.export_id in self._tasks:
                    self.cancel(camera_id, part.export_id)
            if task.job is not None and task.state == "running":
                self._jobs.cancel(task.job)
            if task in self._queue:
                self._queue.remove(task)
            task.state = "cancelled"
            self._files.remove(task, FILE, PROOF)
            task.size_bytes = None
            if task not in self._running:
                task.segments = task.pieces = ()
            return task.snapshot()

    def open(self, camera_id: UUID, export_id: UUID) -> OpenFile:
        """Open an export's file; raise ExportNotFound, ExportNotReady."""
        with self._lock:
            task = self._known(camera_id, export_id)
            if task.state != "done":
                raise ExportNotReady("the export has no file")
            return self._files.open(task)

    def give_way(self, missing_bytes: int) -> int:
        """Delete the oldest files beyond the exports' share of the reserve, as far as it lacks them.

        Return how many of the ``missing_bytes`` no recording has to make room for.
        """
        with self._lock:
            room, freed = self._room(), 0
            while freed < min(missing_bytes, room.beyond_bytes):
                if (task := self._first_to_go()) is None:
                    break
                freed += task.size_bytes or 0
                self._files.remove(task, FILE, PROOF)
                task.state, task.size_bytes = "cancelled", None
                task.error = "deleted, because recordings needed the space"
                log.warning("export_gave_way", export=str(task.id))
            return min(missing_bytes, freed + room.spared_bytes)

    def proof(self, camera_id: UUID, export_id: UUID) -> bytes:
        """Return an export's proof; raise ExportNotFound, ExportNotReady, ProofNotAvailable."""
        with self._lock:
            task = self._known(camera_id, export_id)
            if task.state != "done":
                raise ExportNotReady("the export is not done")
            if not task.proven:
                raise ProofNotAvailable(task.unproven)
            return self._files.read_proof(task)

    # Under the lock

    def _known(self, camera_id: UUID, export_id: UUID) -> ExportTask:
        task = self._tasks.get(export_id)
        if task is None or task.camera_id != camera_id:
            raise ExportNotFound("this camera has no such export")
        return task

    def _first_to_go(self) -> ExportTask | None:
        """Return the oldest export with a file of the user whose files take the most."""
        done = [task for task in self._tasks.values() if task.state == "done"]
        held = Counter[str]()
        for task in done:
            held[task.user_id] += task.size_bytes or 0
        return max(done, key=lambda task: held[task.user_id], default=None)

    def _refuse_if_full(self, task: ExportTask) -> None:
        of_user = [one for one in self._tasks.values() if one.user_id == task.user_id]
        if sum(one.state == "queued" for one in of_user) >= _WAITING_OF_USER:
            raise TooManyExports("as many of your exports are waiting as may", retry_after_s=60)
        if sum(one.unfinished or one.state == "done" for one in of_user) >= _FILES_OF_USER:
            raise TooManyExports(
                f"you have {_FILES_OF_USER} exports: delete one first", retry_after_s=600
            )
        if len(self._queue) >= _WAITING:
            raise ExportsBusy("too many exports are waiting", retry_after_s=60)
        own = others = 0
        for one in self._tasks.values():
            if one.user_id == task.user_id:
                own += one.needs_bytes
            else:
                others += one.needs_bytes
        left = self._room().share_bytes(others) - own
        if task.needs_bytes > left:
            room = (
                f"there is room for {size_in_words(left)} of it" if left > 0 else "there is no room"
            )
            raise NoSpace(f"{room}: ask for a shorter time, or delete exports", retry_after_s=600)

    def _room(self) -> ExportRoom:
        disk = free_space_of(self._files.folder)
        return ExportRoom(
            free_bytes=disk.free_bytes,
            reserve_bytes=self._reserve_bytes(disk.total_bytes),
            held_bytes=self._files.held_bytes(),
        )

    def _run_next(self) -> None:
        while len(self._running) < _AT_ONCE and (task := self._next()) is not None:
            self._queue.remove(task)
            task.state = "running"
            self._running.append(task)
            # A thread of its own: it reads the structure of every file.
            threading.Thread(
                target=self._begin, args=(task,), name="export-prepare", daemon=True
            ).start()

    def _next(self) -> ExportTask | None:
        """Return the first waiting export of a user who has none running."""
        running = Counter(one.user_id for one in self._running)
        waiting = (one for one in self._queue if running[one.user_id] < _AT_ONCE_A_USER)
        return next(waiting, None)

    # Thread export-prepare

    def _begin(self, task: ExportTask) -> None:
        try:
            total_ms = self._files.prepare(task)
            argv = self._files.joining_argv(task, self._ffmpeg())
        except FormatChanged as error:
            with self._lock:
                task.error_code = error.code
                if task.state == "running":
                    self._divide(task)
                self._finish(task, "failed", str(error))
            return
        except Exception as error:  # edge of a thread: the export fails with this error
            log.exception("export_not_prepared", export=str(task.id))
            self._finish(task, "failed", f"it could not be prepared: {type(error).__name__}")
            return
        if total_ms is None:
            self._finish(task, "failed", "nothing of the range is left")
            return
        with self._lock:
            task.total_ms = total_ms
            if task.state != "running":
                self._finish(task, task.state, None)
                return
            task.job = self._jobs.run(
                JobOrder(
                    argv=argv,
                    folder=self._files.folder,
                    reach=self._files.reach(task),
                    timeout_s=_TIMEOUT_S,
                    on_end=partial(self._ended, task),
                    on_output=partial(self._progressed, task),
                )
            )

    def _divide(self, task: ExportTask) -> None:
        """Queue an export of each part of one format."""
        parts, shown = parts_of(task), list[ExportPart]()
        for number, (span, pieces) in enumerate(parts, start=1):
            part = None
            if len(parts) <= MOST_PARTS:
                part = _part_of(task, span, pieces, PartOf(task.id, number, len(parts)))
                self._tasks[part.id] = part
                self._queue.append(part)
            tracks = tracks_of(pieces[0].span)
            shown.append(ExportPart(number, span, tracks, None if part is None else part.id))
        task.parts = shown[:MOST_PARTS]

    # Thread of all jobs

    def _progressed(self, task: ExportTask, chunk: bytes) -> None:
        task.output = (task.output + chunk)[-_BUFFER_CHARS:]
        whole_lines, _, _ = task.output.rpartition(b"\n")
        if (so_far := progress_ms(whole_lines)) is not None:
            task.progress_ms = so_far

    def _ended(self, task: ExportTask, end: JobEnd) -> None:
        if end.succeeded:
            # A thread of its own: joints are decoded, and a proof reads every file once more.
            threading.Thread(
                target=self._check_and_prove, args=(task,), name="export-prove", daemon=True
            ).start()
        elif end.outcome is JobOutcome.CANCELLED:
            self._finish(task, "cancelled", None)
        else:
            log.warning(
                "export_failed", outcome=end.outcome, exit_code=end.exit_code, stderr=end.stderr
            )
            reason = (
                "it took too long"
                if end.outcome is JobOutcome.TIMED_OUT
                else "FFmpeg could not join it"
            )
            self._finish(task, "failed", reason)

    # Thread export-prove

    def _check_and_prove(self, task: ExportTask) -> None:
        """Publish an export whose joints can be decoded, and sign it; without a proof it is done too."""
        try:
            broken = self._broken_joint(task)
            if broken is None:
                self._files.publish(task)
        except Exception as error:  # edge of a thread: the export fails with this error
            log.exception("export_not_checked", export=str(task.id))
            self._finish(task, "failed", f"it could not be checked: {type(error).__name__}")
            return
        if broken is not None:
            at = rfc3339(broken)
            log.error("export_broken", export=str(task.id), at=at)
            self._finish(task, "failed", f"what was joined at {at} cannot be decoded")
            return
        try:
            if self._prove is not None:
                file = self._files.path(task, FILE)
                proof = self._prove(task.snapshot(), task.segments, file)
                self._files.write_proof(task, proof)
                task.proven = True
        except Exception as error:  # edge of a thread: a request for the proof gets this reason
            task.unproven = "it could not be proven that its sources are what was stored"
            log.exception("export_not_proven", export=str(task.id), error=str(error))
        self._finish(task, "done", None)

    def _broken_joint(self, task: ExportTask) -> datetime | None:
        reach = Reach(reads=(self._files.path(task, PART).name, *task.folders))

        def run(argv: Sequence[str]) -> JobEnd:
            return self._jobs.run_and_wait(
                argv, self._files.folder, timeout_s=_CHECKED_WITHIN_S, reach=reach
            )

        joints = chosen(joints_of(task.pieces))
        found = first_broken(run, self._ffmpeg(), self._files.path(task, PART), joints)
        return None if found is None else found.at

    # Any of the three threads

    def _finish(self, task: ExportTask, state: ExportState, error: str | None) -> None:
        with self._lock:
            self._running.remove(task)
            task.segments = task.pieces = ()  # up to 10,000 rows, which nobody needs any more
            self._files.remove(task, LIST, SOUND_LIST, SILENCE, PART)
            if task.state == "cancelled":
                self._files.remove(task, FILE, PROOF)
            else:
                task.state, task.error = state, error
            if task.state == "done":
                task.size_bytes = self._files.path(task, FILE).stat().st_size
            log.info("export_ended", export=str(task.id), state=task.state)
            task.job = None
            self._run_next()

    # Thread of the timers

    def _tidy_again(self) -> None:
        with self._lock:
            self._tidy()
        if self._timers is not None:
            self._timers.after(_TIDY_EVERY_S, self._tidy_again)

    def _tidy(self) -> None:
        horizon_s = self._clock.monotonic() - KEPT_FOR.total_seconds()
        for task in list(self._tasks.values()):
            if not task.unfinished and task.created_s < horizon_s:
                self._files.remove(task, FILE, PROOF)
                del self._tasks[task.id]
        ended = Counter[str]()
        for task in reversed(list(self._tasks.values())):
            if not task.unfinished and task.state != "done":
                ended[task.user_id] += 1
                if ended[task.user_id] > _ENDED_OF_USER and task not in self._running:
                    del self._tasks[task.id]


class ExportFiles:
    """The files of exports: a list for FFmpeg, the part that it writes, the file and its proof.

    Blocking; any thread, one export by one thread at a time.
    """

    def __init__(self, record_root: Path) -> None:
        self.folder = record_root / STATE / "exports"
        self._record_root = record_root

    def clear(self) -> None:
        """Make the folder, empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, task: ExportTask, suffix: str) -> Path:
        """Return the path of one of an export's files."""
        return self.folder / f"{task.id}{suffix}"

    def prepare(self, task: ExportTask) -> int | None:
        """Write FFmpeg's list; return the length of the media in ms, None if no file is left.

        Raises:
            FormatChanged: they are of more than one format; ``parts_of`` tells the ranges of one each.
        """
        if not task.pieces:
            plan = plan_export(
                task.segments,
                task.from_,
                task.to,
                self._record_root,
                wanted=lambda: task.unfinished,
            )
            task.pieces, task.changes = plan.pieces, plan.changes
            if any(change.cut for change in plan.changes):
                raise FormatChanged(_changes_in_words(plan.changes))
        if not task.pieces:
            return None
        task.hevc = task.pieces[0].span.codec == "h265"
        entries = [piece.entry for piece in task.pieces]
        self._write_lists(task, entries)
        task.folders = tuple(sorted({str(entry.path.parent.parent) for entry in entries}))
        self.path(task, PART).touch(0o640)
        return max(1, sum(entry.media_ms for entry in entries))

    def _write_lists(self, task: ExportTask, pieces: Sequence[ConcatEntry]) -> None:
        """Write FFmpeg's list; where the sound pauses, silence and a list of its own for the sound."""
        heard = [piece for piece in pieces if piece.sound]
        mixed = 0 < len(heard) < len(pieces)
        header = heard[0].path if mixed else None
        self.path(task, LIST).write_text(concat_list(pieces, header=header), encoding="utf-8")
        if header is None:
            return
        kinds = [piece.sound for piece in pieces]
        between = pieces[kinds.index(True) : len(kinds) - kinds[::-1].index(True)]
        longest_ms = max((piece.media_ms for piece in between if not piece.sound), default=0)
        task.filled = longest_ms > 0
        if task.filled:
            silence = self.path(task, SILENCE)
            silence.write_bytes(silence_of(header, longest_ms))
            script = concat_list(pieces, header=header, silence=silence)
            self.path(task, SOUND_LIST).write_text(script, encoding="utf-8")

    def joining_argv(self, task: ExportTask, ffmpeg: str) -> Sequence[str]:
        """Return the command that joins the list into the part, in ``folder``."""
        listed, part = self.path(task, LIST).name, self.path(task, PART).name
        sound = self.path(task, SOUND_LIST).name if task.filled else None
        return concat_argv(ffmpeg, listed, part, sound=sound, hevc=task.hevc)

    def reach(self, task: ExportTask) -> Reach:
        """Return what that command may use: the camera's recordings and this export's own files."""
        own = tuple(self.path(task, suffix).name for suffix in (LIST, SOUND_LIST, SILENCE))
        return Reach(reads=(*own, *task.folders), writes=(self.path(task, PART).name,))

    def publish(self, task: ExportTask) -> None:
        """Rename the finished part to the export's file; raise OSError."""
        self.path(task, PART).rename(self.path(task, FILE))

    def write_proof(self, task: ExportTask, proof: bytes) -> None:
        """Write an export's proof; raise OSError."""
        self.path(task, PROOF).write_bytes(proof)

    def read_proof(self, task: ExportTask) -> bytes:
        """Return an export's proof; raise ExportNotFound."""
        try:
            return self.path(task, PROOF).read_bytes()
        except OSError as error:
            raise ExportNotFound("the export's proof is gone") from error

    def open(self, task: ExportTask) -> OpenFile:
        """Open an export's file; raise ExportNotFound."""
        try:
            stream = self.path(task, FILE).open("rb")
        except OSError as error:
            raise ExportNotFound("the export's file is gone") from error
        return OpenFile(
            stream=stream,
            size_bytes=os.fstat(stream.fileno()).st_size,
            modified_at=task.created_at.replace(microsecond=0),
            etag=str(task.id),
        )

    def remove(self, task: ExportTask, *suffixes: str) -> None:
        """Remove these of an export's files, if they are there."""
        for suffix in suffixes:
            self.path(task, suffix).unlink(missing_ok=True)

    def held_bytes(self) -> int:
        """Return the disk space that all files of exports take."""
        held = 0
        with suppress(FileNotFoundError):  # no folder before the first export
            for entry in os.scandir(self.folder):
                with suppress(FileNotFoundError):
                    held += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
        return held


def _share_of(segment: Segment, from_: datetime, to: datetime) -> int:
    """Return how many bytes of a segment an export from ``from_`` to ``to`` takes, at most."""
    taken_s = (min(to, segment.ended_at) - max(from_, segment.started_at)).total_seconds()
    length_s = (segment.ended_at - segment.started_at).total_seconds()
    share = (taken_s + _KEY_FRAMES_WITHIN_S) / length_s if length_s > 0 else 1.0
    return math.ceil(segment.size_bytes * min(1.0, share))


def without_overlap(segments: Sequence[Segment]) -> list[Segment]:
    """Leave out segments that one of another run covers: in a make-before-break two runs overlap."""
    kept: list[Segment] = []
    for segment in segments:
        if kept and segment.run != kept[-1].run and segment.ended_at <= kept[-1].ended_at:
            continue
        kept.append(segment)
    return kept


def covered(segments: Sequence[Segment], from_: datetime, to: datetime) -> list[TimeRange]:
    """Return the recorded ranges between ``from_`` and ``to``, seams left out."""
    found: list[TimeRange] = []
    parts = [part for segment in segments for part in segment.pictures]
    for part in sorted(parts, key=attrgetter("from_")):
        started_at, ended_at = max(part.from_, from_), min(part.to, to)
        if started_at >= ended_at:
            continue
        if found and started_at - found[-1].to < SEAM:
            found[-1] = TimeRange(found[-1].from_, max(found[-1].to, ended_at))
        else:
            found.append(TimeRange(started_at, ended_at))
    return found


def silence_of(path: Path, length_ms: int) -> bytes:
    """Return a file of silence in the format of a file's sound; raise OSError, NotFragmentedMp4."""
    fd = open_nofollow(path)
    try:
        moov = read_moov(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)
    sound = file_format(moov).sound
    if sound is None:
        raise NotFragmentedMp4("no track of sound")
    return silence_like(moov, sound, length_ms)


def parts_of(task: ExportTask) -> list[tuple[TimeRange, list[ExportPiece]]]:
    """Return the ranges between the changes that cut an export, with the pieces of each."""
    cuts = [change.at for change in task.changes if change.cut]
    moments = [task.from_, *cuts, task.to]
    found = []
    for number, (begins, ends) in enumerate(pairwise(moments)):
        group = [piece for piece in task.pieces if bisect_right(cuts, piece.at) == number]
        found.append((TimeRange(begins, ends), group))
    return found


def _part_of(
    task: ExportTask, span: TimeRange, pieces: Sequence[ExportPiece], part: PartOf
) -> ExportTask:
    """Return the export of a part."""
    segments = list({piece.segment.id: piece.segment for piece in pieces}.values())
    return ExportTask(
        id=uuid4(),
        camera_id=task.camera_id,
        user_id=task.user_id,
        from_=span.from_,
        to=span.to,
        created_at=task.created_at,
        created_s=task.created_s,
        segments=segments,
        covers=covered(segments, span.from_, span.to),
        part=part,
        gaps=_shown_gaps(task.gaps, span.from_, span.to),
        changes=[one for one in task.changes if span.from_ <= one.at <= span.to],
        pieces=pieces,
    )


def _shown_gaps(gaps: Sequence[Gap], from_: datetime, to: datetime) -> list[Gap]:
    found = [one for one in gaps if one.started_at < to and (one.ended_at or to) > from_]
    return found[:_SHOWN_GAPS]


def _changes_in_words(changes: Sequence[FormatChange]) -> str:
    cuts = [change.at for change in changes if change.cut]
    shown = ", ".join(rfc3339(at) for at in cuts[:_SHOWN_CHANGES])
    more = f" and {len(cuts) - _SHOWN_CHANGES} times more" if cuts[_SHOWN_CHANGES:] else ""
    made = "each part is made by itself" if len(cuts) < MOST_PARTS else "ask for a shorter time"
    return f"the camera's format changes at {shown}{more}: {made}"
