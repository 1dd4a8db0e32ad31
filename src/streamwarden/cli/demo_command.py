"""``streamwarden demo``: everything on this machine, with cameras."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from streamwarden.app.roles import ROLES, run_roles
from streamwarden.cli import environment
from streamwarden.cli.output import print_line
from streamwarden.cli.stop_signals import Failure, configure_logs, stop_signals
from streamwarden.cli.token_commands import sign_user
from streamwarden.clock import Clock
from streamwarden.config.settings import Settings
from streamwarden.devkit.demo import OWNER, Demo, DemoOptions, DemoParts, DemoStopped, RunningRoles
from streamwarden.devkit.demo_ports import demo_ports
from streamwarden.devkit.demo_secrets import demo_secrets
from streamwarden.devkit.picture import LoopedClip, source_from
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.errors import ConfigError, InvalidInput
from streamwarden.evidence.seal_keys import new_key

_CAMERAS = 2


_DAY_S = 86400


def demo(arguments: argparse.Namespace) -> int:
    """Start everything, print the READY line, and stop everything when a signal comes."""
    options = _options(arguments)
    secrets = demo_secrets(options.data_dir)
    settings = environment.load_settings(arguments.config, os.environ, asdict(secrets))
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


def _run(demo: Demo, options: DemoOptions, stop: threading.Event) -> None:
    with demo.running() as ready_line:
        print_line(ready_line)
        sys.stdout.flush()
        _show_banner(options, json.loads(ready_line.removeprefix("READY ")))
        stop.wait()


def _options(arguments: argparse.Namespace) -> DemoOptions:
    sources: list[str] = arguments.camera
    count = arguments.cameras or len(sources) or _CAMERAS
    if count < len(sources):
        raise InvalidInput(f"--cameras {count} is fewer than the {len(sources)} of --camera")
    for source in map(source_from, sources):
        if isinstance(source, LoopedClip) and not source.path.is_file():
            raise InvalidInput(f"--camera: {source.path} is no file and no rtsp:// URL")
    return DemoOptions(
        data_dir=_data_dir(arguments.data_dir),
        ports=demo_ports(arguments.port_base),
        cameras=count,
        sources=sources,
        segment_seconds=arguments.segment_seconds,
    )


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
    start_database, stop_database = _database(options, settings)

    def settings_with(overrides: Mapping[str, object]) -> Settings:
        return environment.load_settings(arguments.config, os.environ, overrides)

    def start_roles(overrides: Mapping[str, object]) -> RunningRoles:
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
        ffmpeg=environment.ffmpeg_for(settings),
        clock=Clock(),
        environ=os.environ,
        stop_timeout_s=settings.stop_timeout_s,
    )


def _seal_key(data_dir: Path, settings: Settings) -> Path:
    """Return the key that seals what is recorded, made where none is set and none is there yet."""
    path = settings.seal_key_file or data_dir / "seal.pem"
    if not path.exists():
        public = new_key(path).public.pem
        path.with_suffix(".pub").write_text(public, encoding="ascii")
    return path


def write_settings(path: Path, values: Mapping[str, object]) -> None:
    """Write the demo's settings for the operators' tools: ``streamwarden --config FILE ...``.

    Secrets are among them, so only its owner may read the file.
    """
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        # One that was there already keeps its mode unless told otherwise.
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 0)
        file.write("# Written by streamwarden demo at each start.\n" + "\n".join(lines) + "\n")


def _toml(value: object) -> str:
    """Write a value as TOML 1.0 does: as JSON, but for surrogate pairs and DEL in strings."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _database(
    options: DemoOptions, settings: Settings
) -> tuple[Callable[[], str], Callable[[], None]]:
    """Return how the database is started (its URL comes back) and stopped."""
    url = settings.database_url
    if url is not None:
        return url.get_secret_value, lambda: None
    postgres = EmbeddedPostgres(options.data_dir / "postgres")
    return postgres.start, postgres.stop


def _show_banner(options: DemoOptions, ready: Mapping[str, str]) -> None:
    if not sys.stderr.isatty():
        return
    api = f"http://127.0.0.1:{options.ports.api}"
    sys.stderr.write(
        f"\n  streamwarden records {options.cameras} camera(s).\n\n"
        f"  page          {ready['sign_in_url']}\n"
        f"  API           {api}/docs\n"
        f"  metrics       {api}/metrics\n"
        f"  recordings    {options.data_dir / 'recordings'}\n"
        f"  tools         streamwarden --config {options.data_dir / 'settings.toml'} recordings verify\n\n"
        "  The line above that starts with READY has a token to call the API with.\n"
        "  Ctrl-C stops everything.\n\n"
    )
