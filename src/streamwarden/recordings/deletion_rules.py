"""The rules of deletion in force, as pure functions of clocks, limits and a small state.

What is deleted is gone, so nothing is deleted for one reading of a clock or of a setting alone. A shorter
age or a smaller quota, a wall clock that is ahead of the age clock, and an age that would take most of the
recordings at once are waited out for a grace time, or until an operator confirms them. What was due by
the former rules goes on being deleted. Waiting is measured in time that the machine ran.

The state is a file in the record root's state folder, which only the server writes. A confirmation is
another file, which the command writes and the server takes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from streamwarden.age_clock import (
    SLACK,
    AgeClock,
    Reading,
    decode_age_clock,
    encode_age_clock,
    started,
)
from streamwarden.clock import rfc3339
from streamwarden.model import TimeRange
from streamwarden.recordings.durable import replace_file

STATE_FILE: Final = "retention.json"
CONFIRMED_FILE: Final = "retention-confirmed.json"

JUMP: Final = timedelta(hours=1)
"""A horizon that moves on by more between two sweeps is looked at: it may take most of the recordings."""

MOST: Final = 0.5
FEW: Final = 20
"""Fewer segments than these are not called most of the recordings."""


class WaitReason(StrEnum):
    """Why a deletion waits."""

    CLOCK = "clock"
    AGE = "age"
    TOTAL_QUOTA = "total_quota"
    CAMERA_QUOTA = "camera_quota"
    SHARE = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The age and the quotas that recordings are kept to; None: no quota."""

    keep_for: timedelta
    total_bytes: int | None = None
    camera_bytes: int | None = None

    def value(self, reason: WaitReason) -> float | None:
        """Return a limit as a number: seconds or bytes."""
        match reason:
            case WaitReason.AGE:
                return self.keep_for.total_seconds()
            case WaitReason.TOTAL_QUOTA:
                return self.total_bytes
            case WaitReason.CAMERA_QUOTA:
                return self.camera_bytes
            case _:
                raise AssertionError(reason)

    def with_value(self, reason: WaitReason, value: float | None) -> Rules:
        """Return the rules with one limit changed."""
        match reason:
            case WaitReason.AGE if value is not None:
                return replace(self, keep_for=timedelta(seconds=value))
            case WaitReason.TOTAL_QUOTA:
                return replace(self, total_bytes=None if value is None else int(value))
            case WaitReason.CAMERA_QUOTA:
                return replace(self, camera_bytes=None if value is None else int(value))
            case _:
                raise AssertionError(reason)


_RULES: Final = (WaitReason.AGE, WaitReason.TOTAL_QUOTA, WaitReason.CAMERA_QUOTA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A deletion that waits. ``value`` is what is waited for: seconds ahead, an age, bytes, segments."""

    reason: WaitReason
    value: float
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionRules:
    """The rules in force, and what waits.

    ``released`` is the horizon up to which deletion by age has been looked at.
    """

    clock: AgeClock
    rules: Rules
    waiting: tuple[Wait, ...] = ()
    released: datetime | None = None

    @property
    def horizon(self) -> datetime:
        """The date up to which recordings are too old, but for those of other clocks."""
        return self.clock.low - self.rules.keep_for

    @property
    def jumps(self) -> bool:
        """Whether the share of what is too old has to be looked at."""
        return self.released is None or self.horizon - self.released > JUMP

    def expired(self) -> list[TimeRange]:
        """Return the dates that are too old, without those that wait for their share."""
        found = self.clock.older_than(self.rules.keep_for)
        if not self.jumps:
            return found
        if self.released is None:
            return []
        limit = self.released
        return [TimeRange(each.from_, min(each.to, limit)) for each in found if each.from_ < limit]

    def forgettable(self) -> datetime | None:
        """Return the date before which gaps and periods are too old as well; None while that waits."""
        return None if self.jumps else self.clock.forgettable(self.rules.keep_for)

    def waits(self) -> tuple[Wait, ...]:
        """Return all that waits."""
        gone = self.clock.departure
        if gone is None or gone.ahead <= timedelta():
            return self.waiting
        ahead_s = gone.ahead.total_seconds()
        clock = Wait(reason=WaitReason.CLOCK, value=ahead_s, waited_s=gone.waited_s)
        return (clock, *self.waiting)

    def moved_on(self, limits: Rules, reading: Reading, grace: timedelta) -> DeletionRules:
        """Return the rules at ``reading`` where the settings say ``limits``."""
        passed_s = self.clock.passed_s(reading)
        clock = self.clock.moved_on(reading, grace)
        believed = clock.at - self.clock.at > timedelta(seconds=passed_s) + 2 * SLACK
        rules, waiting, age_taken = self.rules, list[Wait](), False
        for reason in _RULES:
            wait = self._wait(reason, limits, passed_s)
            if wait is not None and wait.waited_s < grace.total_seconds():
                waiting.append(wait)
                continue
            age_taken = age_taken or (wait is not None and reason is WaitReason.AGE)
            rules = rules.with_value(reason, limits.value(reason))
        waiting += [
            replace(wait, waited_s=wait.waited_s + passed_s)
            for wait in self.waiting
            if wait.reason is WaitReason.SHARE
        ]
        moved = replace(
            self,
            clock=clock.without_old(rules.keep_for),
            rules=rules,
            waiting=tuple(waiting),
        )
        return moved.as_released() if believed or age_taken else moved

    def _wait(self, reason: WaitReason, limits: Rules, passed_s: float) -> Wait | None:
        wanted, in_force = limits.value(reason), self.rules.value(reason)
        if wanted is None or (in_force is not None and wanted >= in_force):
            return None
        for wait in self.waiting:
            if wait.reason is reason and wanted >= wait.value:
                return replace(wait, value=wanted, waited_s=wait.waited_s + passed_s)
        return Wait(reason=reason, value=wanted)

    def share_waits(self, grace: timedelta) -> bool:
        """Return whether what is too old is known to be most of the recordings, and waits."""
        return any(
            wait.reason is WaitReason.SHARE and wait.waited_s < grace.total_seconds()
            for wait in self.waiting
        )

    def judged(self, expired: int, segments: int, grace: timedelta) -> DeletionRules:
        """Return the rules once it is known how many of the segments are too old."""
        if not self.jumps:
            return self.as_released()
        if segments < FEW or expired <= MOST * segments or grace <= timedelta():
            return self.as_released()
        wait = next((one for one in self.waiting if one.reason is WaitReason.SHARE), None)
        if wait is not None and wait.waited_s >= grace.total_seconds():
            return self.as_released()
        others = tuple(one for one in self.waiting if one.reason is not WaitReason.SHARE)
        waited_s = 0.0 if wait is None else wait.waited_s
        share = Wait(reason=WaitReason.SHARE, value=expired, waited_s=waited_s)
        return replace(self, waiting=(*others, share))

    def confirmed(self, confirmed: Collection[Wait], reading: Reading) -> DeletionRules:
        """Return the rules after an operator has confirmed what waits; what has changed since waits on."""
        rules, by_reason = self, {wait.reason: wait for wait in self.waits()}
        for one in confirmed:
            wait = by_reason.get(one.reason)
            if wait is None or abs(wait.value - one.value) > _same_within(wait):
                continue
            if one.reason is WaitReason.CLOCK:
                rules = replace(rules, clock=rules.clock.confirmed(reading))
            elif one.reason in _RULES:
                rules = replace(rules, rules=rules.rules.with_value(one.reason, wait.value))
            kept = tuple(each for each in rules.waiting if each.reason is not one.reason)
            rules = replace(rules, waiting=kept)
            if one.reason in {WaitReason.CLOCK, WaitReason.AGE, WaitReason.SHARE}:
                rules = rules.as_released()
        return rules

    def as_released(self) -> DeletionRules:
        """Return the rules with the horizon taken as looked at."""
        others = tuple(one for one in self.waiting if one.reason is not WaitReason.SHARE)
        return replace(self, waiting=others, released=self.horizon)

    def settled(self) -> tuple[object, ...]:
        """Return what is written at once when it changes; the clock itself is written now and then."""
        gone = self.clock.departure
        reasons = tuple((wait.reason, wait.value) for wait in self.waiting)
        return self.rules, reasons, gone and gone.since, self.clock.misdated, self.clock.since


def _same_within(wait: Wait) -> float:
    if wait.reason is WaitReason.SHARE:
        return wait.value
    return SLACK.total_seconds() if wait.reason is WaitReason.CLOCK else 0.0


def first_rules(limits: Rules, reading: Reading, known: datetime | None) -> DeletionRules:
    """Return the rules of a record root that has none yet; ``known`` is a time that has passed."""
    return DeletionRules(clock=started(reading, known), rules=limits)


def size_in_words(size_bytes: float) -> str:
    """Return a size as people write it: in GiB, a smaller one in MiB."""
    if size_bytes >= 1024**3:
        return f"{size_bytes / 1024**3:.1f} GiB"
    return f"{size_bytes / 1024**2:.1f} MiB"


# Files


_UNREADABLE: Final = (
    *(ValueError, KeyError, TypeError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What content that is no rules may raise, whatever it is."""


class DeletionRulesFile:
    """The state and the confirmation in a record root's state folder. Blocking; one thread writes."""

    def __init__(self, state: Path) -> None:
        self._state = state / STATE_FILE
        self._confirmed = state / CONFIRMED_FILE

    def read(self) -> DeletionRules | None:
        """Return the rules that were written last; None where there are none, or none that are whole."""
        try:
            return _decode(json.loads(self._state.read_bytes()))
        except FileNotFoundError:
            return None
        except _UNREADABLE:
            return None

    def write(self, rules: DeletionRules) -> None:
        """Replace the rules, synced."""
        replace_file(self._state, json.dumps(_encode(rules)).encode())

    def confirm(self, waits: Collection[Wait]) -> None:
        """Leave a confirmation for the server."""
        replace_file(self._confirmed, json.dumps([_encode_wait(wait) for wait in waits]).encode())

    def take_confirmed(self) -> list[Wait]:
        """Return what an operator has confirmed, and remove it."""
        try:
            content = self._confirmed.read_bytes()
        except FileNotFoundError:
            return []
        waits: list[Wait] = []
        with suppress(*_UNREADABLE):
            waits = [_decode_wait(one) for one in json.loads(content)]
        self._confirmed.unlink()
        return waits


def _encode_wait(wait: Wait) -> Mapping[str, object]:
    return {"reason": wait.reason, "value": wait.value, "waited_s": wait.waited_s}


def _decode_wait(content: Any) -> Wait:  # noqa: ANN401 - any JSON
    return Wait(
        reason=WaitReason(content["reason"]),
        value=float(content["value"]),
        waited_s=float(content["waited_s"]),
    )


def _encode(rules: DeletionRules) -> Mapping[str, object]:
    return {
        "clock": encode_age_clock(rules.clock),
        "keep_for_s": rules.rules.keep_for.total_seconds(),
        "total_bytes": rules.rules.total_bytes,
        "camera_bytes": rules.rules.camera_bytes,
        "waiting": [_encode_wait(wait) for wait in rules.waiting],
        "released": rules.released and rfc3339(rules.released),
    }


def _decode(content: Any) -> DeletionRules:  # noqa: ANN401 - any JSON
    released = content["released"]
    return DeletionRules(
        clock=decode_age_clock(content["clock"]),
        rules=Rules(
            keep_for=timedelta(seconds=content["keep_for_s"]),
            total_bytes=content["total_bytes"],
            camera_bytes=content["camera_bytes"],
        ),
        waiting=tuple(_decode_wait(one) for one in content["waiting"]),
        released=datetime.fromisoformat(released) if released else None,
    )
