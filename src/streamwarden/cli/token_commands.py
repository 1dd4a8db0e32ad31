"""Tokens that operators sign by hand. Needs no running role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from streamwarden.auth.keys import SignedToken, parse_keys
from streamwarden.auth.rtsp_urls import publish_url
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.cli.camera_input import check_path
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token for someone to use, and the URL that has it, where there is one."""

    token: str = field(repr=False)
    expires_at: datetime
    url: str | None = field(default=None, repr=False)


def sign_user(
    settings: Settings, *, sub: str, roles: Iterable[str], ttl_s: int, clock: Clock | None = None
) -> IssuedToken:
    """Sign a token with which ``sub`` calls the API, as the identity provider would."""
    clock = clock or Clock()
    tokens = UserTokens(
        settings.secret("user_jwt_secret"),
        audience=settings.user_jwt_audience,
        roles_claim=settings.user_roles_claim,
        issuer=settings.user_jwt_issuer,
        clock=clock,
    )
    token = tokens.sign(sub, roles=roles, ttl_s=ttl_s)
    return IssuedToken(token=token, expires_at=clock.now() + timedelta(seconds=ttl_s))


def sign_read(settings: Settings, *, sub: str, path: str, ttl_s: int) -> IssuedToken:
    """Sign a token with which ``sub`` watches ``path``, for a player that speaks RTSP."""
    check_path(path)
    signed = _stream_tokens(settings).sign_view(sub, path, ttl_s=ttl_s)
    return _with_url(settings, signed, path)


def sign_publish(settings: Settings, *, sub: str, path: str, ttl_s: int) -> IssuedToken:
    """Sign a token with which a camera publishes to ``path`` in the name of ``sub``."""
    check_path(path)
    signed = _stream_tokens(settings).sign_publish(sub, path, ttl_s=ttl_s)
    return _with_url(settings, signed, path)


def _stream_tokens(settings: Settings) -> StreamTokens:
    return StreamTokens(parse_keys(settings.secret("stream_token_keys")), Clock())


def _with_url(settings: Settings, signed: SignedToken, path: str) -> IssuedToken:
    url = publish_url(settings.rtsp_publish_url, path, signed.token)
    return IssuedToken(token=signed.token, expires_at=signed.expires_at, url=url)
