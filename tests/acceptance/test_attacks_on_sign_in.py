"""The started API with an identity provider's keys and low limits: who is believed, and how often."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.attacks import FAR_S, forged, now_s
from tests.acceptance.calls import Answer, Caller
from tests.acceptance.configured_installation import ConfiguredInstallation, FakeProvider
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.installation import database_with_password
from tests.acceptance.program import programs
from tests.acceptance.waiting import wait_for
from tests.unit.auth.provider_keys import jwk, private_key, sign

ISSUER = "https://issuer.example/a"
LIMIT = 5


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider().serving() as made:
        made.document = {"keys": [jwk("RS256", "rsa"), jwk("ES256", "ec"), jwk("EdDSA", "ed")]}
        yield made


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: EmbeddedPostgres,
    provider: FakeProvider,
) -> Iterator[ConfiguredInstallation]:
    folder = tmp_path_factory.mktemp("sign-in")
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    changed = {
        "USER_JWT_SECRET": None, "USER_JWKS_URL": provider.url, "USER_JWT_ISSUER": ISSUER,
        "TRUSTED_PROXIES": "127.0.0.1", "CONNECTS_PER_MINUTE": str(LIMIT),
        "TOKENS_PER_MINUTE": str(LIMIT), "FAILED_SIGN_INS_PER_MINUTE": str(LIMIT),
    }  # fmt: skip
    with programs(folder) as make:
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg="ffmpeg", changed=changed
        )
        try:
            installation.start_api()
            yield installation
        finally:
            installation.close()


ADDRESSES = iter(f"198.51.100.{n}" for n in range(1, 255))


def token(kid: str, algorithm: str, **changes: object) -> str:
    claims = {
        "sub": "alice",
        "aud": "streamwarden",
        "iss": ISSUER,
        "exp": now_s() + FAR_S,
        **changes,
    }
    return sign({k: v for k, v in claims.items() if v is not None}, algorithm=algorithm, kid=kid)


def ask(site: ConfiguredInstallation, shown: str, address: str | None = None) -> Answer:
    """Call as somebody behind a trusted proxy, from an address that nobody else has."""
    headers = {
        "Authorization": f"Bearer {shown}",
        "X-Forwarded-For": address or next(ADDRESSES),
    }
    return Caller(site.api_url, headers).get("/api/v1/camera")


@pytest.mark.parametrize(("kid", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")])
def test_the_providers_tokens_are_believed(
    site: ConfiguredInstallation, kid: str, algorithm: str
) -> None:
    assert ask(site, token(kid, algorithm)).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://issuer.example/b"}, {"iss": None}, {"aud": "other"}, {"aud": None},
        {"sub": None}, {"exp": None}, {"exp": 1}, {"nbf": 4102444800},
    ],
    ids=str,
)  # fmt: skip
def test_the_providers_token_with_a_claim_that_is_wrong_is_refused(
    site: ConfiguredInstallation, changes: dict[str, object]
) -> None:
    assert ask(site, token("rsa", "RS256", **changes)).status == 401


def test_the_public_key_signs_nothing_that_is_believed(site: ConfiguredInstallation) -> None:
    public = private_key("RS256", "rsa").public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    claims = {"sub": "alice", "aud": "streamwarden", "iss": ISSUER, "exp": now_s() + FAR_S}
    for key in (
        public.public_bytes(serialization.Encoding.PEM, spki),
        public.public_bytes(serialization.Encoding.DER, spki),
        json.dumps(jwk("RS256", "rsa")).encode(),
    ):
        assert ask(site, forged({"alg": "HS256", "kid": "rsa"}, claims, key)).status == 401
    for alg in ("none", "RS256", "ES256", "EdDSA"):
        assert ask(site, forged({"alg": alg, "kid": "rsa"}, claims)).status == 401


def test_a_stranger_key_is_refused_by_whatever_name(site: ConfiguredInstallation) -> None:
    claims = {"sub": "alice", "aud": "streamwarden", "iss": ISSUER, "exp": now_s() + FAR_S}
    stranger = private_key("RS256", "stranger")
    for headers in (
        {"kid": "rsa"}, {"kid": "ed"}, {"kid": "../rsa"}, {},
        {"kid": "rsa", "jku": "http://127.0.0.1:1/keys"}, {"kid": "rsa", "jwk": jwk("RS256", "stranger")},
    ):  # fmt: skip
        assert ask(site, jwt.encode(claims, stranger, "RS256", headers=headers)).status == 401


def test_a_key_that_is_new_is_found_and_an_outage_costs_nobody_anything(
    site: ConfiguredInstallation, provider: FakeProvider
) -> None:
    before = provider.document
    provider.document = {"keys": [*list(before["keys"]), jwk("EdDSA", "next")]}  # type: ignore[call-overload]  # a list of ours
    wait_for("the new key", lambda: ask(site, token("next", "EdDSA")).status == 200)
    provider.away = True
    try:
        asked = provider.asked
        for _ in range(20):  # made-up names do not make us ask more often than every ten seconds
            assert ask(site, forged({"alg": "RS256", "kid": "made up"}, {}, b"x")).status in {
                401,
                503,
            }
        assert provider.asked - asked <= 3
        assert ask(site, token("rsa", "RS256")).status == 200
        assert Caller(site.api_url).get("/readyz").status == 200
    finally:
        provider.away = False
        provider.document = before


def test_sign_ins_that_fail_are_limited_by_address_and_good_ones_are_not(
    site: ConfiguredInstallation,
) -> None:
    address = next(ADDRESSES)
    statuses = [ask(site, "wrong", address).status for _ in range(LIMIT + 3)]
    assert statuses[:LIMIT] == [401] * LIMIT
    refused = ask(site, "wrong", address)
    assert (refused.status, refused.code) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(site, token("ed", "EdDSA"), address).status == 200
    assert ask(site, "wrong", f"{next(ADDRESSES)}, {next(ADDRESSES)}").status == 401


def test_what_a_client_forwards_for_itself_gives_it_no_other_address(
    site: ConfiguredInstallation,
) -> None:
    address = next(ADDRESSES)
    for n in range(LIMIT + 1):
        last = ask(site, "wrong", f"10.0.0.{n}, {address}")
    assert last.status == 429


@pytest.mark.parametrize("path", ["/stream/connect", "/publish_rtsp_url"])
def test_a_user_who_connects_or_signs_too_often_is_told_to_wait(
    site: ConfiguredInstallation, path: str
) -> None:
    name = f"user{path.replace('/', '-')}"
    headers = {"Authorization": f"Bearer {token('ed', 'EdDSA', sub=name)}"}
    target = f"/api/v1/camera/00000000-0000-4000-8000-000000000000{path}"
    method = "POST" if path.endswith("connect") else "GET"
    answers = [Caller(site.api_url, headers).call(method, target) for _ in range(LIMIT + 1)]
    assert [each.status for each in answers] == [404] * LIMIT + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert Caller(site.api_url, headers).get("/api/v1/camera").status == 200


def test_internal_routes_are_never_limited(site: ConfiguredInstallation) -> None:
    body = {"action": "read", "protocol": "rtsp", "path": "x", "token": "wrong"}
    for _ in range(10 * LIMIT):
        hook = Caller(site.internal_url).post("/api/v1/m2m/check-stream-pwd", body)
        assert hook.status == 401
        unknown = {"camera_id": "00000000-0000-4000-8000-000000000000"}
        assert site.to_internal_api.post("/api/v1/m2m/read-token", unknown).status == 403
