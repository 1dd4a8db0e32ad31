"""The demo with a camera of one's own: pulled by the media server, its password in no argument."""

from __future__ import annotations

import tomllib
from pathlib import Path

from streamwarden.devkit.camera_server import CameraServer, Login
from tests.acceptance.demo import DemoProgram
from tests.acceptance.program import programs

LOGIN = Login("viewer", "pa ss@word/9")


def test_a_camera_with_a_password_is_pulled_and_its_password_is_in_no_argument(
    media: dict[str, str], ffmpeg: str, tmp_path: Path
) -> None:
    with CameraServer(ffmpeg=ffmpeg, login=LOGIN) as server:
        server.serve("yard")
        assert server.await_picture("yard")
        listed = tmp_path / "cameras.txt"
        listed.write_text(f"# mine\n\n{server.url('yard', LOGIN)}\n")
        demo = DemoProgram(tmp_path / "demo", media=media, cameras=1, segment_s=2)
        demo.program.arguments += ("--camera-file", str(listed))
        try:
            demo.start()
            (camera,) = demo.cameras
            shown = camera.api.get(camera.path).json()
            assert shown["source_url"] == server.url("yard")
            assert shown["source_credentials"] is True
            assert camera.segments()
            arguments = [" ".join(child.cmdline()) for child in demo.program.tree()]
            assert arguments
            assert not [line for line in arguments if "pa%20ss" in line or LOGIN.password in line]
            kept = tomllib.loads((demo.data_dir / "settings.toml").read_text())
            assert "127.0.0.1" in kept["source_networks"]
        finally:
            demo.program.clean_up()


def test_what_the_demo_cannot_do_is_refused_in_words_and_at_once(tmp_path: Path) -> None:
    refused = {
        ("STREAMWARDEN_HOST", "0.0.0.0"): "the demo listens on 127.0.0.1 only",  # noqa: S104
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none"): "Connection refused",
    }
    with programs(tmp_path) as make:
        for (name, value), words in refused.items():
            arguments = ("demo", "--port-base", "0", "--data-dir", str(tmp_path / "data"))
            program = make(*arguments, environ={name: value}).start()
            assert program.await_exit() == 1
            assert words in program.stderr
