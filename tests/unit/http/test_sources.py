"""A camera that is pulled: set, changed and removed by the API, and never shown its password again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from falcon import testing

from streamwarden.http.api.camera_routes import CameraChanges, NewCamera
from streamwarden.mediamtx.camera_source import CameraAnswer
from streamwarden.mediamtx.credentials import CameraCredentials
from streamwarden.model import Camera, Source, SourceTrouble
from tests.fakes.sources import CIPHER
from tests.fakes.storage_samples import grant
from tests.unit.http.conftest import ApiHarness

URL = "rtsp://10.0.0.7/stream1"
SHOWN = {"source_username": "viewer", "source_password": "geheim-x"}


def refused(result: testing.Result, status: int, code: str, field: str | None = None) -> None:
    assert (result.status_code, result.json["code"]) == (status, code), result.text
    assert result.json.get("field") == field
    assert "geheim" not in result.text


def add(harness: ApiHarness, **source: object) -> testing.Result:
    new = {"name": "Door", "owner": "alice", "path": "door", **source}
    return harness.call("POST", "/camera", who="root", json=new)


def change(harness: ApiHarness, camera: Camera, **changes: object) -> testing.Result:
    return harness.call("PATCH", f"/camera/{camera.id}", who="root", json=changes)


def stored(harness: ApiHarness) -> Source | None:
    (camera,) = harness.storage.cameras.all_active()
    return harness.storage.sources.get(camera.id)


def opened(harness: ApiHarness) -> CameraCredentials | None:
    (camera,) = harness.storage.cameras.all_active()
    source = harness.storage.sources.get(camera.id)
    if source is None or source.encrypted is None:
        return None
    return CIPHER.decrypt(camera.id, source.encrypted)


@pytest.fixture
def pulled(harness: ApiHarness) -> Camera:
    add(harness, source_url=URL, **SHOWN)
    (camera,) = harness.storage.cameras.all_active()
    return camera


def test_a_camera_without_a_source_pushes(harness: ApiHarness) -> None:
    added = add(harness).json
    assert (added["source_url"], added["source_credentials"]) == (None, False)
    assert harness.door.asked == []


def test_a_camera_is_added_with_its_source(harness: ApiHarness) -> None:
    result = add(harness, source_url=URL)
    assert result.status_code == 201
    assert (result.json["source_url"], result.json["source_credentials"]) == (URL, False)
    assert harness.door.asked == [("10.0.0.7", URL)]
    assert harness.sources_woken == [None]


def test_credentials_are_encrypted_and_never_shown_again(harness: ApiHarness) -> None:
    answers = [add(harness, source_url=URL, **SHOWN), harness.call("GET", "/camera", who="root")]
    answers.append(harness.call("GET", f"/camera/{answers[0].json['id']}"))
    assert answers[2].json["source_credentials"] is True
    for answer in answers:
        assert "geheim" not in answer.text
        assert "viewer" not in answer.text
    assert opened(harness) == CameraCredentials("viewer", "geheim-x")
    found = stored(harness)
    assert found is not None
    assert "geheim" not in repr(found)


def test_credentials_in_the_url_are_moved_into_their_fields(harness: ApiHarness) -> None:
    result = add(harness, source_url="rtsp://viewer:geheim%2Dx@10.0.0.7:554/stream1")
    assert (result.json["source_url"], result.json["source_credentials"]) == (URL, True)
    assert opened(harness) == CameraCredentials("viewer", "geheim-x")
    assert harness.door.asked == [("10.0.0.7", URL)], "it is asked without them"


@pytest.mark.parametrize(
    "source",
    [
        {"source_url": URL, "source_username": "root", "source_password": ""},
        {"source_url": "rtsp://root:@10.0.0.7/stream1"},
        {"source_url": "rtsp://root@10.0.0.7/stream1"},
    ],
)
def test_a_password_may_be_empty(harness: ApiHarness, source: dict[str, str]) -> None:
    result = add(harness, **source)
    assert result.status_code == 201, result.text
    assert (result.json["source_url"], result.json["source_credentials"]) == (URL, True)
    assert opened(harness) == CameraCredentials("root", "")


def test_a_transport_is_set_shown_kept_and_reset(harness: ApiHarness) -> None:
    added = add(harness, source_url=URL, source_transport="udp").json
    assert added["source_transport"] == "udp"
    (camera,) = harness.storage.cameras.all_active()
    assert change(harness, camera, name="Gate").json["source_transport"] == "udp"
    assert change(harness, camera, source_url=f"{URL}0").json["source_transport"] == "udp"
    asked = len(harness.door.asked)
    assert change(harness, camera, source_transport="tcp").json["source_transport"] == "tcp"
    assert change(harness, camera, source_transport=None).json["source_transport"] == "automatic"
    assert len(harness.door.asked) == asked, "its address is the same: no need to ask it"
    assert change(harness, camera, source_url=None).json["source_transport"] is None


def test_a_new_transport_keeps_the_credentials(harness: ApiHarness, pulled: Camera) -> None:
    assert change(harness, pulled, source_transport="udp").status_code == 200
    assert opened(harness) == CameraCredentials("viewer", "geheim-x")


@pytest.mark.parametrize(
    "source",
    [
        {"source_url": URL, "source_transport": "TCP"},
        {"source_url": URL, "source_transport": ""},
        {"source_url": URL, "source_transport": 6},
        {"source_url": "rtsps://10.0.0.7/x", "source_transport": "udp"},
        {"source_transport": "udp"},
    ],
)
def test_a_transport_that_cannot_be_is_refused(
    harness: ApiHarness, source: dict[str, object]
) -> None:
    refused(add(harness, **source), 400, "invalid_request", "source_transport")


def test_credentials_in_both_places_are_refused(harness: ApiHarness) -> None:
    result = add(harness, source_url="rtsp://a:geheim@10.0.0.7/x", **SHOWN)
    refused(result, 400, "invalid_request", "source_url")
    assert harness.storage.cameras.all_active() == []


@pytest.mark.parametrize(
    ("source", "code", "field"),
    [
        ({"source_url": ""}, "invalid_request", "source_url"),
        ({"source_url": 5}, "invalid_request", "source_url"),
        ({"source_url": "http://10.0.0.7/geheim"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://10.0.0.7/" + "x" * 1020}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://10.0.0.7/#geheim"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://a:geheim@b@10.0.0.7/"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://:@10.0.0.7/"}, "invalid_request", "source_username"),
        ({"source_url": "rtsp://127.0.0.1/geheim"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://[::1]/geheim"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://2130706433/"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://0177.0.0.1/"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://[fe80::1%25eth0]/"}, "invalid_request", "source_url"),
        ({"source_url": "rtsp://169.254.169.254/"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://203.0.113.7/"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://rebound.lan/"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://10.0.0.2:8554/door"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://postgres:5432/"}, "source_not_allowed", "source_url"),
        ({"source_url": "rtsp://unknown.lan/"}, "source_unresolved", "source_url"),
        ({"source_url": URL, "source_username": "a"}, "invalid_request", "source_password"),
        ({"source_url": URL, "source_password": "geheim"}, "invalid_request", "source_username"),
        (
            {"source_url": URL, "source_username": "a:b", "source_password": "geheim"},
            "invalid_request",
            "source_username",
        ),
        (
            {"source_url": URL, "source_username": "a", "source_password": "geheim\r\n"},
            "invalid_request",
            "source_password",
        ),
        (
            {"source_url": URL, "source_username": "a", "source_password": "geheim" * 50},
            "invalid_request",
            "source_password",
        ),
        (
            {"source_url": URL, "source_username": "a", "source_password": None},
            "invalid_request",
            "source_password",
        ),
        (
            {"source_username": "a", "source_password": "geheim"},
            "invalid_request",
            "source_username",
        ),
        ({"source_url": None, **SHOWN}, "invalid_request", "source_username"),
        ({"source_url": URL, "path": "all_others"}, "invalid_request", "path"),
    ],
)
def test_a_bad_source_is_400_its_field_named_and_nothing_repeated_or_added(
    harness: ApiHarness, source: dict[str, Any], code: str, field: str
) -> None:
    harness.names.found = {"rebound.lan": ["10.0.0.7", "127.0.0.1"]}
    refused(add(harness, **source), 400, code, field)
    assert harness.storage.cameras.all_active() == []
    assert harness.door.asked == []


@pytest.mark.parametrize("says", [CameraAnswer.REDIRECTS, CameraAnswer.OTHER])
def test_what_redirects_or_is_no_camera_is_refused(harness: ApiHarness, says: CameraAnswer) -> None:
    harness.door.says = says
    refused(add(harness, source_url=URL, **SHOWN), 400, "source_refused", "source_url")
    assert harness.storage.cameras.all_active() == []


def test_a_camera_that_is_off_is_taken(harness: ApiHarness) -> None:
    harness.door.says = CameraAnswer.NONE
    assert add(harness, source_url=URL).status_code == 201


@pytest.mark.parametrize(
    ("part", "setting", "source"),
    [
        ("pulls", "STREAMWARDEN_MEDIAMTX_API_URL", {"source_url": URL}),
        ("cipher", "STREAMWARDEN_SOURCE_SECRET_KEYS", {"source_url": URL, **SHOWN}),
    ],
)
def test_a_setting_that_is_missing_is_named(
    part: str, setting: str, source: dict[str, str]
) -> None:
    harness = ApiHarness(pulls=part != "pulls", cipher=None if part == "cipher" else CIPHER)
    result = add(harness, **source)
    refused(result, 409, "sources_not_configured")
    assert setting in result.json["detail"]


def test_without_a_key_an_address_alone_works() -> None:
    harness = ApiHarness(cipher=None)
    assert add(harness, source_url=URL).status_code == 201


def test_null_removes_the_source_and_its_credentials(harness: ApiHarness, pulled: Camera) -> None:
    result = change(harness, pulled, source_url=None)
    assert (result.json["source_url"], result.json["source_credentials"]) == (None, False)
    assert stored(harness) is None
    assert len(harness.sources_woken) == 2


def test_null_for_both_removes_the_credentials_alone(harness: ApiHarness, pulled: Camera) -> None:
    result = change(harness, pulled, source_username=None, source_password=None)
    assert (result.json["source_url"], result.json["source_credentials"]) == (URL, False)


def test_new_credentials_replace_the_old_ones(harness: ApiHarness, pulled: Camera) -> None:
    change(harness, pulled, source_username="admin", source_password="neu")
    assert opened(harness) == CameraCredentials("admin", "neu")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("rtsp://10.0.0.7/stream2", True),
        ("rtsp://10.0.0.7:554/stream1?x=1", True),
        ("rtsp://10.0.0.8/stream1", False),
        ("rtsp://10.0.0.7:8554/stream1", False),
        ("rtsps://10.0.0.7:554/stream1", False),
    ],
)
def test_credentials_stay_with_the_place_that_they_were_given_for(
    harness: ApiHarness, pulled: Camera, url: str, kept: bool
) -> None:
    result = change(harness, pulled, source_url=url)
    assert result.json["source_credentials"] is kept
    assert opened(harness) == (CameraCredentials("viewer", "geheim-x") if kept else None)


def test_another_change_leaves_the_source_as_it_is(harness: ApiHarness, pulled: Camera) -> None:
    before = stored(harness)
    result = change(harness, pulled, name="Gate")
    assert (result.json["name"], result.json["source_url"]) == ("Gate", URL)
    assert stored(harness) == before
    assert len(harness.door.asked) == 1


def test_a_refused_change_leaves_the_source_as_it_is(harness: ApiHarness, pulled: Camera) -> None:
    before = stored(harness)
    refused(
        change(harness, pulled, name="Gate", source_url="rtsp://127.0.0.1/"),
        400,
        "source_not_allowed",
        "source_url",
    )
    assert stored(harness) == before
    assert harness.storage.cameras.get(pulled.id) == pulled


def test_a_camera_that_is_pulled_cannot_take_every_path(
    harness: ApiHarness, pulled: Camera
) -> None:
    refused(change(harness, pulled, path="all"), 400, "invalid_request", "path")


@pytest.mark.parametrize("changes", [{"path": "gate"}, {"status": "inactive"}])
def test_what_moves_the_path_wakes_the_source_loop(
    harness: ApiHarness, pulled: Camera, changes: dict[str, str]
) -> None:
    change(harness, pulled, **changes)
    assert len(harness.sources_woken) == 2


def test_removing_the_camera_wakes_the_source_loop(harness: ApiHarness, pulled: Camera) -> None:
    harness.call("DELETE", f"/camera/{pulled.id}", who="root")
    assert len(harness.sources_woken) == 2
    assert harness.storage.sources.all() == []


def test_only_an_admin_sets_a_source(harness: ApiHarness, pulled: Camera) -> None:
    for who in ("alice", "mallory"):
        result = harness.call("PATCH", f"/camera/{pulled.id}", who=who, json={"source_url": None})
        assert result.status_code == (403 if who == "alice" else 404)
    assert stored(harness) is not None


def test_the_audit_trail_has_the_host_and_nothing_that_is_shown(
    harness: ApiHarness, pulled: Camera
) -> None:
    change(harness, pulled, source_url="rtsp://10.0.0.8/x", **SHOWN)
    change(harness, pulled, name="Gate")
    change(harness, pulled, source_url=None)
    noted = [(event.action, json.loads(event.detail)) for event in harness.audit.events]
    assert noted == [
        ("add_camera", {"source": "10.0.0.7"}),
        ("change_camera", {"source": "10.0.0.8"}),
        ("change_camera", {}),
        ("change_camera", {"source": None}),
    ]
    assert "geheim" not in str(harness.audit.events)


def test_nobody_gets_a_link_to_publish_to_it(harness: ApiHarness, pulled: Camera) -> None:
    path = f"/camera/{pulled.id}/publish_rtsp_url"
    refused(harness.call("GET", path), 409, "camera_is_pulled")
    change(harness, pulled, source_url=None)
    assert harness.call("GET", path).status_code == 200


def test_a_camera_that_sends_nothing_is_spoken_of_as_one_that_is_pulled(
    harness: ApiHarness, pulled: Camera
) -> None:
    path = f"/camera/{pulled.id}/stream"
    status = harness.call("POST", f"{path}/connect").json["info"]
    for cause, said in (("source_offline", "source_url"), ("disk_full", "as it was")):
        error = {"cause": cause, "message": "as it was", "at": "2026-01-02T03:04:05.678Z"}
        harness.streaming.nonsense = {**status, "last_error": error}
        assert said in harness.call("GET", f"{path}/status").json["last_error"]["message"]
    harness.streaming.nonsense = {**status, "last_error": {**error, "cause": "source_offline"}}
    assert harness.call("GET", f"{path}/status").json["source_trouble"] is None
    harness.troubles.replace({pulled.id: SourceTrouble.LOGIN_WRONG})
    told = harness.call("GET", f"{path}/status").json
    assert told["source_trouble"] == "login_wrong"
    assert "user name or password (401)" in told["last_error"]["message"]
    change(harness, pulled, source_url=None)
    assert harness.call("GET", f"{path}/status").json["last_error"]["message"] == "as it was"
    assert harness.call("GET", f"{path}/status").json["source_trouble"] is None


Hook = Callable[[str], int]


@pytest.fixture
def hook(harness: ApiHarness) -> Hook:
    def ask(use: str) -> int:
        sign = harness.tokens.sign_publish if use == "publish" else harness.tokens.sign_view
        token = sign("alice", "door", ttl_s=60).token
        body = {"action": "read" if use == "view" else use, "path": "door", "protocol": "rtsp"}
        return harness.m2m("check-stream-pwd", {**body, "token": token}).status_code

    return ask


def test_the_hook_refuses_to_publish_to_a_path_that_is_pulled(
    harness: ApiHarness, hook: Hook
) -> None:
    assert hook("publish") == 200
    harness.pulled.replace(["door"])
    assert hook("publish") == 401
    assert hook("view") == 200
    counted = {"action": "publish", "outcome": "path_pulled"}
    assert harness.registry.get_sample_value("streamwarden_stream_auth_total", counted) == 1


def test_no_model_shows_what_was_sent_in_its_repr() -> None:
    sent = {"source_url": "rtsp://a:geheim@10.0.0.7/", **SHOWN}
    assert "geheim" not in repr(CameraChanges.model_validate(sent))
    assert "geheim" not in repr(NewCamera.model_validate({"name": "x", "owner": "a", **sent}))


XM = "rtsp://10.0.0.7/user=admin&password=geheim-y&channel=1?auth=geheim-z"
XM_SHOWN = "rtsp://10.0.0.7/user=admin&password=***&channel=1?auth=***"
XM_REST = XM.removeprefix("rtsp://10.0.0.7")


def test_secrets_in_the_address_are_encrypted_masked_and_sent(harness: ApiHarness) -> None:
    result = add(harness, source_url=XM)
    assert result.status_code == 201, result.text
    assert (result.json["source_url"], result.json["source_credentials"]) == (XM_SHOWN, True)
    assert opened(harness) == CameraCredentials(rest=XM_REST)
    found = stored(harness)
    assert found is not None
    assert found.url == XM_SHOWN
    assert harness.door.asked == [("10.0.0.7", XM_SHOWN)], "it is asked without them"
    (camera,) = harness.storage.cameras.all_active()
    for who in ("root", "alice"):
        assert harness.call("GET", f"/camera/{camera.id}", who=who).json["source_url"] == XM_SHOWN
    assert "geheim" not in harness.call("GET", "/camera", who="root").text
    assert "geheim" not in json.dumps([event.detail for event in harness.audit.events])


def test_a_guest_sees_the_host_alone(harness: ApiHarness, pulled: Camera) -> None:
    """Also of an address whose secret has no name."""
    harness.storage.sources.hide(pulled.id, URL, "rtsp://10.0.0.7:8554/live/geheim/1", b"")
    for action in ("view", "recordings", "control", "publish"):
        grant(harness.storage.grants, pulled.id, "bob", action)
        one = harness.call("GET", f"/camera/{pulled.id}", who="bob")
        (listed,) = harness.call("GET", "/camera", who="bob").json["items"]
        assert one.json["source_url"] in {"rtsp://10.0.0.7", "rtsp://10.0.0.7:8554"}
        assert listed["source_url"] == one.json["source_url"]
        assert "geheim" not in one.text
    assert harness.call("GET", f"/camera/{pulled.id}").json["source_url"] == pulled.source_url


def test_a_masked_address_that_is_sent_back_keeps_its_secrets(harness: ApiHarness) -> None:
    add(harness, source_url=XM)
    (camera,) = harness.storage.cameras.all_active()
    assert change(harness, camera, source_url=XM_SHOWN).status_code == 200
    assert opened(harness) == CameraCredentials(rest=XM_REST)
    assert change(harness, camera, source_url=XM_SHOWN, **SHOWN).status_code == 200
    assert opened(harness) == CameraCredentials("viewer", "geheim-x", XM_REST)
    gone = {"source_username": None, "source_password": None}
    assert change(harness, camera, **gone).status_code == 200
    assert opened(harness) == CameraCredentials(rest=XM_REST)
    assert change(harness, camera, source_transport="udp").status_code == 200
    assert opened(harness) == CameraCredentials(rest=XM_REST)
    assert change(harness, camera, source_url=URL, **gone).json["source_credentials"] is False
    assert opened(harness) is None


@pytest.mark.parametrize(
    "address", ["rtsp://10.0.0.8/user=admin&password=***&channel=1?auth=***",
                "rtsp://10.0.0.7/other?password=***"],
)  # fmt: skip
def test_a_masked_address_of_another_place_is_refused(harness: ApiHarness, address: str) -> None:
    refused(add(harness, source_url=address), 400, "invalid_request", "source_url")
    add(harness, source_url=XM)
    (camera,) = harness.storage.cameras.all_active()
    refused(change(harness, camera, source_url=address), 400, "invalid_request", "source_url")
    assert opened(harness) == CameraCredentials(rest=XM_REST)


def test_secrets_in_the_address_need_a_key_to_be_kept() -> None:
    harness = ApiHarness(cipher=None)
    refused(add(harness, source_url=XM), 409, "sources_not_configured")
