"""A real file system that hangs: ext4 in a file, frozen by ``fsfreeze``. It takes root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BYTES = 192 * 1024**2


class LoopDisk:
    """A mounted file system of its own. While it is frozen every write to it hangs; reads do not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def freeze(self) -> None:
        """Have writes hang from now on."""
        _run("fsfreeze", "--freeze", str(self.folder))

    def thaw(self) -> None:
        """Let the writes that hang, and all others, go on."""
        _run("fsfreeze", "--unfreeze", str(self.folder))


@contextmanager
def loop_disk(folder: Path) -> Iterator[LoopDisk]:
    """Yield a file system mounted at ``folder``, a new one; skip the test where none can be mounted."""
    image = folder.with_name(f"{folder.name}.ext4")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(_BYTES)
    try:
        _run("mkfs.ext4", "-q", "-F", str(image))
        _run("mount", "-o", "loop", str(image), str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        pytest.skip(f"no loop device here (it takes root): {reason.strip()}")
    try:
        yield LoopDisk(folder)
    finally:
        # Whatever has become of the test: a process in a frozen write could not even be killed.
        subprocess.run(["fsfreeze", "--unfreeze", str(folder)], capture_output=True, check=False)
        _run("umount", "--lazy", str(folder))
        image.unlink()


def _run(*argv: str) -> None:
    subprocess.run(argv, capture_output=True, text=True, check=True)
