from __future__ import annotations

import pytest

from streamwarden.mediamtx.path_emptier import PathEmptier, PathNotEmptied
from tests.fakes.http import EPOCH
from tests.fakes.manual_time import ManualClock
from tests.fakes.media_sessions import FakeSessions
from tests.fakes.storage import FakeStorage


def an_emptier(server: FakeSessions | None) -> tuple[PathEmptier, FakeStorage, ManualClock]:
    storage, clock = FakeStorage(), ManualClock(EPOCH)
    return PathEmptier(server, storage.sources, clock), storage, clock


@pytest.mark.parametrize("state", ["read", "publish", "idle"])
def test_whoever_is_on_the_path_is_disconnected_and_nobody_else(state: str) -> None:
    server = FakeSessions()
    here, elsewhere = server.open(state, "a/b"), server.open(state, "a/bc")
    emptier, _, _ = an_emptier(server)
    emptier.empty("a/b")
    assert server.there == [elsewhere]
    assert server.done == [("kick", here.id)]


def test_a_path_that_was_pulled_is_forgotten_before_its_readers_are_looked_for() -> None:
    server = FakeSessions()
    server.open("read", "a/b")
    emptier, storage, _ = an_emptier(server)
    storage.sources.note_path("a/b")
    storage.sources.note_path("a/c")
    emptier.empty("a/b")
    assert [what for what, _ in server.done] == ["forget", "kick"]
    assert storage.sources.paths_set() == {"a/c"}


def test_a_source_that_stays_with_its_camera_is_kept() -> None:
    server = FakeSessions()
    emptier, storage, _ = an_emptier(server)
    storage.sources.note_path("a/b")
    emptier.empty("a/b", keeps_source=True)
    assert server.done == []
    assert storage.sources.paths_set() == {"a/b"}


def test_an_operators_own_path_is_left_alone() -> None:
    server = FakeSessions()
    emptier, _, _ = an_emptier(server)
    emptier.empty("a/b")
    assert server.done == []


def test_a_path_that_cannot_be_emptied_is_not_given() -> None:
    emptier, _, _ = an_emptier(FakeSessions(away=True))
    with pytest.raises(PathNotEmptied, match="away"):
        emptier.empty("a/b")


def test_a_session_that_does_not_end_is_given_up_in_time() -> None:
    server = FakeSessions(stubborn=True)
    server.open("publish", "a/b")
    emptier, _, clock = an_emptier(server)
    kick = server.kick

    def later(session: object) -> bool:
        clock.advance(1)
        return kick(session)  # type: ignore[arg-type]  # what the emptier passes on

    server.kick = later  # type: ignore[method-assign]
    with pytest.raises(PathNotEmptied, match="does not end"):
        emptier.empty("a/b")
    assert 5 <= len(server.done) <= 7


def test_without_a_control_api_the_log_says_that_it_was_not_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    emptier, _, _ = an_emptier(None)
    emptier.empty("a/b")
    assert "path_not_emptied" in capsys.readouterr().out
    emptier.close()
