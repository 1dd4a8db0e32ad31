"""Exports over recordings with sound in some files and none in others."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import which
from typing import Any
from uuid import uuid4

import pytest

from streamwarden.ffmpeg.command import _FRAGMENTS
from streamwarden.ffmpeg.jobs import JobRunner
from streamwarden.recordings.durable import file_digest
from streamwarden.recordings.exports import Export, Exports
from tests.fakes.manual_time import ManualClock
from tests.fakes.storage import FakeStorage
from tests.fakes.storage_samples import at
from tests.integration.ffmpeg.ffmpeg_builds import BOTH, ffmpeg_of
from tests.integration.recordings.footage import FFMPEG, probe, rows_of
from tests.integration.recordings.test_exports import ExportHarness

SECONDS = 3
SOUNDS = {
    "aac": ("-c:a", "aac", "-ar", "8000"),
    "other": ("-c:a", "aac", "-ar", "16000"),
    "opus": ("-c:a", "libopus"),
}


class Recorded(ExportHarness):
    """A camera with a file for each of ``sounds``, "" without one; all have the same picture."""

    def __init__(self, root: Path, jobs: JobRunner, ffmpeg: str, *sounds: str) -> None:
        self.root, self.camera_id, self.clock = root, uuid4(), ManualClock(at(3_600))
        folder = root / "alice" / str(self.camera_id) / "2026-03-01"
        folder.mkdir(parents=True)
        rows = []
        for number, sound in enumerate(sounds):
            path = folder / f"r1-{number:06d}.mp4"
            self.write(path, sound)
            (row,) = rows_of(root, self.camera_id, [path], run=number + 1)
            later = timedelta(seconds=SECONDS * number)
            digest = file_digest(path)
            rows.append(
                replace(
                    row,
                    started_at=row.started_at + later,
                    ended_at=row.ended_at + later,
                    digest=digest,
                )
            )
        self.rows, self.storage = rows, FakeStorage()
        self.storage.segments.insert_many(rows)
        self.exports = Exports(
            jobs=jobs,
            ffmpeg=lambda: ffmpeg,
            segments=self.storage.segments,
            gaps=self.storage.gaps,
            record_root=root,
            reserve_bytes=lambda _: 0,
            clock=self.clock,
        )
        self.exports.start()

    @staticmethod
    def write(path: Path, sound: str) -> None:
        picture = ("-f", "lavfi", "-i", f"testsrc=size=160x120:rate=10:duration={SECONDS}")
        tone = ("-f", "lavfi", "-i", f"sine=duration={SECONDS}:sample_rate=48000")
        video = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0")
        options = re.split(r"(?<!\\):", _FRAGMENTS)
        fragments = [
            word for one in options for word in ("-" + one.split("=")[0], one.split("=")[1])
        ]
        inputs = (*picture, *tone, *SOUNDS[sound]) if sound else picture
        argv = [FFMPEG, "-v", "error", "-nostdin", *inputs, *video, *fragments, str(path)]
        subprocess.run(argv, check=True, timeout=60)

    def file(self, export: Export) -> Path:
        return self.root / ".streamwarden" / "exports" / f"{export.id}.mp4"


@pytest.fixture
def jobs() -> Iterator[JobRunner]:
    runner = JobRunner()
    runner.start()
    yield runner
    runner.close()


def tracks_of(file: Path) -> dict[str, Any]:
    argv = [which("ffprobe") or "ffprobe", "-v", "error", "-of", "json", "-show_streams", str(file)]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["streams"]
    return {track["codec_type"]: track for track in found}


def pauses_of(file: Path) -> list[tuple[int, int]]:
    """The times without sound, as decoded one sample after the other, in whole seconds."""
    graph = "asetpts=N/SR/TB,silencedetect=noise=-50dB:duration=1"
    argv = [FFMPEG, "-nostdin", "-i", str(file), "-map", "0:a", "-af", graph, "-f", "null", "-"]
    said = subprocess.run(argv, check=True, timeout=60, capture_output=True).stderr.decode()
    # A file of the test has 0.1 s more sound than pictures.
    times = [int(float(time)) for time in re.findall(r"silence_(?:start|end): ([\d.]+)", said)]
    return list(zip(times[::2], times[1::2], strict=True))


@pytest.mark.parametrize("build", BOTH)
@pytest.mark.parametrize(
    ("sounds", "begins_s", "pauses"),
    [
        (["", "aac"], SECONDS, []),
        (["aac", ""], 0, []),
        (["", "", "aac", "", "aac"], 2 * SECONDS, [(3, 6)]),
        (["aac", "", "", "aac", ""], 0, [(3, 9), (12, 15)]),
    ],
)
def test_the_picture_is_whole_and_the_sound_is_where_it_was(  # noqa: PLR0917 - a table
    tmp_path: Path,
    jobs: JobRunner,
    build: str,
    sounds: list[str],
    begins_s: int,
    pauses: list[tuple[int, int]],
) -> None:
    recorded = Recorded(tmp_path, jobs, ffmpeg_of(build), *sounds)
    done = recorded.ended(recorded.add(0, SECONDS * len(sounds)).id)
    assert (done.state, done.error) == ("done", None)
    file = recorded.file(done)
    seconds, complaints = probe(file)
    assert (round(seconds), complaints) == (SECONDS * len(sounds), "")
    tracks = tracks_of(file)
    assert float(tracks["video"]["start_time"]) == pytest.approx(0, abs=0.15)
    assert float(tracks["audio"]["start_time"]) == pytest.approx(begins_s, abs=0.2)
    assert pauses_of(file) == pauses
    assert recorded.folder() == [file.name]
    heard = [bool(sound) for sound in sounds]
    listed = [(one.at, one.after.sound_codec, one.cut) for one in done.changes]
    expected = [
        (at(SECONDS * number), "aac" if heard[number] else None, False)
        for number in range(1, len(heard))
        if heard[number] != heard[number - 1]
    ]
    assert listed == expected
    recorded.exports.stop()


@pytest.mark.parametrize(
    ("sounds", "changes"),
    [(["aac", "", "other"], [6]), (["opus", "", "opus"], [6]), (["", "opus", ""], [])],
)
def test_sound_that_cannot_be_joined_is_cut(
    tmp_path: Path, jobs: JobRunner, sounds: list[str], changes: list[int]
) -> None:
    recorded = Recorded(tmp_path, jobs, FFMPEG, *sounds)
    done = recorded.ended(recorded.add(0, 9).id)
    assert done.error_code == ("format_changed" if changes else None)
    moments = [at(0), *map(at, changes)] if changes else []
    assert [one.range.from_ for one in done.parts] == moments
    assert [one.at for one in done.changes if one.cut] == moments[1:]
    recorded.exports.stop()
