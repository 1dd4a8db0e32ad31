"""`make fuzz`: tries the readers of what an attacker may write for as long as is wanted.

    make fuzz ARGS="--seconds 600"        ten minutes for each target, two at a time
    make fuzz ARGS="--seconds 60 mp4 rtsp"

Each target runs in a process of its own under a limit of memory. Inputs are hypothesis's, with new seeds
in every round; one that raises an error is made as small as possible and shown. Keep it as a test beside
the reader's others.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MEMORY_BYTES = 1024**3
EXAMPLES = 2_000
"""In one round of a target."""
MOST_S = 2.0
"""Processor time for one input."""


def run(name: str, seconds: float) -> None:
    """Try one target; an input with a finding raises."""
    from tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415 - after sys.path

    (target,) = (one for one in TARGETS if one.name == name)
    structlog.configure(processors=[_drop])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    ends, tried, number = time.monotonic() + seconds, 0, os.getpid()

    def try_it(given_input: object) -> None:
        nonlocal tried
        if time.monotonic() > ends:
            return
        tried += 1
        began = time.thread_time()
        target.read(given_input)
        took = time.thread_time() - began
        if took > MOST_S:
            raise TimeoutError(f"{took:.1f} s for one input")

    configure = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
    )
    while time.monotonic() < ends:
        number += 1
        seed(number)(configure(given(target.inputs)(try_it)))()
    print(f"{name}: {tried} inputs, no finding", flush=True)


def _drop(*_: object) -> NoReturn:
    raise structlog.DropEvent


def start(name: str, seconds: float) -> bool:
    """Try one target in a process of its own; return whether it had no finding."""
    argv = [sys.executable, __file__, "--seconds", str(seconds), "--alone", name]
    environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        print(f"FINDING in {name}:\n{done.stderr[-6000:]}", flush=True)
    return done.returncode == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Try the named targets, all by default; return 1 if one had a finding."""
    from tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415 - after sys.path

    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", choices=[[], *names], help="all by default")
    arguments = parser.parse_args(argv)
    if arguments.alone:
        run(arguments.targets[0], arguments.seconds)
        return 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        wanted = arguments.targets or names
        clean = list(pool.map(lambda name: start(name, arguments.seconds), wanted))
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
