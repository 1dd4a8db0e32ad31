"""All settings of the program, checked as a whole before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamwarden.config import values
from streamwarden.config.loading import (
    PREFIX,
    failed_checks,
    fault_list,
    faults_of,
    gather,
    variable,
)
from streamwarden.config.values import HOW_TO_MAKE
from streamwarden.errors import ConfigError

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
    """Return the settings that may be set instead of ``name``."""
    return _ALTERNATIVES.get(name, ())


PORT_OFFSETS = {"webui_port": 0, "api_port": 1, "streaming_port": 2, "internal_api_port": 3}


def port_of(name: str) -> Callable[[dict[str, Any]], int]:
    """Return the default of a port: the base plus its offset; 0 (any free one) if the base is 0."""

    def default(earlier: dict[str, Any]) -> int:
        base = earlier.get("port_base", 0)
        return base + PORT_OFFSETS[name] if base else 0

    return default


def url_at(port_name: str) -> Callable[[dict[str, Any]], str | None]:
    """Return the default of a role's URL: that port on this machine."""

    def default(earlier: dict[str, Any]) -> str | None:
        port = earlier.get(port_name, 0)
        return f"http://{reachable(earlier.get('host', ''))}:{port}" if port else None

    return default


def reachable(host: str) -> str:
    """Return the address at which this machine reaches a listener on ``host``."""
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


Port = Annotated[int, PlainValidator(values.whole(0, values.MAX_PORT))]


HttpUrl = Annotated[str, PlainValidator(values.base_url("http", "https"))]


RtspUrl = Annotated[str, PlainValidator(values.base_url("rtsp", "rtsps", path=False))]


FFMPEG_GIVES_UP_S = 30.0
"""FFmpeg exits by itself after twice its ``-timeout`` of 5 s without a packet."""


PROVIDER_ALGORITHMS = ("RS256", "ES256", "EdDSA")


PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""RFC 1918 and RFC 4193."""


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """The settings. Names are the environment variables' in lower case, without the prefix.

    A port of 0 takes any free one. Its role's URL is then None unless it is set, because it is not known
    before the listener is bound.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    database_url: Annotated[SecretStr, BeforeValidator(values.database_url)] | None = None
    record_root: Annotated[Path, PlainValidator(values.folder)] | None = None
    host: Annotated[str, PlainValidator(values.host)] = "127.0.0.1"
    """The address that every listener binds."""
    port_base: Annotated[int, PlainValidator(values.whole(0, values.MAX_PORT - 3))] = 8080
    webui_port: Port = Field(default_factory=port_of("webui_port"))
    api_port: Port = Field(default_factory=port_of("api_port"))
    streaming_port: Port = Field(default_factory=port_of("streaming_port"))
    internal_api_port: Port = Field(default_factory=port_of("internal_api_port"))
    api_url: HttpUrl | None = Field(default_factory=url_at("api_port"))
    internal_api_url: HttpUrl | None = Field(default_factory=url_at("internal_api_port"))
    streaming_url: HttpUrl | None = Field(default_factory=url_at("streaming_port"))
    internal_token: Annotated[SecretStr, BeforeValidator(values.header_secrets)] | None = None
    """The token between the roles. During a change two, separated by a comma: the first is sent, both are
    accepted."""
    internal_hosts: Annotated[tuple[str, ...], PlainValidator(values.hosts)] = ()
    """Names with a dot by which MediaMTX calls its hook (``authHTTPAddress``). Addresses, names without a
    dot, the machine's own name and that of ``internal_api_url`` are known."""
    user_jwt_secret: Annotated[SecretStr, BeforeValidator(values.shared_secret)] | None = None
    """The secret with which users' tokens are signed (HS256); this or ``user_jwks_url``."""
    user_jwks_url: Annotated[str, PlainValidator(values.jwks_url)] | None = None
    """URL of the identity provider's keys that verify users' tokens."""
    user_jwks_max_age: Annotated[float, PlainValidator(values.duration(60, 604_800))] = 86_400.0
    """Seconds for which fetched keys stay valid while the provider cannot be reached."""
    user_jwt_algorithms: Annotated[
        tuple[str, ...], PlainValidator(values.choice_of(*PROVIDER_ALGORITHMS))
    ] = PROVIDER_ALGORITHMS
    """Algorithms accepted from the provider; with a secret it is always HS256."""
    user_jwt_issuer: Annotated[str, PlainValidator(values.issuer)] | None = None
    """Required ``iss`` of users' tokens; None: not checked."""
    user_jwt_audience: Annotated[str, Field(min_length=1, max_length=200)] = "streamwarden"
    user_roles_claim: Annotated[str, PlainValidator(values.claim_name)] = "roles"
    stream_token_keys: Annotated[SecretStr, BeforeValidator(values.signing_keys)] | None = None
    trusted_proxies: Annotated[tuple[str, ...], PlainValidator(values.networks)] = ()
    """Proxies, including the webui role, whose X-Forwarded-For is trusted."""
    cors_origins: Annotated[tuple[str, ...], PlainValidator(values.origins)] = ()
    """Origins of other web pages that may call the API (CORS)."""
    connects_per_minute: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] = 3000
    tokens_per_minute: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] = 3000
    """Limits per user: calls of connect, and signed tokens or links."""
    failed_sign_ins_per_minute: Annotated[int, PlainValidator(values.whole(1, 1_000_000))] = 300
    """Failed sign-ins per address before further ones get 429."""
    rtsp_internal_url: RtspUrl = "rtsp://mediamtx:8554"
    """The media server's address for the recorders."""
    rtsp_publish_url: RtspUrl = Field(
        default_factory=lambda earlier: earlier.get("rtsp_internal_url", "")
    )
    """The media server's address for cameras; default: the recorders' address."""
    rtsp_allowed_hosts: Annotated[tuple[str, ...], PlainValidator(values.targets)] = ()
    """Hosts, with or without a port, that a recorder may read from besides ``rtsp_internal_url``; also
    the non-public addresses and networks to which their names may resolve."""
    source_networks: Annotated[tuple[str, ...], PlainValidator(values.networks_and_hosts)] = (
        PRIVATE_NETWORKS
    )
    """Networks, addresses and names that cameras may be pulled from; default: private networks. The
    program's own hosts and special addresses must be listed individually."""
    source_secret_keys: Annotated[SecretStr, BeforeValidator(values.encryption_keys)] | None = None
    """Keys that encrypt cameras' credentials: the first encrypts, each decrypts. None: none are kept."""
    whep_url: HttpUrl | None = None
    """The media server's WebRTC address for browsers; None: no live preview."""
    page_url: HttpUrl | None = None
    """The page as browsers reach it, for the links of ``sign-in``; None: the role's port on ``host``."""
    mediamtx_api_url: HttpUrl | None = None
    """The media server's control API; None: revoked sessions are not ended, no camera is pulled, and a
    recorder's pause is not ended by a camera that is back."""
    ffmpeg: Annotated[Path, Field(strict=False)] | None = None
    """FFmpeg's path; None: the one on PATH, else the bundled one."""
    ffmpeg_user: Annotated[str, PlainValidator(values.account)] | None = None
    """The account under which FFmpeg runs, if streamwarden runs as root."""
    ffmpeg_sandbox: Annotated[Literal["try", "required", "off"], BeforeValidator(_word)] = "try"
    """Whether FFmpeg is confined: where the kernel can, or else not started, or not at all."""
    ffmpeg_reads: Annotated[tuple[Path, ...], PlainValidator(values.paths)] = ()
    """Further files and folders that FFmpeg may read and run in its sandbox, such as its libraries."""
    stall_after: Annotated[float, PlainValidator(values.duration(2, 60))] = 8.0
    """Seconds without growth of the open segment after which a run is stalled."""
    stop_timeout_s: Annotated[float, PlainValidator(values.duration(1, 300))] = 10.0
    respawn_cap_s: Annotated[float, PlainValidator(values.duration(1, 3600))] = 30.0
    retention_days: Annotated[int, PlainValidator(values.whole(1, 36500))] = 30
    retention_grace: Annotated[float, PlainValidator(values.duration(0, 2_592_000))] = 86_400.0
    """Seconds for which a deletion waits that a clock or a changed limit alone would cause."""
    retention_min: Annotated[float, PlainValidator(values.duration(0, 315_360_000))] = 86_400.0
    """Seconds for which recordings are kept although less than ``free_space_reserve`` is free."""
    audit_days: Annotated[int, PlainValidator(values.whole(1, 36500))] = 365
    """Days for which the audit trail is kept."""
    free_space_reserve: Annotated[values.Reserve, PlainValidator(values.reserve)] = values.Reserve(
        fraction=0.05
    )
    total_quota: Annotated[int, PlainValidator(values.size)] | None = None
    """Maximum bytes of all recordings; None: limited by the reserve only."""
    camera_quota: Annotated[int, PlainValidator(values.size)] | None = None
    """Maximum bytes of one camera's recordings."""
    seal_key_file: Annotated[Path, PlainValidator(values.file)] | None = None
    """The private key (Ed25519, PEM) that seals recordings; None: nothing is sealed."""
    quarantine_folder: Annotated[Path, PlainValidator(values.folder)] | None = None
    """Where recording goes on while the record root is not the known one; None: it does not."""
    node: Annotated[str, PlainValidator(values.node)] = Field(default_factory=socket.gethostname)
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_word)] = "auto"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_word)] = (
        "info"
    )

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings calls by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the values merged by ``load``, which checks for unknown names."""
        return (init_settings,)

    @property
    def internal_tokens(self) -> tuple[str, ...]:
        """The tokens that roles accept from each other; they send the first."""
        text = "" if self.internal_token is None else self.internal_token.get_secret_value()
        return tuple(text.split(",")) if text else ()

    def secrets(self) -> list[str]:
        """Return every secret value that is set, for the log to hide."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    def secret(self, name: str) -> str:
        """Return the secret ``name``; raise ConfigError if it is not set."""
        value: SecretStr | None = getattr(self, name)
        if value is None:
            raise ConfigError(f"{variable(name)} is not set")
        return value.get_secret_value()

    def require_for(self, *roles: str) -> None:
        """Raise one ConfigError that lists all settings that these roles need and that are not set."""
        lines = [
            f"{variable(name)}: is not set; {how}"
            for name, how in needed_by(roles).items()
            if all(getattr(self, each) is None for each in (name, *alternatives_to(name)))
        ]
        if lines:
            raise ConfigError(fault_list(lines))

    def origin(self, name: str) -> str:
        """Return the source of a value: ``default``, ``file``, ``environment`` or ``option``."""
        return self._origins.get(name, "default")

    def remember_origins(self, origins: Mapping[str, str]) -> None:
        """Store the source of each value, for ``describe``."""
        self._origins = dict(origins)

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        ports = [port for name in PORT_OFFSETS if (port := getattr(self, name))]
        if len(set(ports)) < len(ports):
            names = ", ".join(variable(name) for name in PORT_OFFSETS)
            raise ValueError(f"{names}: two listeners have the same port; give each its own")
        return self

    @model_validator(mode="after")
    def _check_one_way_to_sign_in(self) -> Self:
        if self.user_jwt_secret is not None and self.user_jwks_url is not None:
            raise ValueError(
                f"{variable('user_jwt_secret')}, {variable('user_jwks_url')}: set one of them, "
                "not both"
            )
        return self

    @model_validator(mode="after")
    def _check_secrets_differ(self) -> Self:
        """Refuse equal secrets, because a leak of one would be a leak of both."""
        held = [("internal_token", token) for token in self.internal_tokens]
        others = ("user_jwt_secret", "stream_token_keys", "source_secret_keys")
        held += [(n, each.get_secret_value()) for n in others if (each := getattr(self, n))]
        for place, (name, value) in enumerate(held):
            for other, text in held[place + 1 :]:
                if value in text:
                    raise ValueError(
                        f"{variable(other)}: is the same secret as {variable(name)}; make another "
                        f"with: {values.HOW_TO_MAKE}"
                    )
        return self


def load(
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    checks: Mapping[str, Callable[[str], object]] | None = None,
) -> Settings:
    """Load the settings: options over environment over file over defaults.

    ``checks`` are parsers of other rooms for secrets such as ``stream_token_keys``; each raises ConfigError
    or ValueError. All faults are raised as one ConfigError, which contains no secret.
    """
    names = Settings.model_fields.keys()
    gathered = gather(names, config_file=config_file, environ=environ, overrides=overrides or {})
    faults = gathered.faults
    settings: Settings | None = None
    try:
        settings = Settings(**gathered.values)  # type: ignore[arg-type]  # validated right here
    except ValidationError as error:
        faults += faults_of(error, gathered.origins)
    if settings is not None:
        faults += failed_checks(settings, checks or {})
    if settings is None or faults:
        raise ConfigError(fault_list(faults))
    settings.remember_origins(gathered.origins)
    return settings


def describe(settings: Settings) -> dict[str, dict[str, object]]:
    """Return each setting's ``value`` (secrets masked) and ``source``, ready for JSON."""
    return {
        variable(name): {
            "value": _shown(name, getattr(settings, name)),
            "source": settings.origin(name),
        }
        for name in Settings.model_fields
    }


def warnings(settings: Settings, *roles: str) -> list[str]:
    """Return warnings of ``roles``, or of all, about settings that are valid but probably unintended."""
    found: list[str] = []
    faces_users = not roles or bool({"all", "api", "webui"} & set(roles))
    if faces_users and not _is_loopback(settings.host) and not settings.trusted_proxies:
        found.append(
            f"{variable('host')}: {settings.host} is reached from other machines, and no "
            f"{variable('trusted_proxies')} is set: without the proxy of deploy/nginx there is no TLS, so "
            "tokens and pictures cross the network unencrypted, and the internal ports answer there too; "
            "keep 127.0.0.1, or see docs/deployment.md, The proxy"
        )
    if roles and not {"all", "streaming"} & set(roles):
        return found
    if settings.stall_after >= FFMPEG_GIVES_UP_S:
        found.append(
            f"{variable('stall_after')}: FFmpeg gives up reading after {FFMPEG_GIVES_UP_S:g} s by "
            "itself, so a longer time has an effect only for cameras that still send RTCP"
        )
    if settings.retention_min >= settings.retention_days * 86_400:
        found.append(
            f"{variable('retention_min')}: is not less than {variable('retention_days')}, so nothing is"
            " deleted for the free space, and recording ends when the disk is full"
        )
    if settings.record_root is not None and settings.seal_key_file is None:
        found.append(
            f"{variable('seal_key_file')}: is not set, so nothing proves to others that recordings are "
            "complete and unaltered; make a key with: streamwarden key new PATH"
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(name: str, value: object) -> object:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return values.without_password(text) if name == "database_url" else values.HIDDEN
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path | values.Reserve) else value
