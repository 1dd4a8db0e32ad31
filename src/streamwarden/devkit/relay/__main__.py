"""``python -m streamwarden.devkit.relay``: the relay as a process.

Once it listens it writes one line of JSON, ``{"rtsp_port", "control_port", "pid"}``, to standard output
or to ``--ready-fd``. SIGTERM and SIGINT end it with code 0, a busy port with code 1. With
``--exit-with-stdin`` it also ends when its standard input is closed, that is, with its parent. The token
that opens its control API, beside what the hook accepts, is in STREAMWARDEN_RELAY_TOKEN.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from streamwarden import logs
from streamwarden.auth.rtsp_urls import redact
from streamwarden.devkit.relay.relay import TOKEN_VARIABLE, Relay, RelayPorts, RelaySettings
from streamwarden.errors import ConfigError


def main(argv: list[str] | None = None) -> int:
    """Run until a signal; return the exit code."""
    arguments = _parser().parse_args(argv)
    settings = RelaySettings(
        host=arguments.host,
        rtsp_port=arguments.rtsp_port,
        control_port=arguments.control_port,
        auth_url=arguments.auth_url,
        control_token=os.environ.get(TOKEN_VARIABLE) or None,
    )
    # Standard output is for the ready line only: its reader may read nothing after it.
    logs.configure("text", "warning", sys.stderr, redact=redact)
    try:
        asyncio.run(_serve(settings, arguments.ready_fd, exit_with_stdin=arguments.exit_with_stdin))
    except ConfigError as error:
        sys.stderr.write(f"relay: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m streamwarden.devkit.relay")
    parser.add_argument("--host", default="127.0.0.1", help="address of the RTSP side")
    parser.add_argument("--rtsp-port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--control-port", type=int, default=0, help="always on loopback")
    parser.add_argument("--auth-url", help="MediaMTX's authHTTPAddress; without it all may in")
    parser.add_argument("--ready-fd", type=int, default=1, help="where the line of JSON goes")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when stdin is closed")
    return parser


async def _serve(settings: RelaySettings, ready_fd: int, *, exit_with_stdin: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:
        loop.add_reader(0, _read_stdin, stop)
    relay = Relay(settings)
    _tell(ready_fd, await relay.start())
    await stop.wait()
    await relay.stop()


def _read_stdin(stop: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        stop.set()


def _tell(ready_fd: int, ports: RelayPorts) -> None:
    ready = {"rtsp_port": ports.rtsp, "control_port": ports.control, "pid": os.getpid()}
    os.write(ready_fd, json.dumps(ready).encode() + b"\n")
    if ready_fd > 2:  # noqa: PLR2004 - standard streams stay open
        os.close(ready_fd)


if __name__ == "__main__":
    sys.exit(main())
