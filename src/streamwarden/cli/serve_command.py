"""``streamwarden serve``: run roles until a signal comes."""

from __future__ import annotations

import argparse
import os

from streamwarden.app.roles import ROLES, run_roles
from streamwarden.cli import environment
from streamwarden.cli.stop_signals import Failure, configure_logs, stop_signals
from streamwarden.config.settings import warnings


def serve(arguments: argparse.Namespace) -> int:
    """Run the asked roles; return when they have stopped in order."""
    settings = environment.load_settings(arguments.config, os.environ)
    settings.require_for(arguments.role)
    log = configure_logs(settings)
    for warning in warnings(settings):
        log.warning("setting_doubtful", detail=warning)
    roles = frozenset(ROLES) if arguments.role == "all" else frozenset({arguments.role})
    with stop_signals() as stop:
        failed = Failure(stop)
        running = run_roles(settings, roles, on_failure=failed)
        try:
            log.info("serving", roles=sorted(roles), ports=running.ports)
            stop.wait()
            log.info("stopping", within_s=settings.stop_timeout_s)
        finally:
            running.stop(settings.stop_timeout_s)
    log.info("stopped")
    return failed.exit_code
