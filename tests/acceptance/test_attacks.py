"""The started program, attacked with tokens and paths: nothing that is not allowed is believed."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from streamwarden.mediamtx.control_secret import control_headers
from tests.acceptance.attacks import FAR_S, forged, now_s, raw, resigned
from tests.acceptance.calls import Answer, Caller, bearer
from tests.acceptance.installation import OWNER, Installation
from tests.acceptance.user import CameraUser

PATH = "attacked/front-door"
HS = {"alg": "HS256", "typ": "JWT"}


@pytest.fixture(scope="module")
def camera(shared_installation: Installation) -> CameraUser:
    return shared_installation.camera()


def hook(installation: Installation, **fields: object) -> Answer:
    body = {"action": "read", "protocol": "rtsp", "path": PATH, "token": "", **fields}
    return Caller(installation.internal_url).post("/api/v1/m2m/check-stream-pwd", body)


def refused_by_hook(installation: Installation, **fields: object) -> None:
    answer = hook(installation, **fields)
    # 400 for what no JSON of ours can hold, such as a NUL; MediaMTX takes either for a no.
    assert answer.status in {400, 401}, fields
    assert answer.code in {"invalid_request", "unauthenticated"}


def refused_by_api(installation: Installation, token: str) -> None:
    answer = bearer(installation.api_url, token).get("/api/v1/camera")
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert token[-20:] not in answer.body.decode()


def claims(**changes: object) -> dict[str, object]:
    whole = {
        "sub": OWNER,
        "aud": "streamwarden",
        "exp": now_s() + FAR_S,
        "roles": ["admin"],
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


# Users' tokens


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, 0, "HS512", "RS256", "ES256"]
)
def test_a_users_token_does_not_choose_its_algorithm(
    installation: Installation, alg: object
) -> None:
    key = installation.user_secret.encode()
    refused_by_api(installation, forged({**HS, "alg": alg}, claims()))
    refused_by_api(installation, forged({**HS, "alg": alg}, claims(), key))


@pytest.mark.parametrize(
    "key",
    [b"", b"secret", b"streamwarden", b"\0" * 32, b"null", b"-----BEGIN PUBLIC KEY-----"],
)
def test_a_users_token_of_another_key_is_refused(installation: Installation, key: bytes) -> None:
    refused_by_api(installation, forged(HS, claims(), key))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "rtsp"}, {"aud": "play"}, {"aud": []}, {"aud": None}, {"sub": None}, {"sub": ""},
        {"sub": "a\nb"}, {"sub": ["alice"]}, {"exp": None}, {"exp": 0}, {"exp": -1},
        {"exp": "9999999999"}, {"exp": True}, {"exp": 1e300}, {"nbf": 4102444800}, {"nbf": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_a_well_signed_users_token_with_a_claim_that_is_wrong_is_refused(
    installation: Installation, changes: dict[str, object]
) -> None:
    refused_by_api(installation, forged(HS, claims(**changes), installation.user_secret.encode()))


def test_an_expired_users_token_is_refused(installation: Installation) -> None:
    expired = forged(HS, claims(exp=now_s() - 10), installation.user_secret.encode())
    refused_by_api(installation, expired)


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"]}, {"b64": False}, {"crit": ["b64"], "b64": False}], ids=str
)
def test_a_users_token_with_an_extension_that_must_be_understood_is_refused(
    installation: Installation, header: dict[str, object]
) -> None:
    refused_by_api(
        installation, forged({**HS, **header}, claims(), installation.user_secret.encode())
    )


def test_roles_that_are_no_list_of_texts_give_no_role(installation: Installation) -> None:
    for roles in ({"admin": True}, [["admin"]], 1, "Admin", "admin ", None):
        token = forged(HS, claims(sub="nobody", roles=roles), installation.user_secret.encode())
        answer = bearer(installation.api_url, token).post(
            "/api/v1/camera", {"name": "x", "owner": "x"}
        )
        assert answer.status == 403, roles


def test_the_media_servers_control_api_wants_a_secret_of_its_own(
    installation: Installation,
) -> None:
    url = installation.relay.control_url
    secret = control_headers(installation.internal_token)
    assert Caller(url, secret).get("/v3/rtspsessions/list").status == 200
    view = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    user = installation.token_of(OWNER, "admin")
    for token in (view, user, installation.internal_token, ""):
        answer = bearer(url, token).get("/v3/rtspsessions/list")
        assert answer.status == 401
    assert Caller(url).get("/v3/rtspsessions/list").status == 401
    for page in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert Caller(url, secret | page).get("/v3/rtspsessions/list").status == 403


def test_each_kind_of_token_opens_only_its_own_door(
    installation: Installation, camera: CameraUser
) -> None:
    signer = installation.stream_tokens
    view = signer.sign_view(OWNER, PATH, ttl_s=60).token
    publish = signer.sign_publish(OWNER, PATH, ttl_s=60).token
    record = signer.sign_record(UUID(camera.camera_id), PATH, ttl_s=60).token
    play = camera.api.post(f"{camera.path}/recordings/play_token", {}).json()["token"]
    user = installation.token_of(OWNER, "admin")
    for token in (view, publish, record, play, installation.internal_token):
        refused_by_api(installation, token)
    for token in (play, user, installation.internal_token, publish):
        refused_by_hook(installation, token=token)
    for token in (view, record, user):
        refused_by_hook(installation, token=token, action="publish")
    for token in (view, publish, record, user):
        answer = Caller(installation.api_url).get(f"{camera.path}/live.m3u8?token={token}")
        assert answer.status == 401
    for token in (view, user, play):
        headers = {"X-Internal-Token": token}
        assert Caller(installation.streaming_url, headers).get("/streams").status == 401


# Stream tokens, shown to the hook


def stream_key(installation: Installation) -> bytes:
    return installation.stream_keys.partition(":")[2].encode()


@pytest.mark.parametrize("alg", ["none", "None", "", None, "HS384", "RS256", "EdDSA"])
def test_a_stream_token_does_not_choose_its_algorithm(
    installation: Installation, alg: object
) -> None:
    good = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    assert hook(installation, token=good).status == 200
    for key in (b"", stream_key(installation)):
        refused_by_hook(installation, token=resigned(good, key, header={"alg": alg}))
    head, body, _ = good.split(".")
    refused_by_hook(installation, token=f"{head}.{body}.")


@pytest.mark.parametrize(
    "kid",
    ["", None, "other", "STAGE", "stage\0", "../../dev/null", ["stage"], {"a": 1}, 0, "x" * 999],
)
def test_a_kid_that_is_no_key_of_ours_is_refused(installation: Installation, kid: object) -> None:
    good = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    refused_by_hook(
        installation, token=resigned(good, stream_key(installation), header={"kid": kid})
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "play"}, {"aud": "streamwarden"}, {"aud": None}, {"action": "publish"},
        {"action": "READ"}, {"action": None}, {"use": "publish"}, {"use": None}, {"path": None},
        {"path": ""}, {"path": f"/{PATH}"}, {"path": f"{PATH}/"}, {"path": [PATH]}, {"sub": None},
        {"jti": None}, {"iat": None}, {"exp": None}, {"exp": "9999999999"}, {"exp": 1},
        {"nbf": 4102444800},
    ],
    ids=str,
)  # fmt: skip
def test_a_well_signed_stream_token_with_a_claim_that_is_wrong_is_refused(
    installation: Installation, changes: dict[str, object]
) -> None:
    good = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    refused_by_hook(installation, token=resigned(good, stream_key(installation), claims=changes))


PATH_TRICKS: list[Callable[[str], str]] = [
    lambda path: f"/{path}", lambda path: f"{path}/", lambda path: path.replace("/", "//"),
    lambda path: path.upper(), lambda path: path.title(), lambda path: f"{path}/../{path}",
    lambda path: f"./{path}", lambda path: f"other/../{path}", lambda path: path.replace("/", "%2f"),
    lambda path: path.replace("/", "%2F"), lambda path: f"%2e%2e/{path}", lambda path: path + "\0",
    lambda path: path + "%00", lambda path: path + "?x", lambda path: path + "#x",
    lambda path: path + " ", lambda path: path + "\n", lambda path: path.replace("-", "\u2010"),
    lambda path: path.replace("o", "\uff4f"), lambda path: path.replace("o", "\u043e"),
    lambda path: path.replace("/", "\\"), lambda path: path.replace("/", "\u2044"),
    lambda path: path + ";x", lambda path: path.rpartition("/")[0], lambda _: "~all", lambda _: "",
]  # fmt: skip


@pytest.mark.parametrize("trick", PATH_TRICKS)
def test_a_stream_token_opens_its_path_letter_by_letter(
    installation: Installation, trick: Callable[[str], str]
) -> None:
    token = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    refused_by_hook(installation, token=token, path=trick(PATH))


def test_another_cameras_path_is_refused_however_the_token_is_shown(
    installation: Installation,
) -> None:
    token = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    for shown in ({"token": token}, {"password": token}, {"query": f"token={token}"}):
        assert hook(installation, **shown).status == 200
        refused_by_hook(installation, path="attacked/other", **shown)


def test_a_request_that_says_two_things_is_refused_or_read_in_one_way(
    installation: Installation,
) -> None:
    good = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    bad = installation.stream_tokens.sign_view(OWNER, "attacked/other", ttl_s=60).token
    for query in (
        f"token={good}&token={good}",
        f"token={bad}&token={good}",
        f"token={good}&token=",
    ):
        refused_by_hook(installation, query=query)
        refused_by_hook(installation, token=good, query=query)
    # The list of sessions shows the query alone: it may not name another token than the one that counts.
    refused_by_hook(installation, token=good, query=f"token={bad}")
    refused_by_hook(installation, password=good, query=f"token={bad}")
    refused_by_hook(installation, token=bad, password=good)
    refused_by_hook(installation, token=bad, query=f"token={good}")
    refused_by_hook(installation, password=bad, query=f"token={good}")


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "playback"}, {"action": "api"}, {"action": "metrics"}, {"action": "pprof"},
        {"action": "READ"}, {"action": ["read"]}, {"action": None}, {"protocol": "rtmp"},
        {"protocol": "srt"}, {"protocol": ""}, {"protocol": None}, {"path": None}, {"path": [PATH]},
        {"token": ["x"]}, {"token": {"a": 1}}, {"query": "token=x&token=y"}, {"query": "&" * 8000},
    ],
    ids=str,
)  # fmt: skip
def test_a_good_token_opens_nothing_but_reading_by_a_protocol_of_ours(
    installation: Installation, fields: dict[str, object]
) -> None:
    good = installation.stream_tokens.sign_view(OWNER, PATH, ttl_s=60).token
    refused_by_hook(installation, **{"token": good, **fields})


# Paths of the HTTP API

ADDRESS_TRICKS = [
    "/api/v1/camera/..", "/api/v1/camera/../camera", "/api/v1/./camera", "/api/v1//camera",
    "//api/v1/camera", "/api/v1/camera/%2e%2e/camera", "/api/v1/camera%2f{id}", "/API/V1/CAMERA",
    "/api/v1/camera/{id};x=y", "/api/v1/camera/{id}%00", "/api/v1/camera/{id}/..%2f..%2fsettings",
    "/api/v1/camera/{id}/recordings/..%2f{id}", "/api/v1/camera/{id}/recordings/%2e%2e",
    "/api/v1/camera/{id}/live/..%2f..%2fr1-000000.mp4", "/api/v1/camera/{id}/live/%2e%2e%2fx",
    "/api/v1/camera/{id}/live/r1-000000.mp4%00.jpg", "/api/v1/m2m/check-stream-pwd",
    "/api/v1/m2m/read-token", "/streams", "/streams/start", "/api/v1/settings/..%2fcamera",
    "/api/v1/ops/supervision/..%2f..%2fsummary/restart", "/docs/..%2f..%2fsetup.py", "/%", "/%zz",
    "/%c0%ae%c0%ae/", "/\u2025/camera", "http://elsewhere/api/v1/camera",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESS_TRICKS)
def test_no_spelling_of_an_address_leads_anywhere_else(
    installation: Installation, camera: CameraUser, address: str
) -> None:
    """Without a token nothing answers 2xx but what is open to all, and nothing answers 5xx."""
    spelled = address.format(id=camera.camera_id).encode()
    for base in (installation.api_url, installation.streaming_url, installation.internal_url):
        for method in (b"GET", b"POST", b"DELETE"):
            line = b"%s %s HTTP/1.1" % (method, spelled)
            found = raw(base, line + b"\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert 400 <= int(found.split()[1]) < 500, (base, line, found)


def test_a_stranger_learns_nothing_of_a_camera(
    installation: Installation, camera: CameraUser
) -> None:
    """A camera of others and one that is not there answer alike, but on connect, as the flow has it."""
    mallory, there, nowhere = installation.user("mallory"), camera.path, f"/api/v1/camera/{uuid4()}"
    for method, rest in (
        ("GET", ""), ("GET", "/stream/status"), ("GET", "/preview"), ("GET", "/publish_rtsp_url"),
        ("GET", "/recordings"), ("GET", f"/recordings/{uuid4()}"), ("GET", "/live.m3u8"),
        ("GET", "/snapshot.jpg"), ("GET", "/exports"), ("POST", "/stream/disconnect"),
        ("POST", "/recordings/play_token"),
    ):  # fmt: skip
        real, made_up = mallory.call(method, there + rest), mallory.call(method, nowhere + rest)
        assert (
            (real.status, real.code) == (made_up.status, made_up.code) == (404, "camera_not_found")
        )
    assert mallory.post(f"{there}/stream/connect").status == 403
