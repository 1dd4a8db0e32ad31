"""Sources of settings: defaults, a TOML file, the environment, a command's options. Later ones win.

An unknown name is an error with a suggestion, because a mistyped setting that is ignored goes unnoticed
until recordings are missing. No message contains a value: it may be a secret.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from streamwarden.errors import ConfigError

PREFIX = "STREAMWARDEN_"


BARE = {"DATABASE_URL": "database_url"}
"""Variables without our prefix that platforms set by convention; the prefixed one has precedence."""


NOT_SETTINGS = frozenset({"STREAMWARDEN_MEDIAMTX"})
"""Variables with our prefix that are not settings: the demo's path of MediaMTX."""


NOT_SETTINGS_PREFIXES = ("STREAMWARDEN_TEST_", "STREAMWARDEN_BENCH_")
"""Variables of the tests and benchmarks; ignored, so that a shell with them can start the program."""


@dataclass(slots=True)
class RawSettings:
    """Raw values, the source of each, and the faults found so far."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, values: Mapping[str, object], origin: str) -> None:
        """Add ``values``, overriding earlier ones."""
        self.values |= values
        self.origins |= dict.fromkeys(values, origin)


def variable(name: str) -> str:
    """Return the environment variable of the setting ``name``."""
    return PREFIX + name.upper()


def gather(
    names: Collection[str],
    *,
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
) -> RawSettings:
    """Merge the sources; ``names`` are the known settings."""
    gathered = RawSettings()
    if config_file is not None:
        gathered.add(_from_file(config_file, names, gathered.faults), "file")
    gathered.add(_from_environment(environ, names, gathered.faults), "environment")
    gathered.add({name: value for name, value in overrides.items() if value is not None}, "option")
    return gathered


def _from_file(path: Path, names: Collection[str], faults: list[str]) -> dict[str, object]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path}: is not TOML: {_toml_place(error)}")
        return {}
    unknown = sorted(found.keys() - set(names))
    faults += [f"{path}: {key!r}: no such setting{_suggest(key, names)}" for key in unknown]
    return {name: value for name, value in found.items() if name in names}


def _toml_place(error: ValueError) -> str:
    """Return only the position: the parser's message may quote a line with a secret."""
    line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
    if line is not None:
        return f"line {line}, column {column}"
    place = str(error).rpartition("(at ")[2].rstrip(")")
    return place if place.startswith("line ") else "it must be UTF-8 text of 'name = value' lines"


def _from_environment(
    environ: Mapping[str, str], names: Collection[str], faults: list[str]
) -> dict[str, object]:
    """Read our variables. An empty one counts as not set, because compose files pass on empty ones."""
    values: dict[str, object] = {}
    for bare, name in BARE.items():
        if environ.get(bare):
            values[name] = environ[bare]
    known = {variable(name): name for name in names}
    for key in sorted(key for key in environ if key.startswith(PREFIX)):
        if key in known:
            values |= {known[key]: environ[key]} if environ[key] else {}
        elif key not in NOT_SETTINGS and not key.startswith(NOT_SETTINGS_PREFIXES):
            faults.append(f"{key}: no such setting{_suggest(key, [*known, *NOT_SETTINGS])}")
    return values


def _suggest(name: str, known: Collection[str]) -> str:
    """Compare without our prefix, which would make any two variables similar."""
    by_core = {_core(candidate): candidate for candidate in known}
    close = difflib.get_close_matches(_core(name), list(by_core), n=1, cutoff=0.7)
    return f"; did you mean {by_core[close[0]]}?" if close else ""


def _core(name: str) -> str:
    return name.removeprefix(PREFIX).casefold()


def failed_checks(settings: object, checks: Mapping[str, Callable[[str], object]]) -> list[str]:
    """Check secrets with other rooms' parsers; return their error messages."""
    failed = []
    for name, check in checks.items():
        secret = getattr(settings, name)
        try:
            _ = None if secret is None else check(secret.get_secret_value())
        except (ConfigError, ValueError) as error:
            fault = str(error).removeprefix(f"{name.upper()}: ")
            failed.append(f"{variable(name)}: {fault}")
    return failed


def faults_of(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    """Return each fault with its variable and the source of the value."""
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


def fault_list(faults: list[str]) -> str:
    """Return one message with one line per fault."""
    return "\n  ".join(["the configuration is not usable:", *faults])
