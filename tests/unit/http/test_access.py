"""Every route as every kind of user: nobody gets past the one decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from falcon import testing

from streamwarden.http.api.audit_routes import AUDIT_RULES
from tests.fakes.ops import ops_as_json
from tests.fakes.storage_samples import a_segment, grant
from tests.unit.http.conftest import ApiHarness

CAMERA = "/api/v1/camera/{camera_id}"
SEE = {"viewer", "historian", "controller", "publisher", "owner", "root"}
OWN = {"owner", "root"}
EVERYBODY = SEE | {"stranger"}
RANGE = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T13:00:00Z"}

LET_IN: dict[tuple[str, str], set[str]] = {
    ("GET", "/api/v1/camera"): EVERYBODY,
    ("POST", "/api/v1/camera"): {"root"},
    ("GET", CAMERA): SEE,
    ("PATCH", CAMERA): {"root"},
    ("DELETE", CAMERA): {"root"},
    ("POST", f"{CAMERA}/stream/connect"): OWN | {"controller"},
    ("POST", f"{CAMERA}/stream/disconnect"): OWN | {"controller"},
    ("GET", f"{CAMERA}/stream/status"): SEE,
    ("GET", f"{CAMERA}/publish_rtsp_url"): OWN | {"publisher"},
    ("POST", f"{CAMERA}/publish_rtsp_url/revoke"): OWN,
    ("GET", f"{CAMERA}/preview"): OWN | {"viewer"},
    ("GET", f"{CAMERA}/live.m3u8"): OWN | {"viewer"},
    ("GET", f"{CAMERA}/live/{{name}}"): OWN | {"viewer"},
    ("GET", f"{CAMERA}/snapshot.jpg"): OWN | {"viewer"},
    ("GET", f"{CAMERA}/recordings"): OWN | {"historian"},
    ("POST", f"{CAMERA}/recordings/play_token"): OWN | {"historian"},
    ("GET", f"{CAMERA}/recordings/playlist.m3u8"): OWN | {"historian"},
    ("GET", f"{CAMERA}/recordings/{{segment_id}}"): OWN | {"historian"},
    ("GET", f"{CAMERA}/recordings/{{segment_id}}.mp4"): OWN | {"historian"},
    ("GET", f"{CAMERA}/exports"): OWN | {"historian"},
    ("POST", f"{CAMERA}/exports"): OWN | {"historian"},
    ("GET", f"{CAMERA}/exports/{{export_id}}"): OWN | {"historian"},
    ("DELETE", f"{CAMERA}/exports/{{export_id}}"): OWN | {"historian"},
    ("GET", f"{CAMERA}/exports/{{export_id}}/file"): OWN | {"historian"},
    ("GET", f"{CAMERA}/exports/{{export_id}}/proof"): OWN | {"historian"},
    ("GET", f"{CAMERA}/grants"): OWN,
    ("PUT", f"{CAMERA}/grants/{{user}}"): OWN,
    ("DELETE", f"{CAMERA}/grants/{{user}}"): OWN,
    ("GET", "/api/v1/settings/{key}"): {"root"},
    ("PUT", "/api/v1/settings/{key}"): {"root"},
    ("GET", "/api/v1/user/blocked"): {"root"},
    ("PUT", "/api/v1/user/blocked/{user}"): {"root"},
    ("DELETE", "/api/v1/user/blocked/{user}"): {"root"},
    ("GET", "/api/v1/ops/audit"): {"root"},
    ("GET", "/api/v1/ops/summary"): {"root"},
    ("GET", "/api/v1/ops/supervision"): {"root"},
    ("POST", "/api/v1/ops/supervision/{child}/restart"): {"root"},
}
BODIES: dict[tuple[str, str], object] = {
    ("POST", "/api/v1/camera"): {"name": "x", "owner": "y"},
    ("PATCH", CAMERA): {"name": "x"},
    ("PUT", "/api/v1/settings/{key}"): {"value": 5},
    ("POST", f"{CAMERA}/exports"): RANGE,
    ("POST", f"{CAMERA}/recordings/play_token"): RANGE,
    ("PUT", f"{CAMERA}/grants/{{user}}"): {"actions": ["view"]},
}
WITH_TOKEN = [path for path in LET_IN if "live" in path[1] or "snapshot" in path[1]]


class AccessHarness:
    """A camera of the owner's, somebody for each grant, and a segment and an export to ask for."""

    def __init__(self, harness: ApiHarness) -> None:
        self.harness = harness
        harness.clock.wall = harness.clock.wall.replace(month=6)
        harness.streaming.ops = ops_as_json()
        self.camera = harness.camera(owner="owner", path="house/door")
        self.segment = a_segment(self.camera.id, start=60, end=90, init_bytes=100)
        harness.storage.segments.insert_many([self.segment])
        holders = {
            "viewer": "view",
            "historian": "recordings",
            "controller": "control",
            "publisher": "publish",
        }
        for user, action in holders.items():
            grant(harness.storage.grants, self.camera.id, user, action)

    def call(self, method: str, template: str, who: str | None) -> testing.Result:
        export = self.export_of(who or "nobody")
        path = (
            template.removeprefix("/api/v1")
            .replace("{camera_id}", str(self.camera.id))
            .replace("{segment_id}", str(self.segment.id))
            .replace("{export_id}", str(export))
            .replace("{name}", "r3-000004.mp4")
            .replace("{key}", "video_segment_seconds")
            .replace("{user}", "somebody")
            .replace("{child}", "cam")
        )
        query = "from=2026-03-01T12:00:00Z&to=2026-03-01T13:00:00Z"
        asks = template.endswith(("recordings", ".m3u8")) and "live" not in template
        body = BODIES.get((method, template))
        return self.harness.call(method, path, who=who, json=body, query=query if asks else None)

    def export_of(self, who: str) -> UUID:
        made = self.harness.streaming.add_export(
            self.camera.id, user_id=who, from_=RANGE["from"], to=RANGE["to"], request_id=None
        )
        self.harness.streaming.exported[UUID(str(made["id"]))]["state"] = "done"
        return UUID(str(made["id"]))


@pytest.fixture
def house(harness: ApiHarness) -> AccessHarness:
    return AccessHarness(harness)


def described(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, item in document["paths"].items():
        if path.startswith("/api/"):
            yield from ((method.upper(), path) for method in item)


def test_the_table_has_every_route_and_the_audit_trail_a_name_for_each(harness: ApiHarness) -> None:
    routes = set(described(harness.api.document))
    assert routes == LET_IN.keys()
    assert routes == AUDIT_RULES.keys()


@pytest.mark.parametrize("who", sorted(EVERYBODY))
@pytest.mark.parametrize("route", sorted(LET_IN), ids=" ".join)
def test_each_route_lets_in_whom_the_table_says(
    house: AccessHarness, route: tuple[str, str], who: str
) -> None:
    result = house.call(*route, who)
    if who in LET_IN[route]:
        assert result.status_code < 400, result.text
        return
    hidden = who == "stranger" and route[1].startswith(CAMERA)
    expected = (404, "camera_not_found") if hidden else (403, "permission_denied")
    if route[1].endswith("/connect"):
        expected = (403, "permission_denied")
    assert (result.status_code, result.json["code"]) == expected
    noted = [event.outcome for event in house.harness.audit.events]
    assert noted == ["refused"]


@pytest.mark.parametrize("who", ["owner", "viewer", "root"])
@pytest.mark.parametrize("route", sorted(LET_IN), ids=" ".join)
def test_a_blocked_user_gets_in_nowhere_whoever_they_are(
    house: AccessHarness, route: tuple[str, str], who: str
) -> None:
    house.harness.denied.set_blocked(who, blocked=True)
    result = house.call(*route, who)
    assert (result.status_code, result.json["code"]) == (403, "user_blocked")
    (event,) = house.harness.audit.events
    assert (event.who, event.outcome) == (who, "refused")


@pytest.mark.parametrize("route", sorted(LET_IN), ids=" ".join)
def test_nobody_gets_in_nowhere(house: AccessHarness, route: tuple[str, str]) -> None:
    assert house.call(*route, None).status_code == 401
    assert house.harness.audit.events == []


@pytest.mark.parametrize("who", ["owner", "root", "viewer", "publisher", "controller"])
def test_an_inactive_camera_shows_and_takes_nothing_live(house: AccessHarness, who: str) -> None:
    house.harness.storage.cameras.update(house.camera.id, status="inactive")
    for route in sorted(LET_IN):
        live = route in WITH_TOKEN or route[1].endswith(("/preview", "/publish_rtsp_url"))
        if who in LET_IN[route] and (live or route[1].endswith("/connect")):
            result = house.call(*route, who)
            assert (result.status_code, result.json["code"]) == (403, "camera_inactive"), route


def test_a_camera_that_is_not_there_is_so_for_everybody(house: AccessHarness) -> None:
    house.camera = house.harness.storage.cameras.add(
        name="x", owner="owner", created_at=house.harness.clock.now(), camera_id=uuid4()
    )
    house.harness.storage.cameras.remove(house.camera.id)
    for method, template in LET_IN:
        if template.startswith(CAMERA):
            result = house.call(method, template, "root")
            assert (result.status_code, result.json["code"]) == (404, "camera_not_found"), template
