"""Role ``webui``: the page, and the reverse proxy to the API. It keeps no state."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import streamwarden
from streamwarden.config.settings import Settings
from streamwarden.errors import ConfigError
from streamwarden.http.falcon_app import AppContext
from streamwarden.http.rate_limit import Proxies
from streamwarden.http.server import HttpServer
from streamwarden.http.webui.proxy import ApiProxy
from streamwarden.http.webui.webui_app import PageConfig, create_webui_app, load_assets
from streamwarden.metrics.http_metrics import HttpMetrics, new_registry, render

_THREADS = 32
_FOLDER = Path(streamwarden.__file__).parent / "web"


class WebUiRole:
    """Role ``webui``, with its port."""

    def __init__(self, settings: Settings) -> None:
        self._registry = new_registry()
        self._api = ApiProxy(_api_url(settings), connections=_THREADS)
        app = create_webui_app(
            AppContext(
                role="webui",
                metrics=HttpMetrics(self._registry),
                render=partial(render, self._registry),
                checks={"api": self._api.check},
                proxies=Proxies(settings.trusted_proxies),
            ),
            api=self._api,
            assets=load_assets(_FOLDER),
            config=PageConfig(whep_url=settings.whep_url, roles_claim=settings.user_roles_claim),
        )
        self._server = HttpServer(
            app,
            settings.host,
            settings.webui_port,
            threads=_THREADS,
            name="webui",
            proxies=Proxies(settings.trusted_proxies),
        )
        self._started = ExitStack()

    @property
    def ports(self) -> dict[str, int]:
        """Return the listener's port by name."""
        return {"webui": self._server.port}

    def start(self) -> None:
        """Listen; the API may come later."""
        with ExitStack() as started:
            started.callback(self._api.close)
            self._server.start()
            started.callback(partial(self._server.stop, 1.0))
            self._started = started.pop_all()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self._started.close()


def _api_url(settings: Settings) -> str:
    # Not among the settings that the role requires: with port 0 it is known only now.
    if settings.api_url is None:
        raise ConfigError(
            "STREAMWARDEN_API_URL: is not set; the API as this role reaches it, "
            "such as http://api:8081"
        )
    return settings.api_url
