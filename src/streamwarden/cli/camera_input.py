"""What an operator may call a camera, its owner and its path."""

from __future__ import annotations

import re

from streamwarden.errors import InvalidInput
from streamwarden.paths import encode_owner

CAMERA_PATH = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}")


MAX_NAME_CHARS, MAX_OWNER_CHARS = 200, 255


def check_camera(*, name: str | None, owner: str | None, path: str | None) -> None:
    """Look at what is given; raise InvalidInput."""
    _check_text("name", name, MAX_NAME_CHARS)
    _check_text("owner", owner, MAX_OWNER_CHARS)
    _check_folder(owner)
    if path is not None:
        check_path(path)


def _check_text(field_name: str, text: str | None, most_chars: int) -> None:
    if text is None:
        return
    if not 1 <= len(text) <= most_chars or not text.isprintable():
        raise InvalidInput(
            f"{field_name} must be 1 to {most_chars} printable characters", field=field_name
        )


def _check_folder(owner: str | None) -> None:
    try:
        encode_owner(owner or "nobody")
    except ValueError as error:
        raise InvalidInput(f"owner: {error}", field="owner") from error


def check_path(path: str) -> None:
    """Look at a path on the media server; raise InvalidInput."""
    if not CAMERA_PATH.fullmatch(path):
        raise InvalidInput(
            "path must be one to four parts of letters, digits, - and _, joined by /", field="path"
        )
