from __future__ import annotations

import pytest

from streamwarden.devkit.relay.faults import (
    NO_FAULT,
    Fault,
    FaultTable,
    Misbehaviour,
    Silence,
    fault_from_json,
)
from streamwarden.errors import InvalidInput


def test_a_fault_survives_its_json() -> None:
    fault = Fault(
        silence=Silence.MEDIA,
        describe=Misbehaviour.HANG,
        describe_status=503,
        delay_s=0.5,
        bytes_per_s=1000.0,
        sender_clock_shift_s=-3600.0,
        timestamp_jump_s=1.5,
        picture_jump_s=-2.5,
    )
    assert fault_from_json(fault.to_json()) == fault
    assert fault_from_json({}) == NO_FAULT


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("silence", "loud"),
        ("describe", "politely"),
        ("describe_status", 42),
        ("describe_status", True),
        ("delay_s", -1),
        ("delay_s", float("nan")),
        ("bytes_per_s", "fast"),
        ("sender_clock_shift_s", float("inf")),
        ("speed", 1),
    ],
)
def test_bad_input_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        fault_from_json({field: value})
    assert refused.value.field == field


def test_a_paths_own_fault_wins_over_the_one_for_all() -> None:
    table = FaultTable()
    table.set(None, Fault(delay_s=1))
    table.set("a", Fault(delay_s=2))
    assert (table.of("a").delay_s, table.of("b").delay_s) == (2, 1)
    table.clear("a")
    assert table.of("a").delay_s == 1
    table.clear()
    assert table.of("a") == NO_FAULT
