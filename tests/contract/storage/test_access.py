"""Grants, denials and the audit trail: the same over Postgres and over its stand-in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from streamwarden.errors import InvalidInput, NotFound
from streamwarden.model import AuditEvent, BlockedUser, Camera, Denial, Grant
from tests.contract.storage.conftest import Storage
from tests.fakes.storage_samples import grant

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def add(storage: Storage) -> Camera:
    return storage.cameras.add(name="Door", owner="alice", created_at=AT)


def denial(sub: str = "bob", *, at: datetime = AT, kick: bool = True) -> Denial:
    return Denial(
        use="view",
        path="door",
        sub=sub,
        issued_before=at,
        kicked_before=at if kick else None,
        reason="grant_withdrawn",
        expires_at=at + DAY,
    )


def all_denials(storage: Storage) -> list[Denial]:
    found = [row for page in storage.denials.pages() for row in page]
    return sorted(found, key=lambda row: (row.use, row.path, row.sub))


def test_grants_are_counted_once_and_taken_back_one_by_one(storage: Storage) -> None:
    camera = add(storage)
    for action in ("view", "view", "recordings"):
        grant(storage.grants, camera.id, "bob", action)

    granted = storage.grants.of_user(camera.id, "bob")
    assert [grant.action for grant in granted] == ["recordings", "view"]
    before = [storage.grants.replace(camera.id, "bob", [], withdrawing=["view"]) for _ in range(2)]
    assert [len(grants) for grants in before] == [2, 1]
    assert storage.grants.of_user(camera.id, "bob") == [Grant(user_sub="bob", action="recordings")]


def test_a_grant_needs_a_camera_and_a_known_action(storage: Storage) -> None:
    with pytest.raises(NotFound):
        grant(storage.grants, uuid4(), "bob", "view")
    with pytest.raises(InvalidInput):
        grant(storage.grants, add(storage).id, "bob", "burn")


def test_only_recordings_have_a_window_and_it_begins_before_it_ends(storage: Storage) -> None:
    camera = add(storage)
    with pytest.raises(InvalidInput):
        grant(storage.grants, camera.id, "bob", "view", from_=AT)
    with pytest.raises(InvalidInput):
        grant(storage.grants, camera.id, "bob", "recordings", from_=AT, until=AT)
    grant(storage.grants, camera.id, "bob", "recordings", from_=AT, until=AT + HOUR)
    grant(storage.grants, camera.id, "bob", "recordings", until=AT + DAY)

    assert storage.grants.of_user(camera.id, "bob") == [
        Grant(user_sub="bob", action="recordings", until=AT + DAY)
    ]


def test_replacing_a_users_grants_leaves_others_theirs_and_denies_in_one(storage: Storage) -> None:
    camera = add(storage)
    grant(storage.grants, camera.id, "bob", "view")
    grant(storage.grants, camera.id, "carol", "view")

    wanted = [Grant(user_sub="", action="control")]
    before = storage.grants.replace(camera.id, "bob", wanted, denials=[denial()])

    assert [grant.action for grant in before] == ["view"]
    granted = storage.grants.of_camera(camera.id)
    assert [(grant.user_sub, grant.action) for grant in granted] == [
        ("bob", "control"),
        ("carol", "view"),
    ]
    assert all_denials(storage) == [denial()]


def test_a_refused_replacement_changes_nothing(storage: Storage) -> None:
    camera = add(storage)
    grant(storage.grants, camera.id, "bob", "view")
    wanted = [Grant(user_sub="", action="control"), Grant(user_sub="", action="burn")]

    with pytest.raises(InvalidInput):
        storage.grants.replace(camera.id, "bob", wanted, denials=[denial()])

    assert [grant.action for grant in storage.grants.of_user(camera.id, "bob")] == ["view"]
    assert all_denials(storage) == []


def test_denials_of_the_same_tokens_are_written_together(storage: Storage) -> None:
    """A new path and a new owner at once deny the old path twice."""
    later = denial(at=AT + HOUR, kick=False)
    storage.denials.put([denial(), later, denial()])
    assert all_denials(storage) == [replace(later, kicked_before=AT)]


def test_a_path_is_known_whose_links_were_denied(storage: Storage) -> None:
    storage.denials.put([replace(denial(), use="publish", path="yard/old", sub="")])
    storage.denials.put([replace(denial(), use="view", path="yard/seen", sub="")])
    asked = ("yard/old", "yard/seen", "yard", "")
    assert [storage.denials.path_known(path) for path in asked] == [True, False, False, False]


def test_a_denials_moment_moves_forward_and_never_back(storage: Storage) -> None:
    later = denial(at=AT + HOUR, kick=False)
    for each in (denial(), later, denial()):
        storage.denials.put([each])

    assert all_denials(storage) == [replace(later, kicked_before=AT)]


def test_every_denial_is_read_whatever_their_number(storage: Storage) -> None:
    rows = [denial(f"user-{number:04}") for number in range(2_500)]
    storage.denials.put(rows)

    assert all_denials(storage) == rows


def test_the_fingerprint_tells_of_every_change(storage: Storage) -> None:
    seen = [storage.denials.fingerprint()]
    for change in ([denial()], [denial(at=AT + HOUR)], [denial("carol")]):
        storage.denials.put(change)
        seen.append(storage.denials.fingerprint())
    storage.denials.drop_expired(AT + 3 * DAY)
    assert storage.denials.fingerprint() == seen[0]
    assert len(set(seen)) == 4


def test_a_denial_is_dropped_when_no_token_that_it_covers_can_live(storage: Storage) -> None:
    storage.denials.put([denial(), denial("carol", at=AT + HOUR)])

    assert storage.denials.drop_expired(AT + DAY + timedelta(minutes=1)) == 1
    assert [row.sub for row in all_denials(storage)] == ["carol"]


def test_a_block_is_kept_once_and_lifted_once(storage: Storage) -> None:
    block = BlockedUser(user_sub="bob", blocked_by="root", blocked_at=AT, note="left")
    again = replace(block, blocked_by="other")

    assert storage.denials.block(block, [denial()]) is True
    assert storage.denials.block(again, []) is False
    assert storage.denials.blocked() == [block]
    assert storage.denials.unblock("bob") is True
    assert storage.denials.unblock("bob") is False
    assert all_denials(storage) == [denial()]


def event(number: int, *, who: str = "bob", camera: UUID | None = None, **more: str) -> AuditEvent:
    return AuditEvent(
        id=UUID(int=number),
        at=AT + timedelta(seconds=number),
        who=who,
        action="start",
        outcome="done",
        camera_id=camera,
        address="192.0.2.7",
        **more,
    )


def test_events_come_back_newest_first_page_by_page(storage: Storage) -> None:
    events = [event(number) for number in range(5)]
    assert storage.audit.insert_many(events) == 5
    assert storage.audit.insert_many(events[:2]) == 0

    found: list[AuditEvent] = []
    cursor: str | None = None
    while True:
        page = storage.audit.page(
            from_=AT, to=AT + HOUR, camera_id=None, user=None, limit=2, cursor=cursor
        )
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == events[::-1]


def test_events_are_found_by_camera_by_user_and_by_time(storage: Storage) -> None:
    camera = uuid4()
    rows = [
        event(1, who="alice", camera=camera, subject="bob"),
        event(2, who="bob"),
        event(3, who="carol", camera=camera),
    ]
    storage.audit.insert_many(rows)

    def numbers(**query: object) -> list[int]:
        asked = {"from_": AT, "to": AT + HOUR, "camera_id": None, "user": None, "limit": 10}
        page = storage.audit.page(**{**asked, **query})  # type: ignore[arg-type]
        return [one.id.int for one in page.items]

    assert numbers(camera_id=camera) == [3, 1]
    assert numbers(user="bob") == [2, 1]
    assert numbers(from_=AT + timedelta(seconds=2)) == [3, 2]
    assert numbers(to=AT + timedelta(seconds=2)) == [1]


def test_pruning_takes_what_is_older_and_leaves_the_rest(storage: Storage) -> None:
    old = replace(event(1), at=datetime(2020, 1, 1, tzinfo=UTC))
    storage.audit.insert_many([old, event(2)])

    assert storage.audit.prune(datetime(2021, 1, 1, tzinfo=UTC)) == 1
    assert storage.audit.prune(datetime(2021, 1, 1, tzinfo=UTC)) == 0
    page = storage.audit.page(
        from_=datetime(2019, 1, 1, tzinfo=UTC), to=AT + DAY, camera_id=None, user=None, limit=10
    )
    assert [one.id.int for one in page.items] == [2]
