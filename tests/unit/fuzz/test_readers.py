"""Every reader of what an attacker may write: it raises what it names, and ends in time."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.fuzz.targets import TARGETS, Target

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

EXAMPLES = 60
MOST_S = 2.0
"""Processor time for one input, of which most need a millisecond."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_surprises_its_reader(target: Target) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def try_it(given_input: object) -> None:
        began = time.thread_time()
        target.read(given_input)
        assert time.thread_time() - began < MOST_S

    try_it()
