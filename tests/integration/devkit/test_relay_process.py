from __future__ import annotations

import json
import os
import select
import subprocess
import sys

import pytest

from streamwarden.devkit.relay.relay_process import RelayProcess
from streamwarden.errors import Unavailable
from tests.integration.devkit.relay_client import RtspClient


def test_a_killed_relay_comes_back_on_the_same_ports() -> None:
    with RelayProcess() as relay:
        ports = relay.ports
        with RtspClient(ports.rtsp) as camera:
            camera.publish("a")
            relay.kill()
            camera.ends()
        assert relay.start() == ports
        with RtspClient(ports.rtsp) as camera:
            camera.publish("a")


def test_sigterm_ends_it_cleanly_with_clients_connected() -> None:
    relay = RelayProcess()
    relay.start()
    with RtspClient(relay.ports.rtsp) as camera:
        camera.publish("a")
        assert relay.stop() == 0
        camera.ends()


def test_a_busy_port_is_told_and_ends_it() -> None:
    with RelayProcess() as relay, pytest.raises(Unavailable):
        RelayProcess(rtsp_port=relay.ports.rtsp).start()


def test_it_ends_when_its_parent_is_killed() -> None:
    program = (
        "import sys, time; from streamwarden.devkit.relay import RelayProcess\n"
        "relay = RelayProcess(); relay.start(); print(relay._child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        watch = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([watch], [], [], 5)[0]
    finally:
        os.close(watch)


def test_it_tells_its_ports_on_the_descriptor_that_it_is_given() -> None:
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "streamwarden.devkit.relay", "--ready-fd", str(write_end)]
    with subprocess.Popen(command, pass_fds=[write_end]) as child, os.fdopen(read_end) as ready:
        os.close(write_end)
        told = json.loads(ready.readline())
        assert ready.read() == ""
        assert told["pid"] == child.pid
        with RtspClient(told["rtsp_port"]) as client:
            assert client.ask("OPTIONS", "").status == 200
        child.terminate()
        assert child.wait(5) == 0
