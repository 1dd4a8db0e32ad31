from __future__ import annotations

import pytest

from streamwarden.cli.output import print_table


def test_columns_are_aligned_and_absent_values_are_dashes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table([{"id": "1", "name": None}, {"id": "22", "name": "Door"}], ("id", "name"))
    assert capsys.readouterr().out == "id  name\n1   -\n22  Door\n"


def test_an_empty_list_still_names_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], ("id", "name"))
    assert capsys.readouterr().out == "id  name\n"


def test_what_a_user_typed_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "\x1b[2J\nDoor"}], ("name",))
    assert capsys.readouterr().out == "name\n?[2J?Door\n"


def test_a_list_is_shown_as_it_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": ["x", "y"], "b": []}], ("a", "b"))
    assert capsys.readouterr().out == "a    b\nx,y  -\n"
