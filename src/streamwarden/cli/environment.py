"""The settings, the database, the log and the audit trail of one command.

Commands work on the database and the files directly, so they need no running role.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from streamwarden.clock import Clock
from streamwarden.model import AuditEvent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from pathlib import Path

    from structlog.stdlib import BoundLogger

    from streamwarden.config.settings import Settings
    from streamwarden.storage.pool import Database

OPERATOR = "operator"
"""The user of what is done at the command line, in the audit trail and in the tables."""


def settings_of(
    arguments: argparse.Namespace, overrides: Mapping[str, object] | None = None
) -> Settings:
    """Return the settings of this process and of ``--config``; raise ConfigError."""
    return load_settings(arguments.config, os.environ, overrides)


def load_settings(
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Return the settings, the syntax of the keys checked too; raise ConfigError."""
    from streamwarden.auth.keys import parse_keys
    from streamwarden.config.settings import load
    from streamwarden.mediamtx.credentials import parse_credential_keys

    checks = {"stream_token_keys": parse_keys, "source_secret_keys": parse_credential_keys}
    return load(config_file, environ, overrides, checks=checks)


def configure_logs(settings: Settings) -> BoundLogger:
    """Send logs to standard error, with every secret of ``settings`` hidden."""
    from streamwarden import logs
    from streamwarden.auth.rtsp_urls import redactor

    redact = redactor(settings.secrets())
    logs.configure(settings.log_format, settings.log_level, sys.stderr, redact=redact)
    return logs.get_logger("streamwarden")


def become_owner_of(folder: Path) -> None:
    """Go on as the owner of ``folder``, if root runs this command and the folder belongs to another user.

    Else files that an operator's command makes belong to root, and the role may not write them. Read what
    only root may read before.
    """
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    import pwd

    try:
        name = pwd.getpwuid(owner.st_uid).pw_name
    except KeyError:
        os.setgroups([])
    else:
        os.initgroups(name, owner.st_gid)
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """Open the database for as long as one command takes."""
    from streamwarden.storage.pool import Database

    database = Database(settings.secret("database_url"), max_size=1, application_name="tools")
    database.open()
    try:
        yield database
    finally:
        database.close()


def write_audit_event(
    database: Database,
    action: str,
    *,
    camera_id: UUID | None = None,
    subject: str | None = None,
    **detail: object,
) -> None:
    """Write into the audit trail what the operator has just done."""
    from streamwarden.storage.audit import AuditRepository

    event = AuditEvent(
        id=uuid4(),
        at=Clock().now(),
        who=OPERATOR,
        action=action,
        outcome="done",
        camera_id=camera_id,
        subject=subject,
        detail=json.dumps(detail, ensure_ascii=False),
    )
    AuditRepository(database).insert_many([event])
