"""Where a page of a list ended: the key of its last item, opaque to the one who hands it back."""

from __future__ import annotations

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from streamwarden.errors import InvalidInput

_LAYOUT = struct.Struct(">q16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Position(NamedTuple):
    """A key in a list ordered by time, then id; sorts as Postgres sorts the pair."""

    moment: datetime
    id: UUID


BEGINNING = Position(datetime.min.replace(tzinfo=UTC), UUID(int=0))


def encode_cursor(position: Position) -> str:
    """Write ``position`` as 32 characters that are safe in a URL."""
    milliseconds = (position.moment - _EPOCH) // _MILLISECOND
    return base64.urlsafe_b64encode(_LAYOUT.pack(milliseconds, position.id.bytes)).decode()


def decode_cursor(cursor: str | None) -> Position:
    """Return the position that ``cursor`` names, the beginning for None.

    Raises:
        InvalidInput: it is no cursor of ours; the field is ``cursor``.
    """
    if cursor is None:
        return BEGINNING
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        milliseconds, id_bytes = _LAYOUT.unpack(raw)
        return Position(_EPOCH + milliseconds * _MILLISECOND, UUID(bytes=id_bytes))
    except (ValueError, binascii.Error, struct.error, OverflowError) as error:
        raise InvalidInput("the cursor is not one that this list gave", field="cursor") from error
