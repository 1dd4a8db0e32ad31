"""What a child may have of the machine: its limits, and whose rights it runs with.

``prlimit`` and ``setpriv`` of util-linux set them and turn into FFmpeg by exec: a ``preexec_fn`` would
run Python between fork and exec, in a process that has threads. Together they cost about two
milliseconds of a start that takes two hundred.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import Final

from streamwarden.errors import ConfigError

OPEN_FILES: Final = 256
ADDRESS_SPACE_BYTES: Final = 4 * 1024**3
"""A recorder maps 0.3 GB and a picture of 8K about one: whatever takes more is no longer at work."""

LIMITS: Final = (
    *("prlimit", "--core=0:0", f"--nofile={OPEN_FILES}:{OPEN_FILES}"),
    *(f"--as={ADDRESS_SPACE_BYTES}:{ADDRESS_SPACE_BYTES}", "--"),
)
"""No core dump either: it would hold the URL and its token."""

WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--")


@dataclass(frozen=True, slots=True)
class OtherUser:
    """The account under which FFmpeg runs: it owns what it writes until that is stored."""

    uid: int
    gid: int

    def argv(self, argv: list[str]) -> list[str]:
        """Return ``argv``, which begins with `WITH_US`, run by this user and none of its groups."""
        at = argv.index("--")
        ids = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        return [*argv[:at], *ids, *argv[at:]]


def other_user(name: str | None) -> OtherUser | None:
    """Return the account ``name``; None where none is set.

    Raises:
        ConfigError: there is no such account, it is root, or we may not change to it.
    """
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError("STREAMWARDEN_FFMPEG_USER: there is no such account") from None
    if os.geteuid() != 0:
        raise ConfigError(
            "STREAMWARDEN_FFMPEG_USER: only root can start FFmpeg as somebody else; unset it, or "
            "start streamwarden as root"
        )
    if found.pw_uid == 0:
        raise ConfigError("STREAMWARDEN_FFMPEG_USER: root is no account of little rights")
    return OtherUser(found.pw_uid, found.pw_gid)
