"""The demo with a stand-in for the product's roles, and the real relay and cameras."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types
import psutil
import pytest

from streamwarden.clock import Clock
from streamwarden.devkit import demo as demo_module
from streamwarden.devkit.demo import Demo, DemoFailed, DemoOptions, DemoParts, DemoStopped
from streamwarden.devkit.demo_ports import DemoPorts, demo_ports
from streamwarden.devkit.demo_secrets import demo_secrets
from tests.integration.devkit.fake_product import Product, ProductServer

READY_FIELDS = {
    "webui", "api", "internal_api", "streaming", "token", "sign_in_url", "cameras", "record_root",
    "media_server", "rtsp", "internal_token",
}  # fmt: skip


class DemoHarness:
    """What a demo is given, and what was done with it, in order."""

    def __init__(self, data_dir: Path, *, cameras: int = 1) -> None:
        self.ports: DemoPorts = demo_ports(0)
        self.product = Product(rtsp_url=f"rtsp://127.0.0.1:{self.ports.rtsp}")
        self.done: list[str] = []
        self.overrides: dict[str, object] = {}
        self.stop = threading.Event()
        self.options = DemoOptions(
            data_dir=data_dir, ports=self.ports, cameras=cameras, segment_seconds=1
        )

    def demo(self) -> Demo:
        parts = DemoParts(
            start_roles=self._start_roles,
            user_token=lambda _overrides: "hush",
            start_database=self._start_database,
            stop_database=lambda: self.done.append("database stopped"),
            ffmpeg=imageio_ffmpeg.get_ffmpeg_exe(),
            clock=Clock(),
            environ={"PATH": "/nowhere", "XDG_CACHE_HOME": "/dev/null"},
            stop_timeout_s=5,
        )
        return Demo(self.options, demo_secrets(self.options.data_dir), parts, self.stop)

    def _start_database(self) -> str:
        self.done.append("database started")
        return "postgresql://h/d"

    def _start_roles(self, overrides: Mapping[str, object]) -> ProductServer:
        self.done.append("roles started")
        self.overrides = dict(overrides)
        done = self.done
        hook = ProductServer(self.product, self.ports.internal_api)

        class Roles(ProductServer):
            def stop(self, deadline_s: float = 0) -> None:
                done.append("roles stopped")
                super().stop(deadline_s)
                hook.stop()

        return Roles(self.product, self.ports.api)


@pytest.fixture
def harness(tmp_path: Path) -> DemoHarness:
    return DemoHarness(tmp_path)


def ready(line: str) -> dict[str, Any]:
    word, _, shown = line.partition(" ")
    assert word == "READY"
    fields: dict[str, Any] = json.loads(shown)
    return fields


def test_the_ready_line_has_what_the_contract_says(harness: DemoHarness) -> None:
    with harness.demo().running() as line:
        shown = ready(line)
    assert set(shown) == READY_FIELDS
    assert shown["api"] == f"http://127.0.0.1:{harness.ports.api}"
    assert shown["cameras"] == [harness.product.cameras[0]["id"]]
    webui = f"http://127.0.0.1:{harness.ports.webui}"
    assert (shown["webui"], shown["sign_in_url"]) == (webui, f"{webui}/#token=hush")
    assert shown["media_server"] == "devkit"
    assert shown["token"] == "hush"
    assert "\n" not in line


def test_it_records_as_a_user_would(harness: DemoHarness) -> None:
    harness.product.unavailable = 2
    with harness.demo().running():
        assert harness.product.wanted == {harness.product.cameras[0]["id"]}
        assert harness.product.settings == {"video_segment_seconds": 1}
        assert harness.product.bearers >= {"Bearer hush"}


def test_it_stops_in_the_reverse_order_and_leaves_no_process(harness: DemoHarness) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with harness.demo().running():
        started = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert len(started) >= 2  # the relay and a camera
    assert harness.done == [
        "database started",
        "roles started",
        "roles stopped",
        "database stopped",
    ]
    assert not any(psutil.pid_exists(pid) for pid in started)


def test_without_webrtc_the_product_is_told_of_none(harness: DemoHarness) -> None:
    with harness.demo().running():
        assert harness.overrides["whep_url"] is None
        assert harness.overrides["rtsp_publish_url"] == harness.product.rtsp_url


def test_cameras_of_an_earlier_demo_are_used_again_and_spare_ones_stopped(
    harness: DemoHarness,
) -> None:
    harness.product.cameras = [
        {"id": str(uuid4()), "name": f"Camera {n}", "owner": "demo"} for n in range(2)
    ]
    harness.product.cameras.append({"id": str(uuid4()), "name": "Not ours", "owner": "alice"})
    first, spare, other = (camera["id"] for camera in harness.product.cameras)
    harness.product.wanted = {spare, other}
    with harness.demo().running() as line:
        assert ready(line)["cameras"] == [first]
        assert harness.product.wanted == {first, other}


def test_asked_to_stop_while_it_starts_it_stops_what_it_has_started(harness: DemoHarness) -> None:
    harness.product.records = False
    asked = threading.Timer(1.0, harness.stop.set)
    asked.start()
    with pytest.raises(DemoStopped), harness.demo().running():
        pytest.fail("it was never ready")
    asked.join()
    assert harness.done[-1] == "database stopped"


def test_when_nothing_is_recorded_it_says_what_the_cameras_do(
    harness: DemoHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "_FIRST_SEGMENT_WITHIN_S", -2.9)
    harness.product.records = False
    with pytest.raises(DemoFailed, match=r"backoff.*source_offline"), harness.demo().running():
        pytest.fail("it was never ready")
    assert harness.done[-1] == "database stopped"


def test_a_database_that_does_not_start_leaves_nothing_running(harness: DemoHarness) -> None:
    parts_demo = harness.demo()
    object.__setattr__(parts_demo._parts, "start_database", _fails)
    with pytest.raises(OSError, match="no room"), parts_demo.running():
        pytest.fail("it was never ready")
    assert harness.done == ["database stopped"]


def _fails() -> str:
    raise OSError("no room")
