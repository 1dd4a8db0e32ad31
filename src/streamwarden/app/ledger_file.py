"""A camera's ledger as it stands in a file: small, replaced as a whole, readable by people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from streamwarden.actors.ledger import ClosedGap, Ledger, OpenGap
from streamwarden.actors.messages import LastSegment
from streamwarden.causes import Cause
from streamwarden.clock import rfc3339


def encode_ledger(ledger: Ledger, last: LastSegment | None) -> bytes:
    """Return what the file is to hold."""
    return json.dumps(_ledger_json(ledger, last)).encode()


def decode_ledger(content: bytes) -> tuple[Ledger, LastSegment | None]:
    """Return what a file holds.

    Raises:
        ValueError: it is no ledger.
    """
    try:
        return _parse_ledger(json.loads(content))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a ledger: {error}") from error


def _ledger_json(ledger: Ledger, last: LastSegment | None) -> dict[str, object]:
    gap = ledger.gap
    return {
        "covered_until": ledger.covered_until and rfc3339(ledger.covered_until),
        "gap": gap
        and {"id": str(gap.id), "started_at": rfc3339(gap.started_at), "cause": gap.cause},
        "closed": [
            {
                "id": str(one.id),
                "started_at": rfc3339(one.started_at),
                "ended_at": rfc3339(one.ended_at),
                "cause": one.cause,
            }
            for one in ledger.closed
        ],
        "last_segment": last
        and {
            "started_at": rfc3339(last.started_at),
            "ended_at": rfc3339(last.ended_at),
            "bytes": last.size_bytes,
        },
    }


def _parse_closed(content: Any) -> ClosedGap:  # noqa: ANN401 - any JSON
    return ClosedGap(
        id=UUID(content["id"]),
        started_at=datetime.fromisoformat(content["started_at"]),
        ended_at=datetime.fromisoformat(content["ended_at"]),
        cause=Cause(content["cause"]),
    )


def _parse_ledger(content: Any) -> tuple[Ledger, LastSegment | None]:  # noqa: ANN401 - any JSON
    gap, last, covered = content["gap"], content["last_segment"], content["covered_until"]
    ledger = Ledger(
        covered_until=datetime.fromisoformat(covered) if covered else None,
        gap=gap
        and OpenGap(
            id=UUID(gap["id"]),
            started_at=datetime.fromisoformat(gap["started_at"]),
            cause=Cause(gap["cause"]),
        ),
        # A file of an earlier version has none.
        closed=tuple(_parse_closed(one) for one in content.get("closed", ())),
    )
    return ledger, last and LastSegment(
        started_at=datetime.fromisoformat(last["started_at"]),
        ended_at=datetime.fromisoformat(last["ended_at"]),
        size_bytes=int(last["bytes"]),
    )
