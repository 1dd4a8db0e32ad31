"""The API role, put together: two listeners, so that no user can hold up the media server's hook.

The API role's guard, put together: the deny list, the evictor, the audit trail.

The API role's part for cameras that are pulled, put together.

Who is let in, put together: users by secret or by a provider's keys, and how often; other roles.

What is needed where a camera's source is set or given to the media server, made from the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry

from streamwarden.app.streaming_role import check_database
from streamwarden.auth.audit_sink import AuditSink
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList, DenialSync, listen_at
from streamwarden.auth.rtsp_urls import Resolve, resolve
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import Expected, JwksClient, ProviderKeys, ProviderTokens, UserTokens
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.http.api.api_app import (
    ApiDeps,
    Guard,
    InternalDeps,
    create_api_app,
    create_internal_app,
)
from streamwarden.http.api.camera_routes import Sources
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.operations import Check
from streamwarden.http.rate_limit import Proxies, RateLimits
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.http.validation import UserVerifier
from streamwarden.mediamtx.camera_source import CameraAnswer, SourcePlanner
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.mediamtx.credentials import CredentialCipher, parse_credential_keys
from streamwarden.mediamtx.sessions import SessionClaims, SessionJudge, SessionKicker
from streamwarden.mediamtx.source_paths import DnsCache, PulledPaths, SourcePaths, SourcePlans
from streamwarden.mediamtx.source_urls import SourceTargets, SourceUrl
from streamwarden.metrics.api_metrics import AccessMetrics, AuthMetrics, SourceMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry, render
from streamwarden.probe.rtsp_client import CameraUrl, NotDescribed, Trouble, describe
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import CameraRepository, GrantRepository, SourceRepository
from streamwarden.storage.denials import DenialRepository
from streamwarden.storage.migrate import Migrating
from streamwarden.storage.pool import Database, hosts_of
from streamwarden.storage.recording_index import (
    CoverageRepository,
    RecordingsRepository,
    SegmentRepository,
)
from streamwarden.storage.streams import SettingsRepository, StreamRepository

log = structlog.get_logger(__name__)


class Guarding:
    """What of the API role runs beside its listeners.

    ``parts`` is what its users' app is given, ``sessions`` where its hook notes whose session is whose.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        url: str,
        database: Database,
        tokens: StreamTokens,
        clock: Clock,
        registry: CollectorRegistry,
        ready: Callable[[], None],
    ) -> None:
        metrics = AccessMetrics(registry)
        denied, sessions = DenialList(clock), SessionClaims(clock)
        self._evictor = None
        if settings.mediamtx_api_url is not None:
            self._evictor = SessionKicker(
                server=MediaMtxClient(settings.mediamtx_api_url),
                judge=SessionJudge(book=sessions, tokens=tokens, denials=denied, clock=clock),
                book=sessions,
                clock=clock,
                metrics=metrics,
            )
        wake: Callable[[], None] = self._evictor.wake if self._evictor else _nobody
        self._keeper = DenialSync(
            listen=listen_at(url),
            table=DenialRepository(database),
            denied=denied,
            clock=clock,
            metrics=metrics,
            changed=wake,
            ready=ready,
        )
        audit_table = AuditRepository(database)
        self._audit = AuditSink(
            audit_table,
            clock=clock,
            metrics=metrics,
            keep_days=settings.audit_days,
            ready=ready,
        )
        self.sessions = sessions
        self.parts = Guard(
            denied=denied,
            denials=DenialRepository(database),
            wake=wake,
            audit=self._audit,
            audit_log=audit_table,
        )

    def start(self, started: ExitStack) -> None:
        """Begin, and have ``started`` stop it; the deny list is read first if Postgres is there."""
        self._audit.start()
        started.callback(self._audit.stop)
        if not self._keeper.start():
            log.warning("denials_unknown", cost="nobody watches live until they are read")
        started.callback(self._keeper.stop)
        if self._evictor is None:
            log.warning("sessions_are_not_kicked", missing="MEDIAMTX_API_URL")
            return
        self._evictor.start()
        started.callback(self._evictor.stop)


def _nobody() -> None:
    """Wake nobody: sessions are not kicked."""


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


def rate_limits(settings: Settings) -> RateLimits:
    """Return how often users may call."""
    return RateLimits(
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


_WITHIN_S: Final = 3.0


_ANSWERS: Final = {
    Trouble.REDIRECT: CameraAnswer.REDIRECTS,
    Trouble.NOT_RTSP: CameraAnswer.OTHER,
    **dict.fromkeys(
        (Trouble.REFUSED, Trouble.UNREACHABLE, Trouble.TIMEOUT, Trouble.CLOSED, Trouble.TLS),
        CameraAnswer.NONE,
    ),
}
"""Any other trouble is told in RTSP: it wants credentials, or has no such path."""


def source_planner(settings: Settings) -> SourcePlanner:
    """Return what plans changes of sources; raise ConfigError where the keys are none."""
    return SourcePlanner(
        sealer=source_sealer(settings),
        targets=source_targets(settings),
        ask=ask_camera,
        pulls=settings.mediamtx_api_url is not None,
    )


def source_sealer(settings: Settings) -> CredentialCipher | None:
    """Return what seals and opens credentials, None where no key is set; raise ConfigError."""
    if settings.source_secret_keys is None:
        return None
    return CredentialCipher(parse_credential_keys(settings.source_secret_keys.get_secret_value()))


def source_targets(settings: Settings, resolve: Resolve = resolve) -> SourceTargets:
    """Return what judges where cameras may be."""
    return SourceTargets(allowed=settings.source_networks, own=own_hosts(settings), resolve=resolve)


def ask_camera(address: str, url: SourceUrl, *, within_s: float = _WITHIN_S) -> CameraAnswer:
    """Ask once, without credentials; of the answer nothing is kept."""
    try:
        describe(CameraUrl(url.at(address)), timeout_s=within_s)
    except NotDescribed as error:
        return _ANSWERS.get(error.trouble, CameraAnswer.RTSP)
    return CameraAnswer.RTSP


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the hosts that serve streamwarden itself, as they are configured."""
    return tuple(dict.fromkeys(_own(settings)))


def _own(settings: Settings) -> Iterator[str]:
    urls = (
        *(settings.rtsp_internal_url, settings.rtsp_publish_url, settings.mediamtx_api_url),
        *(settings.streaming_url, settings.internal_api_url, settings.api_url),
    )
    for url in urls:
        host = urlsplit(url).hostname if url else None
        if host:
            yield host
    if settings.database_url is not None:
        yield from hosts_of(settings.database_url.get_secret_value())


class Pulling:
    """``parts`` is what the users' app is given, ``pulled`` what the hook looks at."""

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        clock: Clock,
        registry: CollectorRegistry,
        ready: Callable[[], None],
    ) -> None:
        self.pulled = PulledPaths()
        self._keeper: SourcePaths | None = None
        table = SourceRepository(database)
        if settings.mediamtx_api_url is not None:
            names = DnsCache(resolve, clock, always=own_hosts(settings))
            sealer = source_sealer(settings)
            self._keeper = SourcePaths(
                server=MediaMtxClient(settings.mediamtx_api_url),
                table=table,
                plans=SourcePlans(source_targets(settings, names.addresses), sealer),
                sealer=sealer,
                pulled=self.pulled,
                clock=clock,
                metrics=SourceMetrics(registry),
                ready=ready,
            )
        self.parts = Sources(
            table=table,
            planner=source_planner(settings),
            wake=self._keeper.wake if self._keeper else _no_sources,
        )

    def start(self, started: ExitStack) -> None:
        """Begin, and have ``started`` stop it."""
        if self._keeper is None:
            log.info("no_camera_is_pulled", missing="MEDIAMTX_API_URL")
            return
        self._keeper.start()
        started.callback(self._keeper.stop)


def _no_sources() -> None:
    """Wake nobody: no camera is pulled."""


_USER_THREADS = 16


_INTERNAL_THREADS = 8


class ApiRole:
    """Role ``api``, with its two ports."""

    def __init__(
        self, settings: Settings, *, clock: Clock, on_failure: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = new_registry()
        self._http_metrics = HttpMetrics(self._registry)
        url = settings.secret("database_url")
        self._database = Database(url, application_name="api")
        self._migrating = Migrating(url, on_failure=on_failure)
        keys = parse_keys(settings.secret("stream_token_keys"))
        self._tokens = StreamTokens(keys, clock)
        self._play_tokens = PlayTokens(keys, clock)
        self._sign_in = SignIn(settings, clock)
        self._memory = DesiredCache(
            CameraRepository(self._database), StreamRepository(self._database), clock
        )
        self._streaming = StreamingClient(
            settings.streaming_url or "", settings.secret("internal_token")
        )
        self._guard = Guarding(
            settings,
            url=url,
            database=self._database,
            tokens=self._tokens,
            clock=clock,
            registry=self._registry,
            ready=self._migrating.check,
        )
        self._pulling = Pulling(
            settings,
            database=self._database,
            clock=clock,
            registry=self._registry,
            ready=self._migrating.check,
        )
        self._users_server = self._server(self._users_app(), "api", _USER_THREADS)
        self._internal_server = self._server(
            self._internal_app(), "internal_api", _INTERNAL_THREADS
        )
        self._started = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """Return the listeners' ports by name."""
        return {"api": self._users_server.port, "internal_api": self._internal_server.port}

    def start(self) -> None:
        """Bring the database up to date, fill the memory, listen."""
        with ExitStack() as started:
            started.callback(self._streaming.close)
            self._sign_in.start(started)
            self._database.open()
            started.callback(self._database.close)
            self._migrating.start()
            started.callback(self._migrating.stop)
            self._guard.start(started)
            self._pulling.start(started)
            self._memory.start()
            started.callback(self._memory.stop)
            for server in (self._internal_server, self._users_server):
                server.start()
                started.callback(partial(server.stop, 1.0))
            self._started = started.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Stop listening and close everything."""
        del deadline_s
        self._started.close()

    def _server(self, app: WsgiApp, name: str, threads: int) -> HttpServer:
        port = getattr(self._settings, f"{name}_port")
        return HttpServer(app, self._settings.host, port, threads=threads, name=name)

    def _shared(self, checks: dict[str, Check]) -> AppContext:
        return AppContext(
            role="api",
            metrics=self._http_metrics,
            render=partial(render, self._registry),
            checks=checks,
            internal_token=self._settings.secret("internal_token"),
            rate_limits=rate_limits(self._settings),
            proxies=Proxies(self._settings.trusted_proxies),
        )

    def _users_app(self) -> WsgiApp:
        settings, database = self._settings, self._database
        return create_api_app(
            ApiDeps(
                shared=self._shared(
                    {
                        "database": partial(check_database, database),
                        "migrations": self._migrating.check,
                        **self._sign_in.checks,
                    }
                ),
                users=self._sign_in.users,
                tokens=self._tokens,
                play_tokens=self._play_tokens,
                cameras=CameraRepository(database),
                grants=GrantRepository(database),
                settings=SettingsRepository(database),
                wishes=StreamRepository(database),
                segments=SegmentRepository(database),
                recordings=RecordingsRepository(database),
                coverage=CoverageRepository(database),
                guard=self._guard.parts,
                sources=self._pulling.parts,
                memory=self._memory,
                streaming=self._streaming,
                clock=self._clock,
                rtsp_internal_url=settings.rtsp_internal_url,
                rtsp_publish_url=settings.rtsp_publish_url,
                whep_url=settings.whep_url,
            )
        )

    def _internal_app(self) -> WsgiApp:
        metrics = AuthMetrics(self._registry)
        for kid, end in self._tokens.key_expiries().items():
            metrics.key_expiry(kid, end.timestamp() if end else None)
        return create_internal_app(
            InternalDeps(
                shared=self._shared({}),
                tokens=self._tokens,
                auth_metrics=metrics,
                denied=self._guard.parts.denied,
                sessions=self._guard.sessions,
                pulled=self._pulling.pulled,
                memory=self._memory,
                rtsp_internal_url=self._settings.rtsp_internal_url,
            )
        )
