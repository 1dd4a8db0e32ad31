"""The wiring of the API role.

It has two listeners with threads of their own, so that no user can delay the media server's hook.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from streamwarden.app.database_watch import DatabaseWatch
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
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.api_app import (
    camera_routes,
    create_api_app,
    create_internal_app,
    operator_routes,
    recording_routes,
)
from streamwarden.http.api.camera_routes import CameraService, Sources
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.ops_routes import SettingService
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import StreamLocks, StreamService
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.operations import Check
from streamwarden.http.rate_limit import Proxies, RateLimits
from streamwarden.http.role_client import StreamingClient
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.http.validation import UserVerifier
from streamwarden.mediamtx.camera_source import CameraAnswer, SourcePlanner
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.mediamtx.credentials import CredentialCipher, parse_credential_keys
from streamwarden.mediamtx.path_emptier import PathEmptier
from streamwarden.mediamtx.publishers import PublisherTrail
from streamwarden.mediamtx.rtsp_client import CameraUrl, NotDescribed, Trouble, describe
from streamwarden.mediamtx.sessions import SessionClaims, SessionKicker
from streamwarden.mediamtx.source_checks import SourceAsker, SourceChecks, SourceTroubles
from streamwarden.mediamtx.source_paths import DnsCache, PulledPaths, SourcePaths
from streamwarden.mediamtx.source_urls import SourceTargets, SourceUrl
from streamwarden.metrics.api_metrics import AccessMetrics, AuthMetrics, SourceMetrics
from streamwarden.metrics.http_metrics import (
    DatabaseMetrics,
    DumpMetrics,
    HttpMetrics,
    new_registry,
    render,
)
from streamwarden.storage.audit import AuditRepository
from streamwarden.storage.cameras import CameraRepository, GrantRepository, SourceRepository
from streamwarden.storage.database_dump import DumpRepository
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


class AccessControl:
    """The deny list with its copy of the tables, the session kicker and the audit sink.

    The attributes are for the apps: ``sessions`` for the hook, the others for both or for users.
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
        camera_at: Callable[[str], UUID | None],
    ) -> None:
        metrics = AccessMetrics(registry)
        self.denials = DenialRepository(database)
        denied, sessions = DenialList(clock), SessionClaims(clock)
        audit_log = AuditRepository(database)
        self.audit = AuditSink(
            audit_log,
            clock=clock,
            metrics=metrics,
            keep_days=settings.audit_days,
            ready=ready,
        )
        self._kicker = None
        if settings.mediamtx_api_url is not None:
            self._kicker = SessionKicker(
                server=MediaMtxClient(settings.mediamtx_api_url, settings.secret("internal_token")),
                claims=sessions,
                tokens=tokens,
                denials=denied,
                clock=clock,
                metrics=metrics,
                publishers=PublisherTrail(self.audit, camera_at, clock),
            )
        wake: Callable[[], None] = self._kicker.wake if self._kicker else _do_nothing
        self._denial_sync = DenialSync(
            listen=listen_at(url),
            table=self.denials,
            denied=denied,
            clock=clock,
            metrics=metrics,
            changed=wake,
            ready=ready,
        )
        self.denied = denied
        self.sessions = sessions
        self.audit_log = audit_log
        self.revocations = Revocations(table=self.denials, denied=denied, wake=wake)

    def start(self, started: ExitStack) -> None:
        """Start the audit sink and the deny list's copy, which is read first if Postgres answers."""
        self.audit.start()
        started.callback(self.audit.stop)
        if not self._denial_sync.start():
            log.warning("denials_unknown", cost="live viewing is refused until they are read")
        started.callback(self._denial_sync.stop)

    def start_kicker(self, started: ExitStack) -> None:
        """Start to end sessions, and register the stop; the hook must answer by now."""
        if self._kicker is None:
            log.warning("sessions_are_not_kicked", missing="MEDIAMTX_API_URL")
            return
        self._kicker.start()
        started.callback(self._kicker.stop)


def _do_nothing() -> None:
    """Do nothing: there is no control API to call."""


class SignIn:
    """The verifier of users' tokens, and the thread that fetches its keys. ``checks`` are for /readyz."""

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
        """Start to fetch keys where the provider publishes them, and register the stop."""
        if self._client is not None and self._keys is not None:
            started.callback(self._client.close)
            self._keys.start()
            started.callback(self._keys.stop)


def rate_limits(settings: Settings) -> RateLimits:
    """Return the rate limits of users."""
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
"""Any other trouble is an RTSP answer: the camera asks for credentials, or has no such path."""


def source_planner(settings: Settings) -> SourcePlanner:
    """Return the planner of changes of sources; raise ConfigError for malformed keys."""
    return SourcePlanner(
        cipher=credential_cipher(settings),
        targets=source_targets(settings),
        ask=ask_camera,
        pulls=settings.mediamtx_api_url is not None,
    )


def path_emptier(settings: Settings, database: Database, clock: Clock) -> PathEmptier:
    """Return what empties a path that changes hands."""
    url = settings.mediamtx_api_url
    token = next(iter(settings.internal_tokens), "")
    server = None if url is None else MediaMtxClient(url, token)
    return PathEmptier(server, SourceRepository(database), clock)


def credential_cipher(settings: Settings) -> CredentialCipher | None:
    """Return the cipher of credentials, None where no key is set; raise ConfigError."""
    if settings.source_secret_keys is None:
        return None
    return CredentialCipher(parse_credential_keys(settings.source_secret_keys.get_secret_value()))


def source_targets(settings: Settings, resolve: Resolve = resolve) -> SourceTargets:
    """Return the hosts that cameras may be pulled from."""
    return SourceTargets(allowed=settings.source_networks, own=own_hosts(settings), resolve=resolve)


def ask_camera(address: str, url: SourceUrl, *, within_s: float = _WITHIN_S) -> CameraAnswer:
    """Send one DESCRIBE request without credentials."""
    try:
        describe(CameraUrl(url.at(address)), timeout_s=within_s)
    except NotDescribed as error:
        return _ANSWERS.get(error.trouble, CameraAnswer.RTSP)
    return CameraAnswer.RTSP


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the configured hosts of streamwarden itself."""
    return tuple(dict.fromkeys(_own(settings)))


def hook_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the names by which MediaMTX may call its hook."""
    named = urlsplit(settings.internal_api_url or "").hostname
    return (*settings.internal_hosts, *((named,) if named else ()), socket.gethostname())


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


class PulledCameras:
    """The loop of `SourcePaths`. ``sources`` are for the users' app, ``pulled`` for the hook."""

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
        self.troubles = SourceTroubles()
        self._paths: SourcePaths | None = None
        self._checks: SourceChecks | None = None
        table = SourceRepository(database)
        if settings.mediamtx_api_url is not None:
            names = DnsCache(resolve, clock, always=own_hosts(settings))
            metrics = SourceMetrics(registry)
            self._paths = SourcePaths(
                server=MediaMtxClient(settings.mediamtx_api_url, settings.secret("internal_token")),
                table=table,
                targets=source_targets(settings, names.addresses),
                cipher=credential_cipher(settings),
                pulled=self.pulled,
                clock=clock,
                metrics=metrics,
                ready=ready,
            )
            self._checks = SourceChecks(
                server=MediaMtxClient(settings.mediamtx_api_url, settings.secret("internal_token")),
                paths=self._paths,
                asker=SourceAsker(
                    targets=source_targets(settings), cipher=credential_cipher(settings)
                ),
                troubles=self.troubles,
                clock=clock,
                metrics=metrics,
            )
        self.sources = Sources(
            table=table,
            planner=source_planner(settings),
            wake=self._paths.wake if self._paths else _do_nothing,
        )

    def start(self, started: ExitStack) -> None:
        """Start the loop, and register its stop."""
        if self._paths is None or self._checks is None:
            log.info("no_camera_is_pulled", missing="MEDIAMTX_API_URL")
            return
        self._paths.start()
        started.callback(self._paths.stop)
        self._checks.start()
        started.callback(self._checks.stop)


_USER_THREADS = 16
_INTERNAL_THREADS = 8
_OF_RECORDINGS: Final = {"/api/v1/m2m/check-stream-pwd": 3, "/api/v1/m2m/read-token": 2}
"""Every recording depends on these addresses, so they have threads that nothing else can take."""


class ApiRole:
    """The API role, with the ports of the users' API and of the internal API."""

    def __init__(
        self, settings: Settings, *, clock: Clock, on_failure: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._registry = new_registry()
        self._http_metrics = HttpMetrics(self._registry)
        url = settings.secret("database_url")
        self._database = Database(url, application_name="api")
        self._dumps = DumpRepository(self._database)
        self._dump_metrics = DumpMetrics(self._registry)
        self._watch = DatabaseWatch(self._look_at_database, DatabaseMetrics(self._registry).up)
        self._migrating = Migrating(url, on_failure=on_failure)
        keys = parse_keys(settings.secret("stream_token_keys"))
        self._tokens = StreamTokens(keys, clock)
        self._play_tokens = PlayTokens(keys, clock)
        self._sign_in = SignIn(settings, clock)
        self._desired = DesiredCache(
            CameraRepository(self._database), StreamRepository(self._database), clock
        )
        self._streaming = StreamingClient(
            settings.streaming_url or "", settings.secret("internal_token")
        )
        self._access = AccessControl(
            settings,
            url=url,
            database=self._database,
            tokens=self._tokens,
            clock=clock,
            registry=self._registry,
            ready=self._migrating.check,
            camera_at=self._desired.camera_at,
        )
        self._pulling = PulledCameras(
            settings,
            database=self._database,
            clock=clock,
            registry=self._registry,
            ready=self._migrating.check,
        )
        self._emptier = path_emptier(settings, self._database, clock)
        self._users_server = self._server(self._users_app(), "api", _USER_THREADS)
        self._internal_server = self._server(
            self._internal_app(), "internal_api", _INTERNAL_THREADS, reserved=_OF_RECORDINGS
        )
        self._started = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """The listeners' ports by name."""
        return {"api": self._users_server.port, "internal_api": self._internal_server.port}

    def _look_at_database(self) -> None:
        self._dump_metrics.dumped(self._dumps.finished_at_s())

    def start(self) -> None:
        """Migrate the database, start the threads, and listen."""
        with ExitStack() as started:
            started.callback(self._streaming.close)
            started.callback(self._emptier.close)
            self._sign_in.start(started)
            self._database.open()
            started.callback(self._database.close)
            self._migrating.start()
            started.callback(self._migrating.stop)
            # It reads a table: on a new database only once that is there.
            self._watch.start()
            started.callback(self._watch.stop)
            self._access.start(started)
            self._desired.start()
            started.callback(self._desired.stop)
            # MediaMTX asks the hook about these threads' calls too: it answers before and after them.
            self._internal_server.start()
            started.callback(partial(self._internal_server.stop, 1.0))
            self._access.start_kicker(started)
            self._pulling.start(started)
            self._users_server.start()
            started.callback(partial(self._users_server.stop, 1.0))
            self._started = started.pop_all()

    def stop(self, deadline_s: float) -> None:
        """Stop in reverse order."""
        del deadline_s
        self._started.close()

    def _server(
        self, app: WsgiApp, name: str, threads: int, *, reserved: Mapping[str, int] | None = None
    ) -> HttpServer:
        port = getattr(self._settings, f"{name}_port")
        return HttpServer(
            app,
            self._settings.host,
            port,
            threads=threads,
            name=name,
            reserved=reserved or {},
            proxies=Proxies(self._settings.trusted_proxies),
        )

    def _context(self, checks: dict[str, Check]) -> AppContext:
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
        settings, database, clock = self._settings, self._database, self._clock
        cameras, grants = CameraRepository(database), GrantRepository(database)
        desired, segments = StreamRepository(database), SegmentRepository(database)
        access = CameraAccess(cameras, grants)
        control = self._access
        streams = StreamService(
            access=access,
            tokens=self._tokens,
            settings=SettingsRepository(database),
            desired=desired,
            cache=self._desired,
            streaming=self._streaming,
            clock=clock,
            rtsp_internal_url=settings.rtsp_internal_url,
            locks=StreamLocks(),
            revocations=control.revocations,
            troubles=self._pulling.troubles,
        )
        routes = {
            **camera_routes(
                access=access,
                cameras=CameraService(
                    cameras=cameras,
                    desired=desired,
                    segments=segments,
                    streams=streams,
                    revocations=control.revocations,
                    sources=self._pulling.sources,
                    emptier=self._emptier,
                    clock=clock,
                ),
                grants=grants,
                streams=streams,
                revocations=control.revocations,
                denied=control.denied,
                tokens=self._tokens,
                play_tokens=self._play_tokens,
                rtsp_publish_url=settings.rtsp_publish_url,
                whep_url=settings.whep_url,
            ),
            **recording_routes(
                access=access,
                play_tokens=self._play_tokens,
                denied=control.denied,
                cameras=cameras,
                segments=segments,
                recordings=RecordingsRepository(database),
                streaming=self._streaming,
                clock=clock,
            ),
            **operator_routes(
                settings=SettingService(
                    settings=SettingsRepository(database),
                    cameras=cameras,
                    desired=desired,
                    streams=streams,
                ),
                revocations=control.revocations,
                denials=control.denials,
                audit_log=control.audit_log,
                coverage=CoverageRepository(database),
                streaming=self._streaming,
                clock=clock,
            ),
        }
        checks = {
            "database": database.check,
            "migrations": self._migrating.check,
            **self._sign_in.checks,
        }
        return create_api_app(
            replace(self._context(checks), origins=self._settings.cors_origins),
            routes,
            users=self._sign_in.users,
            play_tokens=self._play_tokens,
            denied=control.denied,
            audit=control.audit,
            clock=clock,
        )

    def _internal_app(self) -> WsgiApp:
        metrics = AuthMetrics(self._registry)
        for kid, end in self._tokens.key_expiries().items():
            metrics.key_expiry(kid, end.timestamp() if end else None)
        return create_internal_app(
            self._context({}),
            tokens=self._tokens,
            auth_metrics=metrics,
            denied=self._access.denied,
            sessions=self._access.sessions,
            pulled=self._pulling.pulled,
            desired=self._desired,
            rtsp_internal_url=self._settings.rtsp_internal_url,
            hosts=hook_hosts(self._settings),
        )
