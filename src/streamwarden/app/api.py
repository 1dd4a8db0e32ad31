"""The API role, put together: two listeners, so that no user can hold up the media server's hook."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from streamwarden.app.guard import Guarding
from streamwarden.app.migrations import Migrating
from streamwarden.app.pulling import Pulling
from streamwarden.app.sign_in import SignIn, rates
from streamwarden.app.streaming_http import check_database
from streamwarden.auth.keys import parse_keys
from streamwarden.auth.play import PlayTokens
from streamwarden.auth.streams import StreamTokens
from streamwarden.clients.streaming import StreamingClient
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.http.addresses import Proxies
from streamwarden.http.api.app import ApiDeps, InternalDeps, create_api_app, create_internal_app
from streamwarden.http.api.wishes import WishMemory
from streamwarden.http.app import Shared
from streamwarden.http.health import Check
from streamwarden.http.server import HttpServer, WsgiApp
from streamwarden.metrics.auth import AuthMetrics
from streamwarden.metrics.exposition import new_registry, render
from streamwarden.metrics.http import HttpMetrics
from streamwarden.storage.cameras import CameraRepository
from streamwarden.storage.coverage import CoverageRepository
from streamwarden.storage.grants import GrantRepository
from streamwarden.storage.pool import Database
from streamwarden.storage.recordings import RecordingsRepository
from streamwarden.storage.segments import SegmentRepository
from streamwarden.storage.settings import SettingsRepository
from streamwarden.storage.streams import StreamRepository

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
        self._memory = WishMemory(
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

    def _shared(self, checks: dict[str, Check]) -> Shared:
        return Shared(
            role="api",
            metrics=self._http_metrics,
            render=partial(render, self._registry),
            checks=checks,
            internal_token=self._settings.secret("internal_token"),
            rates=rates(self._settings),
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
