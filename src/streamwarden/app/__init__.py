"""The composition root: the one place that knows every part and puts roles together."""

from __future__ import annotations

from streamwarden.app.roles import ROLES, RunningRoles, run_roles

__all__ = ["ROLES", "RunningRoles", "run_roles"]
