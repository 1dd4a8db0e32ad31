from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from streamwarden.mediamtx.control_api import MediaSession
from streamwarden.mediamtx.publishers import BEGINNINGS_A_MINUTE, UNKNOWN, PublisherTrail
from tests.fakes.audit import FakeAudit
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock

CAMERA = UUID(int=1)
SESSION = MediaSession(
    kind="rtspsessions",
    id="s1",
    state="publish",
    path="yard/door",
    query="token=secret",
    created=EPOCH,
    address="192.0.2.7:5000",
)


class TrailHarness:
    def __init__(self) -> None:
        self.clock, self.audit = ManualClock(EPOCH), FakeAudit()
        at = {"yard/door": CAMERA}
        self.trail = PublisherTrail(self.audit, at.get, self.clock)

    def events(self) -> list[tuple[str, str]]:
        return [(event.action, event.who) for event in self.audit.events]


def test_who_publishes_from_when_to_when_is_noted_once() -> None:
    harness = TrailHarness()
    for _ in range(3):
        harness.trail.seen([(SESSION, "bob")])
        harness.clock.advance(2)
    other = replace(SESSION, id="s2", created=EPOCH + timedelta(seconds=6))
    harness.trail.seen([(other, "carol")])
    harness.trail.seen([])
    assert harness.events() == [
        ("publish", "bob"),
        ("publish_ended", "bob"),
        ("publish", "carol"),
        ("publish_ended", "carol"),
    ]
    first = harness.audit.events[0]
    assert (first.camera_id, first.address, first.outcome) == (CAMERA, "192.0.2.7:5000", "done")
    told = json.loads(first.detail)
    assert told == {"path": "yard/door", "session": "s1", "since": "2026-01-02T03:04:05.678Z"}
    assert "secret" not in first.detail


def test_a_publisher_of_whom_nothing_is_known_is_noted_as_such() -> None:
    harness = TrailHarness()
    harness.trail.seen([(replace(SESSION, path="yard/x"), None)])
    assert harness.events() == [("publish", UNKNOWN)]
    assert harness.audit.events[0].camera_id is None


def test_a_device_that_connects_all_the_time_does_not_fill_the_trail() -> None:
    harness = TrailHarness()
    for number in range(100):
        harness.trail.seen([(replace(SESSION, id=f"s{number}"), "bob")])
    harness.trail.seen([])
    begun = [event for event in harness.audit.events if event.action == "publish"]
    assert len(begun) == BEGINNINGS_A_MINUTE
    assert len(harness.audit.events) == 2 * BEGINNINGS_A_MINUTE
    assert json.loads(begun[-1].detail)["more_not_noted_for_s"] == 60
    harness.trail.seen([(replace(SESSION, id="o", path="yard/other"), "carol")])
    assert harness.events()[-1] == ("publish", "carol"), "each path has a bound of its own"
    harness.clock.advance(60)
    harness.trail.seen([(replace(SESSION, id="later"), "bob")])
    assert ("publish", "bob") in harness.events()[-2:]
