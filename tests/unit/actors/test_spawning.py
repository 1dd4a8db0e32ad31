from __future__ import annotations

import jwt
import pytest

from streamwarden.actors.spawning import Backoff, Spawning, describe_stream
from streamwarden.ffmpeg.command import RunOrder
from streamwarden.ffmpeg.stream_tracks import StreamTracks
from streamwarden.model import Cause
from streamwarden.recordings.camera_files import CannotStore
from tests.fakes.manual_time import ManualClock
from tests.fakes.recording import FakeCameraFiles, FakeTokens
from tests.unit.actors.recorder_harness import CAMERA, START_S, URL

FRESH = "rtsp://media/cam?fetched=1"


def url_that_ends_at(seconds: float) -> str:
    """A URL whose token expires then; nobody checks its signature here."""
    return f"rtsp://media/cam?token={jwt.encode({'exp': seconds}, 'k' * 32)}"


class SpawningHarness:
    def __init__(self) -> None:
        self.files = FakeCameraFiles()
        self.tokens = FakeTokens()
        self.spawning = Spawning(
            camera_id=CAMERA,
            files=self.files,
            tokens=self.tokens,
            clock=ManualClock(),
            backoff=Backoff(),
            chance=lambda: 1.0,
            describe=self.describe,
        )
        self.tracks: StreamTracks | None = StreamTracks("H264", None)
        self.described: list[str] = []

    def describe(self, url: str) -> StreamTracks | None:
        self.described.append(url)
        return self.tracks

    def order(self) -> RunOrder:
        return self.spawning.order(self.spawning.preparation()(), 30, beside=False)


@pytest.mark.parametrize(("ends_in_s", "used"), [(20.0, True), (19.9, False), (-5.0, False)])
def test_an_offered_url_is_used_while_twenty_seconds_remain(ends_in_s: float, used: bool) -> None:
    harness = SpawningHarness()
    offered = url_that_ends_at(START_S + ends_in_s)
    harness.spawning.offer(offered)
    assert harness.order().url == (offered if used else FRESH)


def test_a_url_without_an_expiry_is_used() -> None:
    harness = SpawningHarness()
    harness.spawning.offer(URL)
    assert harness.order().url == URL


def test_an_offered_url_is_used_once() -> None:
    harness = SpawningHarness()
    harness.spawning.offer(URL)
    assert [harness.order().url, harness.order().url] == [URL, FRESH]


def test_offering_nothing_takes_nothing_away() -> None:
    harness = SpawningHarness()
    harness.spawning.offer(URL)
    harness.spawning.offer(None)
    assert harness.order().url == URL


def test_the_newest_offer_counts() -> None:
    harness = SpawningHarness()
    harness.spawning.offer("rtsp://media/cam?older")
    harness.spawning.offer(URL)
    assert harness.order().url == URL


def test_each_order_has_a_run_number_of_its_own() -> None:
    harness = SpawningHarness()
    assert [harness.order().run, harness.order().run] == [1, 2]


def test_a_full_disk_is_the_disks_fault() -> None:
    harness = SpawningHarness()
    harness.files.refuse("next_run")
    with pytest.raises(CannotStore) as refusal:
        harness.order()
    assert refusal.value.cause is Cause.DISK_FULL


def test_no_token_costs_no_run_number() -> None:
    harness = SpawningHarness()
    harness.tokens.refusals.append(OSError("scripted"))
    with pytest.raises(OSError, match="scripted"):
        harness.order()
    assert harness.order().run == 1


def test_a_longer_probe_outlives_a_recording() -> None:
    harness = SpawningHarness()
    harness.spawning.lost(Cause.STARTING, recorded=False)
    harness.spawning.recorded()
    assert harness.order().probe_s == 5.0


def test_only_the_run_after_one_that_was_connected_in_vain_is_patient() -> None:
    harness = SpawningHarness()
    assert not harness.order().patient
    for _ in range(9):
        assert harness.spawning.lost(Cause.NO_KEY_FRAME, recorded=False) == 0.0
        assert harness.order().patient
    assert harness.spawning.lost(Cause.SOURCE_OFFLINE, recorded=False) > 0.0
    assert not harness.order().patient


H265 = StreamTracks("H265", None)


def test_each_spawn_knows_what_the_stream_holds_by_then() -> None:
    harness = SpawningHarness()
    harness.spawning.offer(URL)
    assert (harness.order().tracks == H265, harness.described) == (False, [URL])
    harness.tracks = H265
    assert harness.order().tracks == H265
    harness.tracks = None
    order = harness.order()
    assert order.tracks == H265, "a description that fails leaves what was known"
    assert order.audio == "none"


def test_a_description_that_fails_prevents_no_spawn() -> None:
    # Port 1 refuses; the name of this scheme's host does not even parse.
    for url in ("rtsp://127.0.0.1:1/cam?token=t", "http://127.0.0.1/cam"):
        assert describe_stream(url) is None
    harness = SpawningHarness()
    harness.tracks = None
    assert (harness.order().tracks, harness.order().audio) == (None, "none")


def test_a_closed_segment_begins_the_pauses_anew() -> None:
    harness = SpawningHarness()
    for _ in range(6):
        harness.spawning.lost(Cause.TIMEOUT, recorded=False)
    harness.spawning.recorded()
    assert harness.spawning.lost(Cause.TIMEOUT, recorded=True) == 0.0
    assert harness.spawning.lost(Cause.TIMEOUT, recorded=True) == 0.5


def test_no_url_is_in_an_orders_repr() -> None:
    harness = SpawningHarness()
    harness.spawning.offer(URL)
    assert "rtsp" not in repr(harness.order())
