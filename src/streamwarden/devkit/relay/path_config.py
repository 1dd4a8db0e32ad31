"""The configuration of paths in MediaMTX v1.20.1's control API.

Only the fields for an RTSP source have an effect. All others are type-checked, kept and shown, so that
a request accepted here is accepted by MediaMTX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from streamwarden.errors import InvalidInput, NotFound

DEFAULT: Final = "all_others"
"""The configuration of all other paths: clients may publish there with the hook's permission."""
PUBLISHER: Final = "publisher"
_SCHEMES: Final = ("rtsp://", "rtsps://")
_TRANSPORTS: Final = frozenset({"automatic", "udp", "multicast", "tcp"})
_NAME: Final = re.compile(r"[0-9a-zA-Z_\-/.]+")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FIELDS: Final[Mapping[str, object]] = {
    "source": PUBLISHER,
    "sourceFingerprint": "",
    "sourceOnDemand": False,
    "sourceOnDemandStartTimeout": "10s",
    "sourceOnDemandCloseAfter": "10s",
    "maxReaders": 0,
    "useAbsoluteTimestamp": False,
    "record": False,
    "overridePublisher": True,
    "rtspTransport": "automatic",
    "rtspAnyPort": False,
    "rtspRangeType": "",
    "rtspRangeStart": "",
}
"""The fields for an RTSP source, with MediaMTX's defaults."""
_GO_TYPES: Final = {bool: "bool", int: "int", str: "string"}
_JSON_TYPES: Final = {bool: "bool", int: "number", float: "number", str: "string",
                      list: "array", dict: "object"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PathConfig:
    """One path's configuration; ``values`` are the fields that were set, which may hold a password."""

    name: str
    values: Mapping[str, object] = field(repr=False)

    @property
    def source(self) -> str | None:
        """The camera's URL as configured, None if the camera publishes."""
        source = str(self.values.get("source", PUBLISHER))
        return None if source == PUBLISHER else source

    @property
    def transport(self) -> str:
        """``tcp``, ``udp``, ``multicast`` or ``automatic``."""
        return str(self.values.get("rtspTransport", _FIELDS["rtspTransport"]))

    def to_json(self) -> dict[str, object]:
        """Return MediaMTX's form, with defaults for the fields not set."""
        return {"name": self.name, **_FIELDS, **self.values}


class PathConfigs:
    """The configurations of all paths, in memory only, as in MediaMTX.

    Every method raises InvalidInput or NotFound with MediaMTX's error text.
    """

    def __init__(self) -> None:
        self._configs = {DEFAULT: PathConfig(DEFAULT, {})}

    def of(self, name: str) -> PathConfig | None:
        """Return the configuration of ``name``; None if it falls under ``all_others``."""
        return self._configs.get(name) if name != DEFAULT else None

    def show(self, name: str) -> PathConfig:
        """Return what is configured under ``name``."""
        if (found := self._configs.get(name)) is None:
            raise NotFound("path configuration not found")
        return found

    def all(self) -> Sequence[PathConfig]:
        """List them by name."""
        return [self._configs[name] for name in sorted(self._configs)]

    def add(self, name: str, body: Mapping[str, object]) -> PathConfig:
        """Configure a path that has no configuration yet."""
        _check_fields(body)
        if name in self._configs:
            raise InvalidInput("path already exists")
        return self._put(name, body)

    def patch(self, name: str, body: Mapping[str, object]) -> PathConfig:
        """Change the fields in ``body``."""
        _check_fields(body)
        return self._put(name, {**self._known(name).values, **body})

    def replace(self, name: str, body: Mapping[str, object]) -> PathConfig:
        """Configure a path, replacing its configuration."""
        _check_fields(body)
        return self._put(name, body)

    def delete(self, name: str) -> None:
        """Delete a path's configuration; it falls under ``all_others`` again."""
        if self._known(name).name == DEFAULT:
            raise InvalidInput("this relay cannot do without all_others")
        del self._configs[name]

    def _known(self, name: str) -> PathConfig:
        if (found := self._configs.get(name)) is None:
            raise NotFound("path not found")
        return found

    def _put(self, name: str, values: Mapping[str, object]) -> PathConfig:
        _check_name(name)
        given = {key: value for key, value in values.items() if value is not None}
        config = self._configs[name] = _checked(PathConfig(name, given))
        return config


def _checked(config: PathConfig) -> PathConfig:
    transport = config.values.get("rtspTransport", "tcp")
    if transport not in _TRANSPORTS:
        raise InvalidInput(f"invalid transport '{transport}'")
    if config.source is not None:
        _check_source(config.source)
        if config.name == DEFAULT:
            raise InvalidInput("this relay pulls no camera for all_others")
    elif config.values.get("sourceOnDemand"):
        raise InvalidInput("'sourceOnDemand' is useless when source is 'publisher'")
    return config


def _check_name(name: str) -> None:
    wrong = None
    if not name:
        raise InvalidInput("invalid name")
    if name.startswith("/"):
        wrong = "can't begin with a slash"
    elif name.endswith("/"):
        wrong = "can't end with a slash"
    elif not _NAME.fullmatch(name):
        wrong = "can contain only alphanumeric characters, underscore, dot, minus, slash"
    if wrong is not None:
        raise InvalidInput(f"invalid path name '{name}': {wrong}")


def _check_source(source: str) -> None:
    if not source.startswith(_SCHEMES):
        raise InvalidInput(f"invalid source: '{source}'")
    try:
        parts = urlsplit(source)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        parts = urlsplit("")
    if not parts.netloc or _BAD_ESCAPE.search(source) or " " in parts.netloc:
        raise InvalidInput(f"'{source}' is not a valid URL")
    # A password of `$MTX_QUERY` is one here; it is replaced only when the camera is called.
    if bool(parts.username) != bool(parts.password):
        raise InvalidInput("username and password must be both provided")


def _check_fields(body: Mapping[str, object]) -> None:
    unknown: Iterable[str] = (name for name in body if name not in _FIELDS)
    for name in unknown:
        raise InvalidInput(f'json: unknown field "{name}"')
    for name, value in body.items():
        wanted = type(_FIELDS[name])
        if value is not None and type(value) is not wanted:
            told = _JSON_TYPES[type(value)]
            raise InvalidInput(
                f"json: cannot unmarshal {told} into Go value of type {_GO_TYPES[wanted]}"
            )
