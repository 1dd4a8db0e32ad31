"""The options of what runs until it is stopped, what prepares it, and what completes commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from streamwarden.cli.arguments import add_command, between

if TYPE_CHECKING:
    from streamwarden.cli.arguments import Commands


_MOST_SEGMENT_S = 3600


_MOST_CAMERAS = 50


_MOST_PORT_BASE = 65000


def add_programs(commands: Commands) -> None:
    """Add what runs until it is stopped, and what prepares it."""
    serve = add_command(
        commands, "serve", "serve_command:serve", "run the product", _SERVE_EXAMPLES
    )
    serve.add_argument(
        "--role",
        choices=("all", "api", "streaming", "webui"),
        default="all",
        help="which part to run (default: all, in one process)",
    )
    _add_demo(commands)
    add_command(commands, "migrate", "camera_commands:migrate", "bring the database up to date")
    add_command(
        commands,
        "check-config",
        "camera_commands:check_config",
        "print the settings, secrets masked",
    )


def add_completion(commands: Commands, parser: Callable[[], argparse.ArgumentParser]) -> None:
    """Add what makes a shell complete commands; ``parser`` returns the whole tree of them."""
    completion = add_command(
        commands,
        "completion",
        "completion:completion",
        "print a script that completes commands after TAB",
        _COMPLETION_NOTES,
    )
    completion.add_argument("shell", choices=("bash", "zsh"))
    completion.set_defaults(parser=parser)


def _add_demo(commands: Commands) -> None:
    demo = add_command(
        commands, "demo", "demo_command:demo", "try everything on embedded defaults", _DEMO_NOTES
    )
    demo.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".data"),
        metavar="DIR",
        help="database, secrets and recordings; survives a restart (default: .data)",
    )
    demo.add_argument(
        "--port-base",
        type=between(0, _MOST_PORT_BASE),
        default=8080,
        metavar="PORT",
        help="first of the ports used: the API is PORT+1, the media server's RTSP "
        "PORT+10; 0 takes free ones (default: 8080)",
    )
    demo.add_argument(
        "--cameras",
        type=between(1, _MOST_CAMERAS),
        metavar="N",
        help="how many cameras (default: 2, or as many as --camera names)",
    )
    demo.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="URL_OR_FILE",
        help="an RTSP camera or a clip to loop instead of a test picture; repeatable",
    )
    demo.add_argument(
        "--segment-seconds",
        type=between(1, _MOST_SEGMENT_S),
        default=10,
        metavar="S",
        help="length of a recorded file (default: 10, so that the first "
        "is there soon; the product's own default is 30)",
    )


_COMPLETION_NOTES = """\
examples:
  echo 'eval "$(streamwarden completion bash)"' >>~/.bashrc
  echo 'eval "$(streamwarden completion zsh)"' >>~/.zshrc
"""


_SERVE_EXAMPLES = """\
examples:
  streamwarden serve                        all roles in one process
  streamwarden serve --role streaming       only the recorders, on this machine

SIGTERM and Ctrl-C end it in order: the last segments are finished and indexed. A second one ends it
at once.
"""


_DEMO_NOTES = """\
It starts a Postgres of its own (unless DATABASE_URL is set), a media server (MediaMTX if there is one
or it can be downloaded, else a small relay without WebRTC), cameras and all roles, has the cameras
recorded, and prints one line, READY and JSON, when the first segment of each is indexed.

examples:
  streamwarden demo
  streamwarden demo --camera rtsp://192.0.2.7/stream1 --camera holiday.mp4
  streamwarden demo --port-base 9000 --data-dir /tmp/trial --cameras 4
"""
