"""``streamwarden migrate`` and ``check-config``: prepare the database, print the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command
from streamwarden.cli.environment import settings_of
from streamwarden.cli.output import print_json, print_line, print_note, print_table
from streamwarden.errors import ConfigError

if TYPE_CHECKING:
    import argparse

    from streamwarden.cli.arguments import Commands


_CHECK_NOTES = """\
With --role it names every setting that the role needs and that is missing, and how to set it.

examples:
  streamwarden check-config --role streaming
  streamwarden --config /etc/streamwarden/api.toml check-config --role api
"""


def add_setup_commands(commands: Commands) -> None:
    """Add ``migrate`` and ``check-config``."""
    add_command(commands, "migrate", migrate, "bring the database up to date")
    check = add_command(
        commands,
        "check-config",
        check_config,
        "print the settings, secrets masked",
        _CHECK_NOTES,
    )
    check.add_argument(
        "--role",
        choices=("all", "api", "streaming", "webui"),
        help="exit 1 if this role lacks a setting, and name it",
    )


def migrate(arguments: argparse.Namespace) -> int:
    """Apply the migrations that the database lacks, and print their names."""
    from streamwarden.storage import migrate as migrations

    done = migrations.migrate(settings_of(arguments).secret("database_url"))
    applied = [migration.name for migration in done]
    if arguments.json:
        print_json({"applied": applied})
    else:
        print_line("\n".join(f"applied {name}" for name in applied) or "the database is up to date")
    return 0


def check_config(arguments: argparse.Namespace) -> int:
    """Print every setting with its source; secrets are masked."""
    from streamwarden.config.settings import describe, warnings
    from streamwarden.evidence.seal_keys import load_signing_key

    settings = settings_of(arguments)
    found = describe(settings)
    if arguments.json:
        print_json(found)
    else:
        rows = [{"setting": name, **shown} for name, shown in found.items()]
        print_table(rows, ("setting", "value", "source"))
    for warning in warnings(settings, *([arguments.role] if arguments.role else [])):
        print_note(warning)
    if settings.seal_key_file is not None:
        load_signing_key(settings.seal_key_file)  # raises if it is not usable
    if arguments.role is not None:
        settings.require_for(arguments.role)
    for role in () if arguments.role else ("api", "streaming"):
        try:
            settings.require_for(role)
        except ConfigError:
            print_note(f"the role {role} needs more: check-config --role {role} names it")
    return 0
