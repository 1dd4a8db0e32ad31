"""``docs/api.md``: its example, run as it stands by a shell, against the started program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation
from tests.acceptance.program import clean_environment

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
NEEDS = ("bash", "curl", "python3")

pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="needs the checkout, not an installed package"),
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDS)), reason=f"no {' or '.join(NEEDS)}: install them"
    ),
]


def example(api: str, token: str) -> str:
    """The first block of the page, with this program's address and a user's token."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(r"## The flow, in curl\n.*?```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    script, count = re.subn(r"(?m)^API=.*$", f"API={api}", block[1])
    script, counted = re.subn(r"(?m)^TOKEN=.*$", f"TOKEN={token}", script)
    assert (count, counted) == (1, 1)
    return script


def test_the_flow_in_curl_works_as_it_is_written(
    installation: Installation, tmp_path: Path
) -> None:
    camera = installation.camera(owner="developer")
    installation.publish(camera)
    installation.await_published(camera)
    assert camera.connect().status == 200
    camera.await_segments(1)
    script = example(installation.api_url, installation.token_of("developer"))
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    assert camera.camera_id in done.stdout
    assert '"publish_rtsp_url"' in done.stdout
    assert '"kind":"segment"' in done.stdout.replace(" ", "")
    assert "#EXTM3U" in done.stdout
    assert (tmp_path / "snapshot.jpg").read_bytes().startswith(b"\xff\xd8")
    assert camera.await_status("stopped")
