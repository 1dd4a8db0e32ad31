"""Completion as a shell does it: the script is loaded by a real bash, and asked."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from streamwarden.cli.completion import places_of, script
from streamwarden.cli.main import build_parser, main

ASK = """
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_streamwarden
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(*words: str) -> set[str]:
    """What bash offers in the place of the last of ``words``."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash: install bash")
    line = " ".join(f"'{word}'" for word in ("streamwarden", *words))
    asked = script("bash", build_parser()) + ASK.format(words=line)
    done = subprocess.run(
        [bash, "-c", asked], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_each_command_is_offered_with_its_options() -> None:
    for place in places_of(build_parser()):
        found = offered(*place.path, "")
        assert found >= {*place.commands, "--help"}, place.path
        assert found == {*place.commands, *place.options}


def test_what_was_begun_is_completed() -> None:
    assert offered("rec") == {"recordings"}
    assert offered("camera", "add", "--own") == {"--owner"}


def test_an_option_before_the_command_does_not_hide_it() -> None:
    assert offered("--json", "camera", "li") == {"list"}


def test_an_options_values_are_offered() -> None:
    assert offered("serve", "--role", "") == {"all", "api", "streaming", "webui"}
    assert offered("camera", "add", "--status", "in") == {"inactive"}
    assert offered("camera", "add", "--name", "") == set()


def test_a_file_is_offered_where_one_is_taken() -> None:
    assert "/etc" in offered("--config", "/et")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_command_prints_what_a_shell_can_load(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"# streamwarden: completion for {shell}")
    assert ("bashcompinit" in shown) is (shell == "zsh")
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "-c", shown], timeout=60, check=True)


def test_help_reads_like_a_page_of_a_manual() -> None:
    text = build_parser().format_help()
    for heading in ("examples:", "exit codes:", "environment:", "files, below the record root"):
        assert f"\n{heading}" in text


def test_every_command_says_what_it_does() -> None:
    parsers = [build_parser()]
    for parser in parsers:
        assert parser.description, parser.prog
        for action in parser._actions:
            assert action.help or action.metavar or not action.option_strings, (parser.prog, action)
            if isinstance(action.choices, dict):
                parsers += action.choices.values()
    assert len(parsers) > 20
