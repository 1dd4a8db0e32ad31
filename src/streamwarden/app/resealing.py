"""Seals every camera's credentials by the first key, once for each start of the API role.

Then an older key can be taken out of ``SOURCE_SECRET_KEYS``. Once, and not at every sweep: while keys are
changed, two processes may hold them in different orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

import structlog

from streamwarden.auth.source_secrets import CannotOpen, SourceSealer
from streamwarden.storage.rows import CameraSource

log = structlog.get_logger(__name__)


class Table(Protocol):
    """The table ``camera_source``."""

    def renew(self, camera_id: UUID, before: bytes, after: bytes, /) -> bool:
        """Replace sealed credentials; False if they have changed since."""


def seal_anew(rows: Iterable[CameraSource], sealer: SourceSealer, table: Table) -> int:
    """Seal by the first key what another has sealed; return how many. Raises Unavailable."""
    renewed = 0
    for row in rows:
        after = None if row.sealed is None else _renewed(row, row.sealed, sealer)
        if row.sealed is not None and after is not None:
            renewed += table.renew(row.camera_id, row.sealed, after)
    if renewed:
        log.info("credentials_sealed_anew", cameras=renewed)
    return renewed


def _renewed(row: CameraSource, sealed: bytes, sealer: SourceSealer) -> bytes | None:
    try:
        return sealer.renew(row.camera_id, sealed)
    except CannotOpen:
        return None  # the sweep says so
