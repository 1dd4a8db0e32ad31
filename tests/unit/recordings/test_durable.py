"""A recorded file is read once, and its digest is that of what is on disk in the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from streamwarden.recordings.durable import file_digest, sync_file
from tests.unit.mp4 import box_writer as boxes
from tests.unit.mp4.box_writer import AUDIO, VIDEO, timed_fragment

SECONDS = 30
Content = Callable[[int], bytes]


def whole(data: int, *, sound: bool = False) -> bytes:
    """A file whose boxes stand anywhere in the reads, by the size of its pictures."""
    content, tracks = boxes.header(sound=sound), [VIDEO, AUDIO] if sound else [VIDEO]
    for second in range(SECONDS):
        for track in tracks:
            # The sound is dated a second late at both ends.
            begins = second * 1000 + 1000 * (track == AUDIO)
            content += timed_fragment(begins, [40] * 25, id_=track, data=data)
    moofs = boxes.moofs(content)
    every = len(tracks)
    return content + boxes.trailer({id_: moofs[at::every] for at, id_ in enumerate(tracks)})


def torn(data: int) -> bytes:
    return whole(data)[: -data // 2 - 1000]


def of_a_late_sound(data: int) -> bytes:
    return whole(data, sound=True)


def without_structure(data: int) -> bytes:
    return whole(data).replace(b"moov", b"moox")


@pytest.mark.parametrize("data", [50, 4_000, 33_333, 131_072, 200_001])
@pytest.mark.parametrize("content", [whole, torn, of_a_late_sound, without_structure])
def test_the_digest_is_that_of_the_file_on_disk(
    tmp_path: Path, content: Content, data: int
) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(before := content(data))
    found = sync_file(path, finished=content is not torn, ours=False)
    after = path.read_bytes()
    assert found is not None
    assert found.digest == file_digest(path) == blake3(after).digest()
    assert found.size_bytes == len(after)
    assert (after != before) == (content in {torn, of_a_late_sound})


def test_a_file_that_needs_no_change_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(content := whole(130_001))
    read = 0

    def pread(fd: int, length: int, offset: int, real: Callable[..., bytes] = os.pread) -> bytes:
        nonlocal read
        found = real(fd, length, offset)
        read += len(found)
        return found

    def preadv(
        fd: int, buffers: list[bytearray], offset: int, real: Callable[..., int] = os.preadv
    ) -> int:
        nonlocal read
        count = real(fd, buffers, offset)
        read += count
        return count

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(os, "preadv", preadv)
    assert sync_file(path, finished=True, ours=False) is not None
    # What lies across two reads, and the begin of the last key frame, are read once more.
    assert len(content) <= read < len(content) * 1.05
