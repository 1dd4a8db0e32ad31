"""Every reader of what an attacker may write: it raises what it names, and ends in time."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, given, settings

from streamwarden.logs import configure
from tests.unit.fuzz.targets import TARGETS, Target

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

EXAMPLES = 60
MOST_S = 2.0
"""Processor time for one input, of which most need a millisecond."""


@pytest.fixture(autouse=True)
def logs_as_in_a_role() -> Iterator[None]:
    """A refusal may be logged: by the role's own format, which costs no seconds."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("json", "info", io.StringIO())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_surprises_its_reader(target: Target) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def try_it(given_input: object) -> None:
        began = time.thread_time()
        target.read(given_input)
        assert time.thread_time() - began < MOST_S

    try_it()
