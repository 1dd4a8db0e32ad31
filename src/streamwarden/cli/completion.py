"""``streamwarden completion``: a script for TAB completion, generated from the parser."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command
from streamwarden.cli.output import print_line

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands

_FILES = "@files"
"""Placeholder for the file names of an option that takes a file."""

_BASH = """\
# streamwarden: completion for {shell}. Load it with: {load}
{prelude}_streamwarden() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local place="" word offered=""
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$place/$word" in
{places}
        esac
    done
    case "$place $previous" in
{values}
    esac
    case "$place" in
{words}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$current"))
}}
complete -F _streamwarden streamwarden
"""

_LOADING: Mapping[str, tuple[str, str]] = {
    "bash": ('eval "$(streamwarden completion bash)"', ""),
    "zsh": (
        'eval "$(streamwarden completion zsh)"',
        "autoload -U +X bashcompinit && bashcompinit\n",
    ),
}

_NOTES = """\
examples:
  echo 'eval "$(streamwarden completion bash)"' >>~/.bashrc
  echo 'eval "$(streamwarden completion zsh)"' >>~/.zshrc
"""


@dataclass(frozen=True, slots=True)
class Place:
    """One command: the words that may follow, and the values that its options take."""

    path: tuple[str, ...]
    commands: tuple[str, ...]
    options: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def add_completion_command(
    commands: Commands, build_parser: Callable[[], argparse.ArgumentParser]
) -> None:
    """Add ``completion``; ``build_parser`` returns the parser of the whole program."""
    parser = add_command(
        commands, "completion", completion, "print a script for TAB completion", _NOTES
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.set_defaults(build_parser=build_parser)


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for a shell."""
    print_line(script(arguments.shell, arguments.build_parser()))
    return 0


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for ``bash`` or ``zsh``."""
    places = list(places_of(parser))
    load, prelude = _LOADING[shell]
    return _BASH.format(
        shell=shell,
        load=load,
        prelude=prelude,
        places=_lines(12, (_entry(place) for place in places if place.path)),
        values=_lines(8, (line for place in places for line in _values(place))),
        words=_lines(8, (_words(place) for place in places)),
    ).rstrip()


def places_of(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Place]:
    """Yield the command of ``parser`` and all commands below it."""
    below: dict[str, argparse.ArgumentParser] = {}
    options: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            below = dict(action.choices)
        options += action.option_strings
        if action.option_strings and action.nargs != 0:
            taken = tuple(map(str, action.choices or ())) or _files(action)
            values |= dict.fromkeys(action.option_strings, taken)
    yield Place(path, tuple(below), tuple(options), values)
    for name, parser_below in below.items():
        yield from places_of(parser_below, (*path, name))


def _files(action: argparse.Action) -> tuple[str, ...]:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return (_FILES,) if {"FILE", "DIR"} & set(metavar.split("_")) else ()


def _name(place: Place) -> str:
    return "".join(f"/{word}" for word in place.path)


def _entry(place: Place) -> str:
    name = _name(place)
    return f"{name}) place={name} ;;"


def _values(place: Place) -> Iterator[str]:
    for option, values in place.values.items():
        offered = shlex.quote(" ".join(values))
        words = f'compgen -W {offered} -- "$current"'
        files = 'compgen -f -- "$current"'
        found = f"$({files if values == (_FILES,) else words})"
        yield f'"{_name(place)} {option}") COMPREPLY=({found}); return ;;'


def _words(place: Place) -> str:
    words = " ".join((*place.commands, *place.options))
    return f'"{_name(place)}") offered={shlex.quote(words)} ;;'


def _lines(indent: int, lines: Iterator[str]) -> str:
    return "\n".join(f"{'':{indent}}{line}" for line in lines)
