"""The roles of one process: started in order, stopped in reverse, each on its own ports."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import structlog

from streamwarden.app.api_role import ApiRole
from streamwarden.app.streaming_role import StreamingRole
from streamwarden.app.webui_role import WebUiRole
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings

log = structlog.get_logger(__name__)

ROLES: Final = ("api", "streaming", "webui")


_PORTS: Final = {
    "webui_port": None,
    "api_port": "api_url",
    "streaming_port": "streaming_url",
    "internal_api_port": "internal_api_url",
}


class RunningRoles:
    """The roles that run in this process. ``ports`` names each listener's port."""

    def __init__(self) -> None:
        self._started = ExitStack()
        self.ports: dict[str, int] = {}
        self.stop_within_s = 10.0

    def adopt(self, started: ExitStack) -> None:
        """Take over the stack that stops the started roles."""
        self._started = started

    def stop(self, deadline_s: float) -> None:
        """Stop everything in the reverse order of its start, within ``deadline_s`` seconds."""
        self.stop_within_s = deadline_s
        self._started.close()


def run_roles(
    settings: Settings, roles: frozenset[str], *, on_failure: Callable[[str], None] | None = None
) -> RunningRoles:
    """Start ``roles``; they call each other over HTTP on loopback.

    ``on_failure`` is called once when a role has given up and the process should end.

    Raises:
        ConfigError: a setting is missing or wrong, a port is taken, the record root is in use.
    """
    settings.require_for(*roles)
    settings = with_ports(settings)
    raise_file_limit()
    keep_files_private()
    clock = Clock()
    running = RunningRoles()
    with ExitStack() as starting:
        fail = on_failure or _log_failure
        if "api" in roles:
            api = ApiRole(settings, clock=clock, on_failure=fail)
            api.start()
            starting.callback(lambda: api.stop(min(3.0, running.stop_within_s)))
            running.ports.update(api.ports)
        if "streaming" in roles:
            streaming = StreamingRole(settings, clock=clock, on_failure=fail)
            streaming.start()
            starting.callback(lambda: streaming.stop(running.stop_within_s))
            running.ports.update(streaming.ports)
        if "webui" in roles:
            webui = WebUiRole(settings)
            webui.start()
            starting.callback(webui.stop)
            running.ports.update(webui.ports)
        running.adopt(starting.pop_all())
    return running


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: a camera takes three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_files_private() -> None:
    """Make the files of this process unreadable for other users."""
    os.umask(0o027)


def with_ports(settings: Settings) -> Settings:
    """Return ``settings`` with a free port wherever 0 asks for any, and the URLs that follow."""
    changes: dict[str, object] = {}
    for port_name, url_name in _PORTS.items():
        if getattr(settings, port_name) == 0:
            port = _free_port(settings.host)
            changes[port_name] = port
            if url_name is not None:
                url = f"http://{settings.host}:{port}"
                changes[url_name] = getattr(settings, url_name) or url
    return settings.model_copy(update=changes)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def _log_failure(reason: str) -> None:
    log.critical("role_failed", detail=reason)
