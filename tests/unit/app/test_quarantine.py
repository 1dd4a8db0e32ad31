"""When the quarantine is recorded into, and which folder may be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest

from streamwarden.app import quarantine as under_test
from streamwarden.app.quarantine import BEGINS_AFTER_S, Quarantine, quarantine_folder
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.model import Cause
from streamwarden.recordings.root_identity import RootFault
from tests.fakes.manual_time import ManualClock


class Root:
    """A watch over a record root whose state a test sets."""

    def __init__(self) -> None:
        self.cause: Cause | None = None

    def fault(self) -> RootFault | None:
        return None if self.cause is None else RootFault(self.cause, "as the test has it")


class Active:
    """What records into the quarantine. ``made`` has each of them; ``refuses`` is why none can be made."""

    made: list[Active]
    refuses: str

    def __init__(self, **_: object) -> None:
        if Active.refuses:
            raise ConfigError(Active.refuses)
        self.failed = ""
        self.space = True
        self.closed = 0
        self.followed = 0
        Active.made.append(self)

    def recording(self) -> int:
        return 3

    def has_space(self) -> bool:
        return self.space

    def follow(self, _: object) -> None:
        self.followed += 1

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def root() -> Root:
    return Root()


@pytest.fixture
def quarantine(
    tmp_path: Path, clock: ManualClock, root: Root, monkeypatch: pytest.MonkeyPatch
) -> Quarantine:
    Active.made, Active.refuses = [], ""
    monkeypatch.setattr(under_test, "ActiveQuarantine", Active)
    return Quarantine(
        settings=Settings(),
        folder=tmp_path,
        watch=cast("Any", root),
        wanted=cast("Any", None),
        database=cast("Any", None),
        clock=clock,
        sandbox=None,
    )


def after(quarantine: Quarantine, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    quarantine.step()


@pytest.mark.parametrize(
    "cause", [Cause.RECORD_ROOT_MISSING, Cause.RECORD_ROOT_CHANGED, Cause.RECORD_ROOT_READ_ONLY]
)
def test_it_is_recorded_into_while_the_root_is_away_and_no_longer(
    quarantine: Quarantine, clock: ManualClock, root: Root, cause: Cause
) -> None:
    after(quarantine, clock, 1)
    root.cause = cause
    after(quarantine, clock, 1)
    after(quarantine, clock, BEGINS_AFTER_S - 0.1)
    assert Active.made == []
    assert quarantine.in_words() == ""
    after(quarantine, clock, 0.1)
    (active,) = Active.made
    assert quarantine.state().recording == 3
    assert "3 cameras are recorded into the quarantine" in quarantine.in_words()
    root.cause = Cause.RECORD_ROOT_HANGS  # it is not back
    after(quarantine, clock, 1)
    assert active.closed == 0
    assert active.followed == 1
    root.cause = None
    after(quarantine, clock, 1)
    assert active.closed == 1
    assert quarantine.state().recording == 0
    assert len(Active.made) == 1


@pytest.mark.parametrize("cause", [Cause.RECORD_ROOT_HANGS, Cause.NOT_WRITABLE])
def test_it_is_not_for_a_root_whose_runs_go_on(
    quarantine: Quarantine, clock: ManualClock, root: Root, cause: Cause
) -> None:
    root.cause = cause
    for _ in range(5):
        after(quarantine, clock, BEGINS_AFTER_S)
    assert Active.made == []


def test_a_root_that_is_back_at_once_begins_nothing(
    quarantine: Quarantine, clock: ManualClock, root: Root
) -> None:
    for _ in range(5):
        root.cause = Cause.RECORD_ROOT_MISSING
        after(quarantine, clock, BEGINS_AFTER_S - 1)
        root.cause = None
        after(quarantine, clock, 1)
    assert Active.made == []


@pytest.mark.parametrize("trouble", ["no space", "given up"])
def test_it_ends_where_it_cannot_go_on_and_is_tried_again(
    quarantine: Quarantine, clock: ManualClock, root: Root, trouble: str
) -> None:
    root.cause = Cause.RECORD_ROOT_MISSING
    after(quarantine, clock, 0)
    after(quarantine, clock, BEGINS_AFTER_S)
    (active,) = Active.made
    if trouble == "no space":
        active.space = False
    else:
        active.failed = trouble
    after(quarantine, clock, 1)
    assert active.closed == 1
    after(quarantine, clock, 10)
    assert len(Active.made) == 1
    after(quarantine, clock, 30)
    assert len(Active.made) == 2
    quarantine.stop()
    assert Active.made[1].closed == 1


def test_a_folder_that_cannot_be_used_is_tried_again(
    quarantine: Quarantine, clock: ManualClock, root: Root
) -> None:
    Active.refuses = "in use"
    root.cause = Cause.RECORD_ROOT_CHANGED
    after(quarantine, clock, 0)
    after(quarantine, clock, BEGINS_AFTER_S)
    Active.refuses = ""
    after(quarantine, clock, 1)
    assert Active.made == []
    after(quarantine, clock, 30)
    assert len(Active.made) == 1


def test_segments_that_wait_are_counted(
    quarantine: Quarantine, clock: ManualClock, tmp_path: Path
) -> None:
    day = tmp_path / "alice" / str(UUID(int=1)) / "2026-01-31"
    day.mkdir(parents=True)
    (day / "090000.000Z-r29000000-0.mp4").write_bytes(b"x")
    (day / "090000.000Z-r29000000-0.mp4.adopted").write_bytes(b"x")
    after(quarantine, clock, 0)
    assert quarantine.state().segments == 1


def test_the_folder_is_checked_at_the_start(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "quarantine"
    root.mkdir()

    def check(path: Path | None) -> Path | None:
        return quarantine_folder(Settings(quarantine_folder=path), root)

    assert check(None) is None
    with pytest.raises(
        ConfigError, match=r"STREAMWARDEN_QUARANTINE_FOLDER.*not an existing folder"
    ):
        check(folder)
    folder.mkdir()
    assert check(folder) == folder
    link = tmp_path / "link"
    link.symlink_to(root)
    for path in (root, tmp_path, root / ".", link):
        with pytest.raises(ConfigError, match="must not contain each other"):
            check(path)
