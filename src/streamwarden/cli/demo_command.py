"""``streamwarden demo``: all roles, a media server and cameras on this machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, whole_number
from streamwarden.cli.environment import configure_logs, settings_of
from streamwarden.cli.output import print_line
from streamwarden.cli.serve_command import Failure, stop_signals
from streamwarden.cli.token_commands import sign_user
from streamwarden.clock import Clock
from streamwarden.errors import ConfigError, InvalidInput

if TYPE_CHECKING:
    import argparse
    import threading
    from collections.abc import Callable, Mapping

    from streamwarden.cli.arguments import Commands
    from streamwarden.config.settings import Settings
    from streamwarden.devkit.demo import Demo, DemoOptions, DemoParts, DemoRoles

MAX_SEGMENT_S = 3600
MAX_CAMERAS = 50
MAX_PORT_BASE = 65000
DEFAULT_CAMERAS = 2
_DAY_S = 86400

_NOTES = """\
It starts a Postgres of its own (unless DATABASE_URL is set), a media server (MediaMTX if it is installed
or can be downloaded, else a small relay without WebRTC), cameras and all roles, records the cameras, and
prints one line, READY and JSON, when the first segment of each camera is indexed.

examples:
  streamwarden demo
  streamwarden demo --camera rtsp://viewer:password@192.0.2.7/stream1 --camera holiday.mp4
  streamwarden demo --camera-file cameras.txt
  streamwarden demo --port-base 9000 --data-dir /tmp/trial --cameras 4
"""


def add_demo_command(commands: Commands) -> None:
    """Add ``demo``."""
    parser = add_command(commands, "demo", demo, "try everything on embedded defaults", _NOTES)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".data"),
        metavar="DIR",
        help="the folder of the database, secrets and recordings; kept for the next start "
        "(default: .data)",
    )
    parser.add_argument(
        "--port-base",
        type=whole_number(0, MAX_PORT_BASE),
        default=8080,
        metavar="PORT",
        help="first of the ports used: the API is PORT+1, the media server's RTSP PORT+10; "
        "0 takes free ports (default: 8080)",
    )
    parser.add_argument(
        "--cameras",
        type=whole_number(1, MAX_CAMERAS),
        metavar="N",
        help="number of cameras (default: 2, or the number of --camera options)",
    )
    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="URL_OR_FILE",
        help="an RTSP camera, which is pulled, or a clip to loop, instead of a test picture; repeatable",
    )
    parser.add_argument(
        "--camera-file",
        type=Path,
        metavar="FILE",
        help="a file with one camera a line, as for --camera: other users of this machine see the "
        "arguments of a program, and so a password in them",
    )
    parser.add_argument(
        "--segment-seconds",
        type=whole_number(1, MAX_SEGMENT_S),
        default=10,
        metavar="S",
        help="length of a recorded file (default: 10, for an early first file; the product's own "
        "default is 30)",
    )


def demo(arguments: argparse.Namespace) -> int:
    """Start everything, print the READY line, and stop everything when a signal comes."""
    from streamwarden.devkit.demo import Demo, DemoStopped
    from streamwarden.devkit.demo_secrets import demo_secrets

    options = _options(arguments)
    secrets = demo_secrets(options.data_dir)
    settings = settings_of(arguments, asdict(secrets))
    _check_host(settings, arguments.port_base)
    log = configure_logs(settings)
    with stop_signals() as stop:
        failed = Failure(stop)
        parts = _parts(arguments, options, settings, failed)
        try:
            _run(Demo(options, secrets, parts, stop), options, stop)
        except DemoStopped:
            log.info("demo_stopped_before_it_was_ready")
            return 1
    log.info("demo_stopped")
    return failed.exit_code


def _check_host(settings: Settings, base: int) -> None:
    """Raise ConfigError for an address other than loopback: the demo's media server has no other."""
    if settings.host not in ("127.0.0.1", "localhost"):
        raise ConfigError(
            "STREAMWARDEN_HOST: the demo listens on 127.0.0.1 only. See its page from another machine by "
            f"ssh -L {base}:127.0.0.1:{base} -L {base + 11}:127.0.0.1:{base + 11} HOST, or install "
            "the product (docs/deployment.md)"
        )


def _run(demo: Demo, options: DemoOptions, stop: threading.Event) -> None:
    with demo.running() as ready_line:
        print_line(ready_line)
        sys.stdout.flush()
        _show_banner(options, json.loads(ready_line.removeprefix("READY ")))
        stop.wait()


def _options(arguments: argparse.Namespace) -> DemoOptions:
    from streamwarden.devkit.demo import DemoOptions
    from streamwarden.devkit.demo_ports import demo_ports
    from streamwarden.devkit.video_source import LoopedClip, source_from

    sources = [*arguments.camera, *_listed(arguments.camera_file)]
    count = arguments.cameras or len(sources) or DEFAULT_CAMERAS
    if count < len(sources):
        raise InvalidInput(
            f"--cameras {count} is fewer than the {len(sources)} cameras that are named"
        )
    for source in map(source_from, sources):
        if isinstance(source, LoopedClip) and not source.path.is_file():
            raise InvalidInput(f"--camera: {source.path} is neither a file nor an rtsp:// URL")
    return DemoOptions(
        data_dir=_data_dir(arguments.data_dir),
        ports=demo_ports(arguments.port_base),
        cameras=count,
        sources=sources,
        segment_seconds=arguments.segment_seconds,
    )


def _listed(file: Path | None) -> list[str]:
    """Return the cameras of a file, one a line; empty lines and those that begin with # are left out."""
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--camera-file: {file} cannot be read as text") from error
    return [text for line in lines if (text := line.strip()) and not text.startswith("#")]


def _data_dir(given: Path) -> Path:
    path = given.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"--data-dir: {path} cannot be used: {error.strerror}") from error
    return path


def _parts(
    arguments: argparse.Namespace, options: DemoOptions, settings: Settings, failed: Failure
) -> DemoParts:
    from streamwarden.app.roles import ROLES, run_roles
    from streamwarden.devkit.demo import OWNER, DemoParts
    from streamwarden.ffmpeg.command import find_ffmpeg

    start_database, stop_database = _database(options, settings)

    def settings_with(overrides: Mapping[str, object]) -> Settings:
        return settings_of(arguments, overrides)

    def start_roles(overrides: Mapping[str, object]) -> DemoRoles:
        roles = frozenset(ROLES)
        overrides = {**overrides, "seal_key_file": str(_seal_key(options.data_dir, settings))}
        write_settings(options.data_dir / "settings.toml", overrides)
        return run_roles(settings_with(overrides), roles, on_failure=failed)

    def user_token(overrides: Mapping[str, object]) -> str:
        with_secrets = settings_with(overrides)
        return sign_user(with_secrets, sub=OWNER, roles=("admin",), ttl_s=_DAY_S).token

    return DemoParts(
        start_roles=start_roles,
        user_token=user_token,
        start_database=start_database,
        stop_database=stop_database,
        ffmpeg=find_ffmpeg(settings.ffmpeg),
        clock=Clock(),
        environ=os.environ,
        stop_timeout_s=settings.stop_timeout_s,
        source_networks=settings.source_networks,
    )


def _seal_key(data_dir: Path, settings: Settings) -> Path:
    """Return the key that seals the recordings; make one if none is set and none exists."""
    from streamwarden.evidence.seal_keys import new_key

    path = settings.seal_key_file or data_dir / "seal.pem"
    if not path.exists():
        public = new_key(path).public.pem
        path.with_suffix(".pub").write_text(public, encoding="ascii")
    return path


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """Write the demo's settings for other commands: ``streamwarden --config FILE ...``.

    They contain secrets, so only the file's owner may read it.
    """
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        # A file that exists keeps its mode unless it is set.
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
        file.write("# Written by streamwarden demo at each start.\n" + "\n".join(lines) + "\n")


def _toml(value: object) -> str:
    """Return a value in TOML 1.0: JSON, but for surrogate pairs and DEL in strings."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _database(
    options: DemoOptions, settings: Settings
) -> tuple[Callable[[], str], Callable[[], None]]:
    """Return the functions that start the database, returning its URL, and stop it."""
    from streamwarden.devkit.postgres import EmbeddedPostgres

    url = settings.database_url
    if url is not None:
        from streamwarden.storage.pool import server_facts

        text = url.get_secret_value()
        server_facts(text)  # raises in Postgres' words, before anything is started
        refuse_installation(text, options.data_dir / "recordings")
        return url.get_secret_value, lambda: None
    postgres = EmbeddedPostgres(options.data_dir / "postgres")
    return postgres.start, postgres.stop


def refuse_installation(url: str, record_root: Path) -> None:
    """Raise ConfigError for a database that is in use and does not belong to the demo's recordings."""
    # Before anything is started: the API role would migrate the database.
    from streamwarden.recordings.root_identity import SAMPLE, belongs, facts_of, files_found
    from streamwarden.storage.pool import Database
    from streamwarden.storage.record_roots import RecordRootRepository

    database = Database(url, max_size=1, application_name="demo")
    database.open()
    try:
        roots = RecordRootRepository(database)
        if not roots.holds_anything():
            return
        facts, known = facts_of(record_root), roots.paired()
        if known is not None and known.id == facts.id:
            return
        rows = roots.newest_files(limit=SAMPLE) if known is None else []
        if rows and belongs(*files_found(record_root, rows)):
            return  # a demo of an earlier version
    finally:
        database.close()
    where = "" if known is None else f" (record root {known.path} on node {known.node})"
    raise ConfigError(
        f"DATABASE_URL names the database of another installation{where}. The demo does not write into"
        " it: unset DATABASE_URL, or name an empty database"
    )


def _show_banner(options: DemoOptions, ready: Mapping[str, str]) -> None:
    if not sys.stderr.isatty():
        return
    api = f"http://127.0.0.1:{options.ports.api}"
    started = Path(sys.argv[0])
    typed = started.name == "streamwarden" and shutil.which("streamwarden") is None
    program = shlex.quote(str(started)) if typed else "streamwarden"
    config = shlex.quote(str(options.data_dir / "settings.toml"))
    sys.stderr.write(
        f"\n  streamwarden records {options.cameras} camera(s).\n\n"
        f"  page          {ready['sign_in_url']}\n"
        f"  API           {api}/docs\n"
        f"  metrics       {api}/metrics\n"
        f"  recordings    {options.data_dir / 'recordings'}\n"
        f"  tools         {program} --config {config} recordings verify\n\n"
        "  The line above that starts with READY has a token to call the API with.\n"
        "  Ctrl-C stops everything.\n\n"
    )
