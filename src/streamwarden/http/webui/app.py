"""The app on port 8080."""

from __future__ import annotations

from dataclasses import dataclass

from streamwarden.http.app import App, Shared, build_app
from streamwarden.http.operations import Resource
from streamwarden.http.webui.assets import Assets
from streamwarden.http.webui.page import AssetFile, ConfigFile, Page, PageConfig, page_headers
from streamwarden.http.webui.passing import PASSED, PassOn
from streamwarden.http.webui.ports import Api


@dataclass(frozen=True, slots=True, kw_only=True)
class WebUiDeps:
    """What the page's app is made of."""

    shared: Shared
    api: Api
    assets: Assets
    config: PageConfig


def create_webui_app(deps: WebUiDeps) -> App:
    """Return the app that browsers load the page from and call the API through."""
    page = Page(deps.assets.page, page_headers(deps.config))
    routes: dict[str, Resource] = {
        "/": page,
        "/config.json": ConfigFile(deps.config),
        "/assets/{version}/{name:path}": AssetFile(deps.assets),
    }
    for template, methods in PASSED.items():
        routes[f"/bff{template}"] = PassOn(deps.api, template, methods, proxies=deps.shared.proxies)
    return build_app(deps.shared, routes, title="streamwarden: web UI")
