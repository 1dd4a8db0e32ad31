from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from streamwarden.actors.wanted_streams import WantedStream, WantedStreams
from tests.unit.actors.stage import CAMERA, at

WISH = WantedStream(camera_id=CAMERA, owner="otto", segment_seconds=30, since=at(0))


class Disk:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.saves = 0
        self.full = False

    def save(self, content: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.saves += 1
        self.content = content

    def book(self) -> WantedStreams:
        return WantedStreams(load=lambda: self.content, save=self.save)


def test_wishes_survive_a_restart() -> None:
    disk = Disk()
    other = replace(WISH, camera_id=uuid4(), owner="ümläut / 子", since=at(1.5))
    book = disk.book()
    book.put(WISH)
    book.put(other)
    assert disk.book().all() == {WISH.camera_id: WISH, other.camera_id: other}
    assert disk.book().get(CAMERA) == WISH


def test_a_wish_that_ended_does_not_come_back() -> None:
    disk = Disk()
    book = disk.book()
    book.put(WISH)
    assert book.remove(CAMERA) == WISH
    assert book.remove(CAMERA) is None
    assert disk.book().all() == {}


def test_a_wish_repeated_is_not_written_again() -> None:
    disk = Disk()
    book = disk.book()
    book.put(WISH)
    book.put(WISH)
    assert disk.saves == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"7",
        b"[7]",
        b'[{"camera_id": 7}]',
        b'[{"camera_id": "x", "owner": "o", "segment_seconds": 30, "since": "2026-01-01"}]',
        b'[{"camera_id": "%s", "owner": "o", "segment_seconds": 30, "since": 7}]'
        % str(CAMERA).encode(),
    ],
)
def test_a_file_that_cannot_be_read_is_no_wish_and_no_failure(content: bytes) -> None:
    disk = Disk(content)
    book = disk.book()
    assert book.all() == {}
    book.put(WISH)
    assert disk.book().all() == {CAMERA: WISH}


def test_a_full_disk_does_not_keep_a_wish_from_being_known_and_is_made_good_later() -> None:
    disk = Disk()
    book = disk.book()
    disk.full = True
    book.put(WISH)
    assert book.get(CAMERA) == WISH
    disk.full = False
    book.put(WISH)
    assert disk.book().all() == {CAMERA: WISH}
    disk.full = True
    assert book.remove(CAMERA) == WISH
    assert book.all() == {}
