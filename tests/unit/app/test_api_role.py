"""What the API role expects of users' tokens is what its settings name."""

from __future__ import annotations

import jwt
import pytest

from streamwarden.app.api_role import SignIn
from streamwarden.auth.users import Unauthenticated, User
from streamwarden.config.settings import load
from tests.fakes.manual_time import ManualClock
from tests.unit.auth.signing_secrets import NOON, SECRET

CLAIMS: dict[str, object] = {
    "sub": "ana",
    "aud": "cameras",
    "iss": "https://issuer.example",
    "exp": NOON.timestamp() + 60,
    "realm": {"access": ["admin"]},
}


@pytest.fixture
def sign_in() -> SignIn:
    environ = {
        "STREAMWARDEN_USER_JWT_SECRET": SECRET,
        "STREAMWARDEN_USER_JWT_AUDIENCE": "cameras",
        "STREAMWARDEN_USER_JWT_ISSUER": "https://issuer.example",
        "STREAMWARDEN_USER_ROLES_CLAIM": "realm.access",
    }
    return SignIn(load(None, environ), ManualClock(NOON))


def signed(**changes: object) -> str:
    return jwt.encode(CLAIMS | changes, SECRET, "HS256")


def test_a_token_for_the_set_audience_issuer_and_roles_claim_is_believed(sign_in: SignIn) -> None:
    assert sign_in.users.verify(signed()) == User("ana", frozenset({"admin"}))


@pytest.mark.parametrize("changes", [{"aud": "streamwarden"}, {"iss": "https://other.example"}])
def test_a_token_for_another_audience_or_of_another_issuer_is_refused(
    sign_in: SignIn, changes: dict[str, object]
) -> None:
    with pytest.raises(Unauthenticated):
        sign_in.users.verify(signed(**changes))
