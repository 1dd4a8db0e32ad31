"""Errors of Postgres as errors of this program: by their SQLSTATE, what a caller can do about them.

A server that answers and refuses (read-only, rights taken away, a table that is being restored, a damaged
index, a full disk) is as unavailable as one that does not answer. Only a value or a row that it can never
store is the caller's fault. The classes are those of appendix A of the Postgres manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg import DataError, Error, IntegrityError, InterfaceError, OperationalError

from streamwarden.errors import Conflict, InvalidInput, StreamwardenError, Unavailable


class StorageUnavailable(Unavailable):
    """Postgres cannot do what was asked: it is down, full, read-only, damaged, too slow, or refuses.

    ``reason`` is libpq's or the server's message, for operators: it names hosts and users, never a
    password. ``sqlstate`` is empty where no server has answered.
    """

    code = "storage_unavailable"

    def __init__(
        self, detail: str, *, reason: str = "", sqlstate: str = "", retry_after_s: int = 5
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.reason = reason
        self.sqlstate = sqlstate

    @property
    def lacks_table(self) -> bool:
        """Whether a table is missing: the database has not been migrated, or is being restored."""
        return self.sqlstate in _LACKS


class ValueRefused(InvalidInput):
    """A value is not of the type, the length or the encoding that its column has."""


class RowRefused(Conflict):
    """A row contradicts another one, or a rule of its table."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What is said, and after how long the same call may succeed.

    ``session``: this session is of no more use, and another one may be.
    """

    detail: str
    retry_after_s: int = 5
    session: bool = False


_NO_ANSWER: Final = _Refusal("the database does not answer")
_BUSY: Final = _Refusal("the database is busy", 1)
_POOLED: Final = _Refusal("the database session was replaced", 1, session=True)
_NO_TABLE: Final = _Refusal(
    "the database lacks a table: it has not been migrated, or is being restored", 10
)
_REFUSALS: Final = {
    "08": _NO_ANSWER,
    "0A000": _Refusal(
        "the database is being changed", 1, session=True
    ),  # "cached plan must not..."
    "25006": _Refusal("the database is read-only", 10, session=True),
    "26": _POOLED,
    "28": _Refusal("the database refuses the account", 30),
    "3D": _Refusal("the database does not exist", 30),
    "3F": _NO_TABLE,
    "40": _BUSY,
    "42501": _Refusal("the database account lacks a right", 30),
    "42703": _NO_TABLE,
    "42704": _NO_TABLE,
    "42883": _NO_TABLE,
    "42P01": _NO_TABLE,
    "42P05": _POOLED,
    "53": _Refusal("the database has no resources left", 10),
    "53100": _Refusal("the disk of the database is full", 30),
    "53300": _Refusal("the database takes no more connections"),
    "55": _BUSY,
    "57": _NO_ANSWER,
    "57014": _Refusal("the database takes too long"),
    "58": _Refusal("the database server reports an error of its system", 30),
    "XX": _Refusal("the database reports damage", 60, session=True),
}
"""By SQLSTATE, else by its class; without those of 22 and 23, which are the caller's fault."""
_OTHER: Final = _Refusal("the database refuses the statement", 30)
_LACKS: Final = frozenset(state for state, found in _REFUSALS.items() if found is _NO_TABLE)
_PREPARED: Final = frozenset({"26000", "42P05"})


def refused(error: Error, reason: str = "") -> StreamwardenError | None:
    """Return the error to raise for one of psycopg's; None for a mistake of the program itself.

    The server's own text goes into ``reason``, not into the message; ``reason`` stands in for a text that
    says less.
    """
    if isinstance(error, DataError):
        return ValueRefused("a value cannot be stored")
    if isinstance(error, IntegrityError):
        return RowRefused("the change contradicts what is stored")
    if error.sqlstate is None and not isinstance(error, OperationalError | InterfaceError):
        return None
    return unavailable(error, reason)


def unavailable(error: Error, reason: str = "") -> StorageUnavailable:
    """Return the error to raise where no value and no row can be at fault."""
    state = error.sqlstate or ""
    found = _NO_ANSWER if not state else _refusal_of(state)
    return StorageUnavailable(
        found.detail,
        reason=" ".join((reason or str(error)).split()),
        sqlstate=state,
        retry_after_s=found.retry_after_s,
    )


def ends_session(error: StorageUnavailable) -> bool:
    """Return whether other sessions may serve where this one has refused: a new primary, a new plan."""
    return bool(error.sqlstate) and _refusal_of(error.sqlstate).session


def is_of_pooler(error: StorageUnavailable) -> bool:
    """Return whether a prepared statement is not there, or there already: a pooler shares the sessions."""
    return error.sqlstate in _PREPARED


def _refusal_of(state: str) -> _Refusal:
    return _REFUSALS.get(state) or _REFUSALS.get(state[:2]) or _OTHER
