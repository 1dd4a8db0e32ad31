"""Hypothesis, set for machines that are busy with other tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline for one example: it would measure the machine's other work.
# No database of failures: a failing example belongs into a test, not onto one machine's disk.
settings.register_profile("streamwarden", deadline=None, database=None)
settings.load_profile("streamwarden")
