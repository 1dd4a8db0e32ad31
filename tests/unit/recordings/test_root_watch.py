from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from streamwarden.model import Cause
from streamwarden.recordings import root_watch
from streamwarden.recordings.durable import FreeSpace
from streamwarden.recordings.record_root import RecordRoot
from streamwarden.recordings.root_identity import MARKER, RootFault, RootNotKnown, write_id
from streamwarden.recordings.root_watch import HANGS_AFTER_S, SESSION, RootWatch

DEADLINE_S = 10.0
SESSION_ID = uuid4()
ROOT_ID = uuid4()


class WatchedRoot:
    """A root that a server has taken, and the watch over it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_s = 0.0
        self.told: list[Cause | None] = []
        self.spaces: list[FreeSpace] = []
        self.opened_again = 0
        write_id(path, ROOT_ID)
        write_id(path, SESSION_ID, SESSION)
        self.watch = RootWatch(
            path,
            on_fault=lambda fault: self.told.append(None if fault is None else fault.cause),
            on_free_space=self.spaces.append,
            again=self._again,
            monotonic=lambda: self.now_s,
        )
        self.watch.start()

    def _again(self) -> None:
        self.opened_again += 1

    def take(self, *, device: int | None = None) -> None:
        found = self.path.stat().st_dev if device is None else device
        self.watch.take(ROOT_ID, SESSION_ID, found, noted=True)

    def look(self) -> Cause | None:
        fault = self.watch.look(DEADLINE_S)
        return None if fault is None else fault.cause


@pytest.fixture
def root(tmp_path: Path) -> Iterator[WatchedRoot]:
    watched = WatchedRoot(tmp_path / "root")
    yield watched
    watched.watch.close()


def test_a_root_is_not_known_before_it_is_taken(root: WatchedRoot) -> None:
    assert root.look() is Cause.RECORD_ROOT_MISSING
    assert root.watch.facts.id == ROOT_ID
    assert not (root.path / ".streamwarden" / "alive").exists()
    root.take()
    assert root.look() is None
    root.watch.require()


def test_each_look_notes_that_the_server_is_alive_and_what_is_free(root: WatchedRoot) -> None:
    root.take()
    root.look()
    assert RecordRoot(root.path).alive_until() is not None
    assert root.spaces[-1].free_bytes > 0
    assert root.watch.space == root.spaces[-1]


def test_a_root_that_goes_is_missing_and_known_again_when_it_is_back(root: WatchedRoot) -> None:
    root.take()
    away = root.path.rename(root.path.with_name("away"))
    assert root.look() is Cause.RECORD_ROOT_MISSING
    root.path.mkdir()  # the empty folder below the mount point
    assert root.look() is Cause.RECORD_ROOT_MISSING
    assert list(root.path.iterdir()) == []
    with pytest.raises(RootNotKnown, match="holds no record root"):
        root.watch.require()
    root.path.rmdir()
    away.rename(root.path)
    assert root.look() is None
    assert root.told[-2:] == [Cause.RECORD_ROOT_MISSING, None]


def test_another_root_at_the_same_path_is_a_changed_one(root: WatchedRoot) -> None:
    root.take()
    write_id(root.path, UUID(int=7))
    assert root.look() is Cause.RECORD_ROOT_CHANGED


def test_a_copy_on_another_device_is_a_changed_root(root: WatchedRoot) -> None:
    write_id(root.path, uuid4(), SESSION)  # made before this server started
    root.take(device=0)
    assert root.look() is Cause.RECORD_ROOT_CHANGED
    assert root.opened_again == 0


def test_the_root_itself_on_another_device_is_opened_again(root: WatchedRoot) -> None:
    root.take(device=0)
    assert [root.look(), root.look()] == [None, None]
    assert root.opened_again == 1


def test_a_session_that_a_full_disk_refused_to_note_is_not_missed(root: WatchedRoot) -> None:
    (root.path / ".streamwarden" / SESSION).unlink()
    root.watch.take(ROOT_ID, SESSION_ID, root.path.stat().st_dev, noted=False)
    assert root.look() is None


def test_a_torn_marker_is_none(root: WatchedRoot) -> None:
    root.take()
    (root.path / ".streamwarden" / MARKER).write_bytes(b"\0\0")
    assert root.look() is Cause.RECORD_ROOT_MISSING


def test_a_look_that_does_not_come_back_is_an_answer_and_blocks_nobody(
    root: WatchedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.take()
    assert root.look() is None
    looking, go_on = threading.Event(), threading.Event()

    def hang(path: Path) -> int:
        looking.set()
        assert go_on.wait(DEADLINE_S)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    monkeypatch.setattr(root_watch, "open_root", hang)
    root.watch.look(0.0)
    assert looking.wait(DEADLINE_S)
    assert root.watch.look(0.0) is None
    root.now_s += HANGS_AFTER_S + 1
    fault = root.watch.look(0.0)
    assert fault == RootFault(
        Cause.RECORD_ROOT_HANGS, f"the file system of {root.path} has not answered for 11 s"
    )
    root.watch.announce()
    assert root.told[-1] is Cause.RECORD_ROOT_HANGS
    go_on.set()
    assert root.look() is None
    root.watch.announce()
    assert root.told[-1] is None


def test_a_change_is_reported_once(root: WatchedRoot) -> None:
    root.take()
    root.look()
    away = root.path.rename(root.path.with_name("away"))
    for _ in range(3):
        root.look()
        root.watch.announce()
    assert root.told.count(Cause.RECORD_ROOT_MISSING) == 1
    away.rename(root.path)
