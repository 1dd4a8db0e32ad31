"""Errors of the other role arrive as the class that it raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamwarden import errors
from streamwarden.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    StreamwardenError,
    Unavailable,
    by_code,
)
from tests.unit.test_golden import every_error


def specific() -> Iterator[type[StreamwardenError]]:
    """The errors of one code each, without those that only name what a caller can do."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(
            kind, (Conflict, InvalidInput, NotFound, Unavailable)
        ):
            yield kind


FOUND = [k for k in specific() if k not in {Conflict, InvalidInput, NotFound, Unavailable}]
BY_THE_CALLER = {errors.SegmentNotFound, errors.StreamingUnavailable}
"""One has its own path through the client, the other is made there."""


@pytest.mark.parametrize("kind", [k for k in FOUND if k not in BY_THE_CALLER])
def test_a_problem_becomes_the_class_that_was_raised(kind: type[StreamwardenError]) -> None:
    assert kind.status is not None
    raised = by_code(kind.status, kind.code, "why")
    assert type(raised) is kind
    assert str(raised) == "why"


@pytest.mark.parametrize(
    ("status", "code"), [(404, "other_owner"), (404, "not_found"), (503, "unavailable"), (500, "")]
)
def test_a_problem_that_no_caller_can_act_on_becomes_no_error(status: int, code: str) -> None:
    assert by_code(status, code, "why") is None


def test_no_code_is_defined_twice() -> None:
    own = [kind.__dict__["code"] for kind in set(every_error()) if "code" in kind.__dict__]
    assert sorted(own) == sorted(set(own))
