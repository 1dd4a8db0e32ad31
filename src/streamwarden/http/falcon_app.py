"""The Falcon app that every port of every role is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import falcon

from streamwarden.auth.play_tokens import PlayTokens
from streamwarden.http.cors import CrossOrigin
from streamwarden.http.middleware import common
from streamwarden.http.openapi import DocsFile, DocsPage, OpenApiDocument
from streamwarden.http.operations import Check, Liveness, Metrics, Readiness, Render, Resource
from streamwarden.http.problems import add_error_handlers
from streamwarden.http.rate_limit import NO_PROXIES, Proxies, RateLimits
from streamwarden.http.validation import RequestValidator, UserVerifier
from streamwarden.metrics.http_metrics import HttpMetrics

App = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """The context of one role's apps: its name, metrics, readiness checks, limits and proxies.

    ``internal_token`` may be several tokens with commas between them; each is accepted.
    """

    role: str
    metrics: HttpMetrics
    render: Render
    checks: Mapping[str, Check] = field(default_factory=dict)
    internal_token: str | None = field(default=None, repr=False)
    rate_limits: RateLimits | None = None
    proxies: Proxies = NO_PROXIES
    origins: tuple[str, ...] = ()
    """Origins of other web pages that may call these apps."""


def build_app(
    context: AppContext,
    routes: Mapping[str, Resource],
    *,
    title: str,
    users: UserVerifier | None = None,
    players: PlayTokens | None = None,
    docs: bool = False,
) -> App:
    """Return an app with ``routes`` and the routes that every port has.

    ``docs``: with Swagger UI. Only the API's own port has it: its scripts are others' work and must not run
    on the page's origin, where the user's token is, nor weigh on the ports that recording depends on.
    """
    app: App = falcon.App(
        middleware=[
            *common(context.role, context.metrics),
            CrossOrigin(context.origins),
            RequestValidator(
                users=users,
                players=players,
                internal_tokens=[t for t in (context.internal_token or "").split(",") if t],
                rate_limits=context.rate_limits,
                proxies=context.proxies,
            ),
        ]
    )
    add_error_handlers(app)
    document = OpenApiDocument()
    all_routes = {**routes, **_common_routes(context, document)}
    if docs:
        all_routes |= {"/docs": DocsPage(), "/docs/{name}": DocsFile()}
    for template, resource in all_routes.items():
        app.add_route(template, resource)
    document.describe(all_routes, title=title, origins=context.origins)
    return app


def _common_routes(context: AppContext, document: OpenApiDocument) -> dict[str, Resource]:
    return {
        "/healthz": Liveness(),
        "/readyz": Readiness(context.checks),
        "/metrics": Metrics(context.render),
        "/openapi.json": document,
    }
