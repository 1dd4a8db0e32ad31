"""What each role needs set before it can start, and how to come by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streamwarden.config.secrets import HOW_TO_MAKE

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "api": (
        "database_url",
        "internal_token",
        "user_jwt_secret",
        "stream_token_keys",
    ),
    "streaming": ("database_url", "record_root", "internal_token"),
    "webui": (),
}
_ALTERNATIVES: Mapping[str, tuple[str, ...]] = {"user_jwt_secret": ("user_jwks_url",)}
_HOW_TO_SET = {
    "database_url": "such as postgresql://user:password@host/name",
    "internal_token": f"the same for every role; make one with: {HOW_TO_MAKE}",
    "user_jwt_secret": "the secret with which your identity provider signs users' tokens (HS256); "
    f"make one with: {HOW_TO_MAKE}; or set STREAMWARDEN_USER_JWKS_URL to where it publishes its keys",
    "stream_token_keys": f"as kid:secret; make the secret with: {HOW_TO_MAKE}",
    "record_root": "the folder that recordings go to",
}


def needed_by(roles: Collection[str]) -> dict[str, str]:
    """Return the settings that ``roles`` (``all``: every role) need, each with how to set it."""
    wanted = _NEEDS.keys() if "all" in roles else roles
    return {name: _HOW_TO_SET[name] for role in wanted for name in _NEEDS[role]}


def alternatives_to(name: str) -> tuple[str, ...]:
    """Return the settings of which any does as well as ``name``."""
    return _ALTERNATIVES.get(name, ())
