"""Who is let in, put together: users by secret or by a provider's keys, and how often; other roles."""

from __future__ import annotations

from contextlib import ExitStack

from streamwarden.auth.provider import ProviderKeys
from streamwarden.auth.users import Expected, ProviderTokens, UserTokens
from streamwarden.clients.jwks import JwksClient
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.http.health import Check
from streamwarden.http.ports import UserVerifier
from streamwarden.http.rates import Rates


class SignIn:
    """The verifier of users' tokens, with what keeps its keys. ``checks`` are what /readyz asks."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._client: JwksClient | None = None
        self._keys: ProviderKeys | None = None
        self.checks: dict[str, Check] = {}
        if settings.user_jwks_url is None:
            self.users: UserVerifier = _by_secret(settings, clock)
            return
        self._client = JwksClient(settings.user_jwks_url)
        self._keys = ProviderKeys(
            self._client.fetch,
            algorithms=settings.user_jwt_algorithms,
            max_age_s=settings.user_jwks_max_age,
            clock=clock,
        )
        self.users = ProviderTokens(self._keys, _expected(settings), clock)
        self.checks["identity_provider"] = self._keys.check

    def start(self, started: ExitStack) -> None:
        """Begin to fetch keys where there are any to fetch; ``started`` ends it."""
        if self._client is not None and self._keys is not None:
            started.callback(self._client.close)
            self._keys.start()
            started.callback(self._keys.stop)


def rates(settings: Settings) -> Rates:
    """Return how often users may call."""
    return Rates(
        connects=settings.connects_per_minute,
        signings=settings.tokens_per_minute,
        failed_sign_ins=settings.failed_sign_ins_per_minute,
    )


def _by_secret(settings: Settings, clock: Clock) -> UserTokens:
    if settings.user_jwt_secret is None:
        raise ConfigError("STREAMWARDEN_USER_JWT_SECRET: is not set, nor is USER_JWKS_URL")
    return UserTokens(
        settings.user_jwt_secret.get_secret_value(),
        audience=settings.user_jwt_audience,
        roles_claim=settings.user_roles_claim,
        issuer=settings.user_jwt_issuer,
        clock=clock,
    )


def _expected(settings: Settings) -> Expected:
    return Expected(
        audience=settings.user_jwt_audience,
        roles_claim=settings.user_roles_claim,
        issuer=settings.user_jwt_issuer,
    )
