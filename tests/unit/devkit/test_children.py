from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from streamwarden.devkit.child_output import ChildOutput
from streamwarden.devkit.children import (
    ChildCommand,
    ChildNotStarted,
    ChildProcess,
    child_spawner,
    stop_all,
)

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
SECRET_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"


def shell(script: str, name: str = "child") -> ChildProcess:
    return child_spawner().spawn(ChildCommand(name=name, argv=("/bin/sh", "-c", script)))


def heard(child: ChildProcess, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in child.output.tail:
        assert time.monotonic() < deadline, child.output.tail
        threading.Event().wait(0.01)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_the_exit_code_is_told_to_every_thread_that_waits() -> None:
    child = shell("exit 7")
    assert child.wait(30) == 7
    assert child.wait(30) == 7
    assert not child.running


def test_waiting_ends_at_its_deadline() -> None:
    child = shell("exec sleep 60")
    assert child.wait(0.01) is None
    child.stop()


def test_a_child_that_obeys_is_not_killed() -> None:
    child = shell("exec sleep 60")
    assert child.stop(grace_s=5) == -signal.SIGTERM


def test_a_child_that_ignores_term_is_killed_after_the_grace() -> None:
    child = shell(STUBBORN)
    heard(child, "ready")
    assert child.stop(grace_s=0.2) == -signal.SIGKILL


def test_many_stubborn_children_share_one_grace() -> None:
    children = [shell(STUBBORN) for _ in range(6)]
    for child in children:
        heard(child, "ready")
    began = time.monotonic()
    stop_all(children, grace_s=2)
    assert time.monotonic() - began < 10  # one after the other: 12
    assert not any(child.running for child in children)


def test_what_the_child_started_ends_with_it() -> None:
    child = shell("sleep 60 & echo $!; exit 0")
    assert child.wait(30) == 0
    grandchild = int(child.output.tail[0])
    deadline = time.monotonic() + 30
    while not gone(grandchild):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_signal_to_a_child_that_has_ended_goes_to_nobody() -> None:
    child = shell("exit 0")
    child.wait(30)
    child.send(signal.SIGKILL)
    assert child.wait(0) == 0


def test_a_program_that_is_not_there_says_so_without_its_arguments() -> None:
    spec = ChildCommand(name="ghost", argv=("/no/such/program", SECRET_JWT), cwd=Path("/no/such"))
    with pytest.raises(ChildNotStarted) as caught:
        child_spawner().spawn(spec)
    assert "ghost" in str(caught.value)
    assert SECRET_JWT not in f"{caught.value}{spec!r}"


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    children: list[ChildProcess] = []
    asking = threading.Thread(target=lambda: children.append(shell("exec sleep 60")))
    asking.start()
    asking.join()
    assert children[0].wait(0.3) is None
    assert children[0].stop() == -signal.SIGTERM


def test_children_die_with_a_parent_that_is_killed() -> None:
    script = (
        "import sys, threading\n"
        "from streamwarden.devkit.children import ChildCommand, child_spawner\n"
        "child = child_spawner().spawn(ChildCommand(name='c', argv=('sleep', '60')))\n"
        "print(child.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_no_descriptor_is_left_when_children_have_ended() -> None:
    shell("exit 0").wait(30)
    before = open_descriptors()
    for _ in range(5):
        shell("echo x").wait(30)
    deadline = time.monotonic() + 30
    while open_descriptors() > before:  # others' threads open and close some, too
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_output_is_kept_without_its_secrets() -> None:
    output = ChildOutput("camera")
    output.feed(f"cannot open rtsp://h/p?token={SECRET_JWT}: refused\n".encode())
    assert "refused" in output.last_line
    assert SECRET_JWT not in output.last_line


def test_a_secret_split_between_two_reads_is_still_hidden() -> None:
    output = ChildOutput("camera")
    output.feed(f"cannot open rtsp://h/p?token={SECRET_JWT[:20]}".encode())
    output.feed(f"{SECRET_JWT[20:]}: refused\n".encode())
    assert SECRET_JWT[20:] not in output.last_line


def test_a_flood_of_output_stays_bounded() -> None:
    output = ChildOutput("camera")
    for _ in range(1000):
        output.feed(b"x" * 10_000)
        output.feed(b"line\n" * 10)
    assert len(output.tail) <= 20
    assert max(len(line) for line in output.tail) <= 500


def test_a_last_line_without_its_end_is_kept() -> None:
    child = shell("printf last")
    child.wait(30)
    assert child.output.last_line == "last"
