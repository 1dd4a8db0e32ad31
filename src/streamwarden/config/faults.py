"""What is wrong with a configuration, in words that hold no secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import ValidationError

from streamwarden.config.sources import variable
from streamwarden.errors import ConfigError


def failed_checks(settings: object, checks: Mapping[str, Callable[[str], object]]) -> list[str]:
    """Judge secrets whose grammar another part owns; return what it says of them."""
    failed = []
    for name, check in checks.items():
        secret = getattr(settings, name)
        try:
            _ = None if secret is None else check(secret.get_secret_value())
        except (ConfigError, ValueError) as error:
            said = str(error).removeprefix(f"{name.upper()}: ")
            failed.append(f"{variable(name)}: {said}")
    return failed


def faults_of(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    """Return each fault with the variable at fault and where its value came from."""
    return [
        _fault(fault["loc"], fault["msg"], origins)
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
        if fault["type"] != "default_factory_not_called"
    ]


def _fault(loc: tuple[int | str, ...], message: str, origins: Mapping[str, str]) -> str:
    message = message.removeprefix("Value error, ")
    if not loc:
        return message
    name = str(loc[0])
    return f"{variable(name)} (from {origins.get(name, 'default')}): {message}"


def listed(faults: list[str]) -> str:
    """Return one message with a line for each fault."""
    return "\n  ".join(["the configuration is not usable:", *faults])
