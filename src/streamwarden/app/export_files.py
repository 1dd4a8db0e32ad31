"""Where exports lie: under the record root, in streamwarden's own folder, named after their ids."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from streamwarden.app.export_orders import Export, ExportNotFound
from streamwarden.app.housekeeping import free_bytes
from streamwarden.http.streaming.ports import OpenFile
from streamwarden.media.names import STATE

FILE: Final = ".mp4"
PROOF: Final = ".proof"
LIST: Final = ".txt"
PART: Final = ".part"
"""FFmpeg reads the list and writes the part; neither outlives the making."""


class ExportFiles:
    """The files of every export. Any thread."""

    def __init__(self, record_root: Path) -> None:
        self.folder = record_root / STATE / "exports"

    def clear(self) -> None:
        """Remove what a former process has left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, export: Export, suffix: str) -> Path:
        """Return one of an export's files."""
        return self.folder / f"{export.id}{suffix}"

    def remove(self, export: Export, *suffixes: str) -> None:
        """Remove those of an export's files that are there."""
        for suffix in suffixes:
            self.path(export, suffix).unlink(missing_ok=True)

    def open(self, export: Export) -> OpenFile:
        """Open what was exported; raise ExportNotFound."""
        try:
            stream = self.path(export, FILE).open("rb")
        except OSError as error:
            raise ExportNotFound("the export's file is gone") from error
        return OpenFile(
            stream=stream,
            size_bytes=os.fstat(stream.fileno()).st_size,
            modified_at=export.created_at.replace(microsecond=0),
            etag=str(export.id),
        )

    def proof(self, export: Export) -> bytes:
        """Return an export's proof; raise ExportNotFound."""
        try:
            return self.path(export, PROOF).read_bytes()
        except OSError as error:
            raise ExportNotFound("the export's proof is gone") from error

    def disk_bytes(self) -> tuple[int, int]:
        """Return the size of the disk, and how much of it is free."""
        state = os.statvfs(self.folder)
        return state.f_blocks * state.f_frsize, free_bytes(self.folder)
