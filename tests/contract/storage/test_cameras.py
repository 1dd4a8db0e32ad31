"""Cameras, grants and settings, over Postgres and in memory."""

from __future__ import annotations

from uuid import uuid4

import pytest

from streamwarden.errors import Conflict, InvalidInput
from streamwarden.model import Camera
from streamwarden.storage.cameras import PathTaken
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import at, grant


def add(storage: Storage, *, name: str = "Door", owner: str = "alice", age: float = 0) -> Camera:
    return storage.cameras.add(name=name, owner=owner, created_at=at(age))


def names(cameras: tuple[Camera, ...]) -> list[str]:
    return [camera.name for camera in cameras]


def test_a_camera_is_found_as_it_was_added(storage: Storage) -> None:
    added = add(storage)

    assert storage.cameras.get(added.id) == added
    assert (added.status, added.created_at) == ("active", at(0))


def test_an_unknown_camera_is_none(storage: Storage) -> None:
    assert storage.cameras.get(uuid4()) is None
    assert storage.cameras.update(uuid4(), name="Gate") is None
    assert storage.cameras.remove(uuid4()) is False


def test_the_path_defaults_to_the_id(storage: Storage) -> None:
    camera = add(storage)

    assert camera.path == str(camera.id)


def test_a_path_belongs_to_one_camera(storage: Storage) -> None:
    storage.cameras.add(name="Door", owner="alice", path="door", created_at=at(0))
    other = add(storage)

    with pytest.raises(PathTaken) as refused:
        storage.cameras.add(name="Gate", owner="bob", path="door", created_at=at(0))
    with pytest.raises(PathTaken):
        storage.cameras.update(other.id, path="door")
    assert refused.value.code == "path_taken"


def test_an_id_is_given_once(storage: Storage) -> None:
    camera = add(storage)

    with pytest.raises(Conflict):
        storage.cameras.add(name="Gate", owner="bob", created_at=at(0), camera_id=camera.id)


def test_an_update_changes_what_is_given_and_nothing_else(storage: Storage) -> None:
    before = add(storage)

    after = storage.cameras.update(before.id, status="inactive")

    assert after == storage.cameras.get(before.id)
    assert after is not None
    assert (after.status, after.name, after.path) == ("inactive", before.name, before.path)


def test_a_camera_may_keep_its_own_path(storage: Storage) -> None:
    camera = add(storage)

    assert storage.cameras.update(camera.id, path=camera.path) == camera


def test_a_desired_stream_follows_its_camera_to_a_new_path_and_owner(storage: Storage) -> None:
    camera = add(storage)
    desired = storage.streams.want(camera, requested_by="alice", at=at(0)).after

    storage.cameras.update(camera.id, path="yard/door", owner="bob")
    storage.cameras.update(camera.id, name="Yard door")

    moved = storage.streams.get(camera.id)
    assert moved is not None
    assert (moved.path, moved.owner, moved.wanted) == ("yard/door", "bob", True)
    assert moved.epoch == desired.epoch + 1


def test_a_removed_camera_takes_its_grants_along(storage: Storage) -> None:
    camera = add(storage)
    grant(storage.grants, camera.id, "bob", "view")

    assert storage.cameras.remove(camera.id) is True

    assert storage.cameras.get(camera.id) is None
    assert storage.grants.of_user(camera.id, "bob") == []


def test_a_user_sees_own_and_granted_cameras(storage: Storage) -> None:
    add(storage, name="Alice's", owner="alice", age=0)
    shared = add(storage, name="Bob's, shared", owner="bob", age=1)
    add(storage, name="Bob's", owner="bob", age=2)
    grant(storage.grants, shared.id, "alice", "view")
    grant(storage.grants, shared.id, "alice", "control")

    assert names(storage.cameras.list_visible("alice", limit=10).items) == [
        "Alice's",
        "Bob's, shared",
    ]
    assert storage.cameras.list_visible("carol", limit=10).items == ()


def test_a_list_of_all_cameras_pages_through_each_once(storage: Storage) -> None:
    added = [add(storage, name=str(n), age=n // 2) for n in range(7)]

    seen: list[Camera] = []
    page = storage.cameras.list_visible(None, limit=3)
    while page.next_cursor:
        seen += page.items
        page = storage.cameras.list_visible(None, limit=3, cursor=page.next_cursor)
    seen += page.items

    assert len(seen) == 7
    assert seen == sorted(added, key=lambda camera: (camera.created_at, camera.id))


def test_a_full_last_page_has_no_cursor(storage: Storage) -> None:
    add(storage)

    assert storage.cameras.list_visible(None, limit=1).next_cursor is None


def test_a_foreign_cursor_is_refused_by_its_field(storage: Storage) -> None:
    with pytest.raises(InvalidInput) as refused:
        storage.cameras.list_visible(None, limit=1, cursor="nonsense")
    assert refused.value.field == "cursor"


def test_active_cameras_leave_inactive_ones_out(storage: Storage) -> None:
    active = add(storage)
    storage.cameras.update(add(storage).id, status="inactive")

    assert storage.cameras.all_active() == [active]


@pytest.mark.parametrize("value", [30, "thirty", [1, {"a": None}], {"nested": [1.5, True]}])
def test_a_setting_comes_back_as_it_was_put(storage: Storage, value: object) -> None:
    storage.settings.put("video_segment_seconds", 1)
    storage.settings.put("video_segment_seconds", value)

    assert storage.settings.get("video_segment_seconds") == value


def test_a_setting_that_was_never_put_is_none(storage: Storage) -> None:
    assert storage.settings.get("video_segment_seconds") is None


def test_another_owner_ends_all_grants_and_is_remembered_from_when(storage: Storage) -> None:
    camera = storage.cameras.add(name="x", owner="alice", created_at=at(0), path="a")
    other = storage.cameras.add(name="y", owner="alice", created_at=at(0), path="b")
    for each in (camera, other):
        grant(storage.grants, each.id, "bob", "view")
        grant(storage.grants, each.id, "carol", "recordings")
    same = storage.cameras.update(camera.id, owner="alice", name="z", at=at(5))
    assert same is not None
    assert same.owned_since is None
    assert len(storage.grants.of_camera(camera.id)) == 2

    changed = storage.cameras.update(camera.id, owner="dave", at=at(6))
    assert changed is not None
    assert (changed.owner, changed.owned_since) == ("dave", at(6))
    assert storage.grants.of_camera(camera.id) == []
    assert len(storage.grants.of_camera(other.id)) == 2
    assert storage.cameras.get(camera.id) == changed
    assert storage.cameras.list_visible("dave", limit=9).items == (changed,)
    later = storage.cameras.update(camera.id, name="w", at=at(9))
    assert later is not None
    assert later.owned_since == at(6), "another change is no change of the owner"
