"""The demo's secrets: created once, stored in its data directory, readable by this user only."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from streamwarden.errors import ConfigError

_BYTES = 32


def _fresh() -> str:
    return secrets.token_hex(_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSecrets:
    """Secrets that the demo's roles share. No field is in the repr."""

    internal_token: str = field(default_factory=_fresh, repr=False)
    user_jwt_secret: str = field(default_factory=_fresh, repr=False)
    stream_token_keys: str = field(default_factory=lambda: f"demo:{_fresh()}", repr=False)
    source_secret_keys: str = field(default_factory=_fresh, repr=False)


_LATER = frozenset({"source_secret_keys"})
"""Secrets that the data directory of an earlier version lacks."""


def demo_secrets(data_dir: Path) -> DemoSecrets:
    """Return the secrets in ``data_dir/secrets.json``; create the file (0600) if it is missing.

    Raises:
        ConfigError: The file exists and is invalid.
    """
    path = data_dir / "secrets.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        names = {one.name for one in fields(DemoSecrets)} - (_LATER - kept.keys())
        found = DemoSecrets(**{name: str(kept[name]) for name in names})
        return found if kept.keys() >= _LATER else _write(path, found)
    except FileNotFoundError:
        return _write(path, DemoSecrets())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be used ({type(error).__name__}); remove it to have new secrets made"
        ) from None


def _write(path: Path, made: DemoSecrets) -> DemoSecrets:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(made), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return made
