"""What the command line is given of a camera's source: the password from a file, never as an argument."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from streamwarden.errors import InvalidInput

_MOST_BYTES: Final = 4096


def source_given(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return the fields of a source that were given; None removes. Raises InvalidInput."""
    url: str | None = arguments.source_url
    shown = (arguments.source_username, arguments.source_password_file)
    if getattr(arguments, "no_source", False):
        if url is not None or any(shown):
            raise InvalidInput("--no-source goes with no other option of a source")
        return {"source_url": None}
    given: dict[str, str | None] = {}
    if url is not None:
        if "@" in url:
            # Whoever lists this machine's processes reads arguments.
            raise InvalidInput(
                "--source-url must hold no credentials: give --source-username and "
                "--source-password-file; another @ is written %40"
            )
        given["source_url"] = url
    if getattr(arguments, "no_source_credentials", False):
        if any(shown):
            raise InvalidInput("--no-source-credentials goes with no user name and no password")
        return given | {"source_username": None, "source_password": None}
    if arguments.source_username is not None:
        given["source_username"] = arguments.source_username
    if arguments.source_password_file is not None:
        given["source_password"] = _password(arguments.source_password_file)
    return given


def _password(file: str) -> str:
    """Read a password: the file's text without the line end that editors put there."""
    try:
        if file == "-":
            read = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                read = opened.read(_MOST_BYTES + 1)
        text = read.decode()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput("--source-password-file: cannot be read as text") from None
    return text.removesuffix("\n").removesuffix("\r")
