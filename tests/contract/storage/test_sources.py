"""Sources and the paths that were set for them, over Postgres and in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamwarden.model import Camera, CameraSource, Source, Transport
from streamwarden.storage.cameras import PathTaken
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import at

SOURCE = Source(url="rtsp://10.0.0.7/x", encrypted=b"\x00\xffsealed", transport=Transport.UDP)


def add(storage: Storage, source: Source | None = SOURCE, path: str = "door") -> Camera:
    return storage.cameras.add(
        name="Door", owner="alice", path=path, created_at=at(0), source=source
    )


def test_a_camera_is_added_with_its_source(storage: Storage) -> None:
    camera = add(storage)
    assert (camera.source_url, camera.source_credentials) == (SOURCE.url, True)
    assert camera.source_transport is Transport.UDP
    assert storage.cameras.get(camera.id) == camera
    assert storage.cameras.all_active() == [camera]
    assert storage.cameras.list_visible("alice", limit=9).items == (camera,)
    assert storage.cameras.list_visible(None, limit=9).items == (camera,)
    assert storage.sources.get(camera.id) == SOURCE


def test_a_camera_without_a_source_has_none(storage: Storage) -> None:
    camera = add(storage, None)
    assert (camera.source_url, camera.source_credentials) == (None, False)
    assert camera.source_transport is None
    assert storage.sources.get(camera.id) is None
    assert storage.sources.all() == []


def test_a_source_is_set_replaced_and_dropped(storage: Storage) -> None:
    camera = add(storage, None)
    bare = Source(url="rtsp://10.0.0.8/y")
    set_ = storage.cameras.update(camera.id, source=SOURCE)
    assert set_ == replace(
        camera,
        source_url=SOURCE.url,
        source_credentials=True,
        source_transport=Transport.UDP,
    )
    changed = storage.cameras.update(camera.id, source=bare)
    assert changed == replace(camera, source_url=bare.url, source_transport=Transport.AUTOMATIC)
    assert storage.sources.get(camera.id) == bare
    assert storage.cameras.update(camera.id, drop_source=True) == camera
    assert storage.sources.get(camera.id) is None


def test_an_address_is_hidden_only_while_it_is_the_same(storage: Storage) -> None:
    camera = add(storage)
    assert not storage.sources.hide(camera.id, "rtsp://10.0.0.9/x", "rtsp://10.0.0.9/y", b"new")
    assert storage.sources.get(camera.id) == SOURCE
    assert storage.sources.hide(camera.id, SOURCE.url, "rtsp://10.0.0.7/***", b"new")
    hidden = replace(SOURCE, url="rtsp://10.0.0.7/***", encrypted=b"new")
    assert storage.sources.get(camera.id) == hidden


def test_whether_a_pulled_camera_has_a_path_now(storage: Storage) -> None:
    camera, bare = add(storage), add(storage, None, path="gate")
    assert storage.sources.is_at(camera.id, "door")
    assert not storage.sources.is_at(bare.id, "gate")
    storage.cameras.update(camera.id, path="yard")
    assert not storage.sources.is_at(camera.id, "door")
    assert storage.sources.is_at(camera.id, "yard")


def test_a_path_that_a_camera_has_is_taken(storage: Storage) -> None:
    add(storage)
    storage.cameras.refuse_taken("yard")
    assert storage.cameras.id_at("yard") is None
    assert storage.cameras.id_at("door") is not None
    with pytest.raises(PathTaken):
        storage.cameras.refuse_taken("door")


def test_another_change_leaves_the_source(storage: Storage) -> None:
    camera = add(storage)
    changed = storage.cameras.update(camera.id, name="Gate", status="inactive")
    assert changed == replace(camera, name="Gate", status="inactive")


def test_all_sources_are_listed_with_their_cameras(storage: Storage) -> None:
    camera = add(storage)
    other = add(storage, Source(url="rtsp://10.0.0.8/y"), path="gate")
    add(storage, None, path="yard")
    storage.cameras.update(other.id, status="inactive")
    expected = [
        CameraSource(
            camera_id=camera.id,
            path="door",
            status="active",
            url=SOURCE.url,
            encrypted=SOURCE.encrypted,
            transport=Transport.UDP,
        ),
        CameraSource(
            camera_id=other.id,
            path="gate",
            status="inactive",
            url="rtsp://10.0.0.8/y",
            encrypted=None,
        ),
    ]
    assert storage.sources.all() == sorted(expected, key=lambda row: row.camera_id)


def test_a_removed_camera_takes_its_source_along(storage: Storage) -> None:
    camera = add(storage)
    storage.cameras.remove(camera.id)
    assert storage.sources.all() == []


def test_credentials_are_encrypted_anew_unless_they_have_changed(storage: Storage) -> None:
    camera = add(storage)
    assert storage.sources.renew(camera.id, b"other", b"new") is False
    assert storage.sources.get(camera.id) == SOURCE
    assert SOURCE.encrypted is not None
    assert storage.sources.renew(camera.id, SOURCE.encrypted, b"new") is True
    assert storage.sources.get(camera.id) == replace(SOURCE, encrypted=b"new")


def test_paths_are_noted_and_forgotten_harmlessly_often(storage: Storage) -> None:
    for path in ("door", "gate", "door"):
        storage.sources.note_path(path)
    assert storage.sources.paths_set() == {"door", "gate"}
    for _ in range(2):
        storage.sources.forget_path("door")
    assert storage.sources.paths_set() == {"gate"}
