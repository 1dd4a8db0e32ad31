"""A parked camera's ledger when things come in an unlucky order; the rest is in ``test_parked``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden.actors.parked import ParkedCamera, close_ledger
from streamwarden.ffmpeg.run import RunExit
from streamwarden.recordings.gap_ledger import Ledger
from streamwarden.workers import SerialExecutor
from tests.fakes.recording import FakeRun
from tests.unit.actors.recorder_harness import CAMERA, RecorderHarness, at, closed, torn


class ParkedHarness(RecorderHarness):
    """A camera that has recorded up to second 10 when its recorder is parked."""

    def __init__(self) -> None:
        super().__init__()
        self.files.ledger = Ledger(covered_until=at(10))
        self.go_to(10)

    def live_run(self, run: int = 1) -> FakeRun:
        self.watcher.runs[run] = FakeRun(at(0), recording=True)
        return self.watcher.runs[run]

    def park(self) -> None:
        parked_camera = ParkedCamera(
            camera_id=CAMERA,
            files=self.files,
            disk=SerialExecutor(self.disk),
            meter=self.meter,
            clock=self.clock,
        )
        self.watcher.adopt(CAMERA, parked_camera)

    def end(self, run: int, moment_s: float, tail: tuple[int, float, float] | None = None) -> None:
        self.go_to(moment_s)
        left = torn(run, *tail) if tail else None
        self.watcher.end(run, None, open_segment=left)

    def list_segment(self, run: int, number: int, start_s: float, end_s: float) -> None:
        self.go_to(end_s)
        self.watcher.finish(run, number, at(start_s), at(end_s))

    @property
    def stored(self) -> list[tuple[int, int]]:
        return sorted(self.files.rows)


@pytest.fixture
def care() -> Iterator[ParkedHarness]:
    harness = ParkedHarness()
    yield harness
    harness.meter.close()


def test_while_its_run_still_records_nothing_is_missing(care: ParkedHarness) -> None:
    care.live_run()
    care.park()
    care.go_to(13)
    assert not care.gaps


def test_what_was_listed_and_not_stored_before_the_parking_is_stored(care: ParkedHarness) -> None:
    care.live_run().pending[5] = closed(1, 5, 10, 12)
    care.park()
    care.end(1, 12.25)
    assert care.stored == [(1, 5)]
    assert care.gaps == [(12, None, "actor_parked")]


def test_a_run_that_had_ended_before_the_parking_has_its_tail_stored(care: ParkedHarness) -> None:
    care.live_run().run_exit = RunExit(
        run=1,
        at=at(13),
        cause=None,
        message="scripted",
        recorded=True,
        open_segment=torn(1, 5, 10, 12.5),
    )
    care.park()
    assert care.stored == [(1, 5)]
    assert care.gaps == [(12.5, None, "actor_parked")]


def test_two_runs_that_end_one_after_the_other_leave_one_gap(care: ParkedHarness) -> None:
    care.live_run(1)
    care.live_run(2)
    care.park()
    care.end(1, 12, tail=(5, 10, 12))
    care.end(2, 14, tail=(0, 11, 14))
    assert care.files.opened_with == [{1, 2}]
    assert care.stored == [(1, 5), (2, 0)]
    assert care.gaps == [(14, None, "actor_parked")]


def test_all_is_done_in_order_when_the_disk_is_slow(care: ParkedHarness) -> None:
    care.disk.hold()
    care.live_run()
    care.park()
    care.list_segment(1, 5, 10, 12)
    care.end(1, 12.5, tail=(6, 12, 12.25))
    assert not care.stored
    care.disk.release()
    assert care.files.calls == [(1, 5), (1, 6)]
    assert care.gaps == [(12.25, None, "actor_parked")]


def test_parked_again_it_stores_nothing_twice_and_the_gap_goes_on(care: ParkedHarness) -> None:
    care.live_run()
    care.park()
    care.list_segment(1, 5, 10, 14)
    care.end(1, 14.5)
    row = care.files.rows[1, 5]
    care.go_to(3600)
    care.park()
    assert care.gaps == [(14, None, "actor_parked")]
    assert care.files.rows == {(1, 5): row}


def test_the_gap_is_counted_while_it_is_open(care: ParkedHarness) -> None:
    care.park()
    care.go_to(20)
    care.meter_timers.expire(1.0)
    assert care.metrics.gap_s["actor_parked"] == pytest.approx(8.0)


def test_a_run_that_ends_after_the_ledger_was_closed_does_not_reopen_it(
    care: ParkedHarness,
) -> None:
    # Disconnected while the parked camera's FFmpeg still closed its file.
    care.live_run()
    care.park()
    close_ledger(camera_id=CAMERA, files=care.files, meter=care.meter, at=at(10.25))
    care.end(1, 10.5, tail=(5, 10, 10.25))
    assert care.stored == [(1, 5)]
    assert not care.gaps
    assert care.files.ledger.covered_until is None
