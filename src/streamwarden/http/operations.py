"""What a responder declares about itself: the one source of its checks and of its OpenAPI entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

from streamwarden.http.models import Empty, Model

_F = TypeVar("_F", bound=Callable[..., None])
_DECLARED = "__operation__"


class Access(Enum):
    """Who may call at all."""

    OPEN = "open"
    BEARER = "bearer"
    """A user, by ``Authorization: Bearer``."""
    PLAYER = "player"
    """A user by ``Authorization: Bearer``, or what a user plays by ``?token=``: a play token."""
    INTERNAL = "internal"
    """Another role, by ``X-Internal-Token``."""


Rated = Literal["connect", "sign"]
"""Calls of which each user has so many a minute; ``sign`` are those that answer with a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An answer that is no JSON document of ours."""

    content_type: str
    about: str


Answer = type[Model] | Media | None
"""What a status comes with; None for an answer without a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one route.

    ``body`` None means that a body is not read; ``query`` None that parameters are not looked at.
    ``refusals`` are the statuses of the problems that come on top of those that its inputs imply.
    ``any_type``: the body is read as JSON whatever its Content-Type says.
    """

    summary: str
    access: Access
    answers: Mapping[int, Answer]
    refusals: frozenset[int] = frozenset()
    query: type[Model] | None = Empty
    body: type[Model] | None = None
    about: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    rated: Rated | None = None
    any_type: bool = False


def operation(
    summary: str,
    *,
    access: Access,
    answers: Mapping[int, Answer],
    refusals: tuple[int, ...] = (),
    query: type[Model] | None = Empty,
    body: type[Model] | None = None,
    about: str = "",
    headers: Mapping[str, str] | None = None,
    rated: Rated | None = None,
    any_type: bool = False,
) -> Callable[[_F], _F]:
    """Declare the responder below. The intake checks what is declared before it is called."""
    declared = Operation(
        summary=summary,
        access=access,
        answers=answers,
        refusals=frozenset(refusals),
        query=query,
        body=body,
        about=about,
        headers=headers or {},
        rated=rated,
        any_type=any_type,
    )

    def declare(responder: _F) -> _F:
        setattr(responder, _DECLARED, declared)
        return responder

    return declare


def operation_of(resource: object, method: str) -> Operation | None:
    """Return what ``resource`` declares for an HTTP method; HEAD is GET without the body."""
    name = "get" if method == "HEAD" else method.lower()
    found: Any = getattr(resource, f"on_{name}", None)
    declared = getattr(found, _DECLARED, None)
    return declared if isinstance(declared, Operation) else None


class Resource:
    """A resource that answers HEAD wherever it answers GET (RFC 9110, 9.3.2)."""

    def __init_subclass__(cls) -> None:
        """Give the subclass its ``on_head``."""
        responder = getattr(cls, "on_get", None)
        if responder is not None and not hasattr(cls, "on_head"):
            cls.on_head = responder  # type: ignore[attr-defined]  # falcon finds it by name
