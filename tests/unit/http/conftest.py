"""The API's apps over fakes, with a client that holds every answer against the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from falcon import testing
from prometheus_client import CollectorRegistry

from streamwarden.auth.keys import SigningKey
from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.auth.revocation import DenialList
from streamwarden.auth.stream_tokens import StreamTokens
from streamwarden.auth.users import UserTokens
from streamwarden.http.api.access import CameraAccess
from streamwarden.http.api.api_app import (
    camera_routes,
    create_api_app,
    create_internal_app,
    operator_routes,
    recording_routes,
)
from streamwarden.http.api.camera_routes import CameraService
from streamwarden.http.api.desired_cache import DesiredCache
from streamwarden.http.api.ops_routes import SettingService
from streamwarden.http.api.revocation_routes import Revocations
from streamwarden.http.api.stream_routes import StreamLocks, StreamService
from streamwarden.http.falcon_app import App, AppContext
from streamwarden.mediamtx.credentials import CredentialCipher
from streamwarden.mediamtx.path_emptier import PathEmptier
from streamwarden.mediamtx.sessions import SessionClaims
from streamwarden.mediamtx.source_checks import SourceTroubles
from streamwarden.mediamtx.source_paths import PulledPaths
from streamwarden.metrics.api_metrics import AuthMetrics
from streamwarden.metrics.http_metrics import HttpMetrics, render
from streamwarden.model import Camera
from tests.fakes.audit import FakeAudit
from tests.fakes.http import EPOCH, FakeStreaming
from tests.fakes.manual_time import ManualClock
from tests.fakes.media_sessions import FakeSessions
from tests.fakes.ops import FakeCoverage
from tests.fakes.sources import CIPHER, FakeDoor, FakeNames, a_planner, some_sources
from tests.fakes.storage import FakeStorage

INTERNAL_TOKEN = "internal-token-for-tests"
SECRET = "user-secret-that-is-long-enough-for-hmac"
KEY = SigningKey(kid="k1", secret=b"stream-key-that-is-long-enough-for-hmac", not_after=None)


class CheckedClient:
    """Calls an app; an answer that its document does not describe fails the test."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._client = testing.TestClient(app)
        self.document = _parsed(self._client.simulate_get("/openapi.json").text)

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> testing.Result:
        result = self._client.simulate_request(
            method, path, json=json, query_string=query, headers=dict(headers or {})
        )
        self._check(method, path, result)
        return result

    def _check(self, method: str, path: str, result: testing.Result) -> None:
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"{\w+}", "[^/]+", template)
            known = item.get("get" if method == "HEAD" else method.lower())
            if known and re.fullmatch(pattern, path):
                self._check_answer(known["responses"], method, result)
                return

    def _check_answer(
        self, responses: Mapping[str, Any], method: str, result: testing.Result
    ) -> None:
        described = responses[str(result.status_code)]
        if not result.content or method == "HEAD":
            return
        media = described["content"][result.headers["content-type"].partition(";")[0]]
        if "schema" in media:
            schema = {**media["schema"], "components": self.document["components"]}
            jsonschema_rs.validator_for(schema, validate_formats=True).validate(result.json)


@lru_cache(maxsize=16)
def _parsed(text: str) -> dict[str, Any]:
    """One copy for all tests, which only read it."""
    document: dict[str, Any] = json.loads(text)
    return document


@dataclass
class ApiHarness:
    """An API role over fakes."""

    storage: FakeStorage = field(default_factory=FakeStorage)
    streaming: FakeStreaming = field(default_factory=FakeStreaming)
    clock: ManualClock = field(default_factory=lambda: ManualClock(EPOCH))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    whep_url: str | None = "https://media.example:8889"
    names: FakeNames = field(default_factory=FakeNames)
    door: FakeDoor = field(default_factory=FakeDoor)
    cipher: CredentialCipher | None = CIPHER
    pulls: bool = True
    pulled: PulledPaths = field(default_factory=PulledPaths)
    sources_woken: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.users = UserTokens(SECRET, audience="api", roles_claim="roles", clock=self.clock)
        self.tokens = StreamTokens([KEY], self.clock)
        self.coverage = FakeCoverage(self.storage)
        self.play_tokens = PlayTokens([KEY], self.clock)
        self.audit = FakeAudit()
        self.wakes: list[None] = []
        self.denied = DenialList(self.clock)
        self.denied.read([])
        self.media = FakeSessions()
        self.sessions = SessionClaims(self.clock)
        self.memory = DesiredCache(self.storage.cameras, self.storage.streams, self.clock)
        self.shared = AppContext(
            role="api",
            metrics=HttpMetrics(self.registry),
            render=lambda: render(self.registry),
            internal_token=INTERNAL_TOKEN,
        )
        self.api = CheckedClient(self._users_app())

    @cached_property
    def internal(self) -> CheckedClient:
        """The internal API, which few tests need: an app costs some ten milliseconds."""
        return CheckedClient(
            create_internal_app(
                self.shared,
                tokens=self.tokens,
                auth_metrics=AuthMetrics(self.registry),
                denied=self.denied,
                sessions=self.sessions,
                pulled=self.pulled,
                desired=self.memory,
                rtsp_internal_url="rtsp://mediamtx:8554",
                hosts=["hook.lan", "falconframework.org"],
            )
        )

    def _users_app(self) -> App:
        storage, clock = self.storage, self.clock
        access = CameraAccess(storage.cameras, storage.grants)
        self.troubles = SourceTroubles()
        revocations = Revocations(
            table=storage.denials, denied=self.denied, wake=lambda: self.wakes.append(None)
        )
        streams = StreamService(
            access=access,
            tokens=self.tokens,
            settings=storage.settings,
            desired=storage.streams,
            cache=self.memory,
            streaming=self.streaming,
            clock=clock,
            rtsp_internal_url="rtsp://mediamtx:8554",
            troubles=self.troubles,
            locks=StreamLocks(),
            revocations=revocations,
        )
        planner = a_planner(names=self.names, door=self.door, cipher=self.cipher, pulls=self.pulls)
        routes = {
            **camera_routes(
                access=access,
                cameras=CameraService(
                    cameras=storage.cameras,
                    desired=storage.streams,
                    segments=storage.segments,
                    streams=streams,
                    revocations=revocations,
                    emptier=PathEmptier(self.media, storage.sources, clock),
                    sources=some_sources(
                        storage, planner=planner, wake=lambda: self.sources_woken.append(None)
                    ),
                    clock=clock,
                ),
                grants=storage.grants,
                streams=streams,
                revocations=revocations,
                denied=self.denied,
                tokens=self.tokens,
                play_tokens=self.play_tokens,
                rtsp_publish_url="rtsp://media.example:8554",
                whep_url=self.whep_url,
            ),
            **recording_routes(
                access=access,
                play_tokens=self.play_tokens,
                denied=self.denied,
                cameras=storage.cameras,
                segments=storage.segments,
                recordings=storage.recordings,
                streaming=self.streaming,
                clock=clock,
            ),
            **operator_routes(
                settings=SettingService(
                    settings=storage.settings,
                    cameras=storage.cameras,
                    desired=storage.streams,
                    streams=streams,
                ),
                revocations=revocations,
                denials=storage.denials,
                audit_log=storage.audit,
                coverage=self.coverage,
                streaming=self.streaming,
                clock=clock,
            ),
        }
        return create_api_app(
            self.shared,
            routes,
            users=self.users,
            play_tokens=self.play_tokens,
            denied=self.denied,
            audit=self.audit,
            clock=clock,
        )

    def token(self, sub: str, *roles: str) -> str:
        return self.users.sign(sub, roles=roles)

    def camera(
        self,
        *,
        name: str = "Door",
        owner: str = "alice",
        path: str | None = None,
        status: str = "active",
    ) -> Camera:
        now = self.clock.now()
        return self.storage.cameras.add(
            name=name, owner=owner, path=path, status=status, created_at=now
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        who: str | None = "alice",
        json: object = None,
        query: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> testing.Result:
        """Call the users' API as ``who``; ``root`` has the role admin."""
        roles = ("admin",) if who == "root" else ()
        bearer = {} if who is None else {"Authorization": f"Bearer {self.token(who, *roles)}"}
        sent = {**bearer, **(headers or {})}
        return self.api.call(method, f"/api/v1{path}", json=json, query=query, headers=sent)

    def m2m(self, path: str, body: object, *, token: str | None = INTERNAL_TOKEN) -> testing.Result:
        """Call the internal API."""
        headers = {} if token is None else {"X-Internal-Token": token}
        return self.internal.call("POST", f"/api/v1/m2m/{path}", json=body, headers=headers)

    def wanted(self, camera_id: UUID) -> bool:
        desired = self.storage.streams.get(camera_id)
        return desired is not None and desired.wanted


@pytest.fixture
def harness() -> ApiHarness:
    return ApiHarness()
