"""Making an export: which pieces of which files FFmpeg is to join, and the proof of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

from streamwarden.app.export_files import FILE, LIST, PART, PROOF, ExportFiles
from streamwarden.app.export_orders import SEAM, Export
from streamwarden.media.joining import Piece, concat_list, joining_argv, piece_of
from streamwarden.storage.rows import Segment


class Prover(Protocol):
    """Signs what was exported."""

    def prove(
        self,
        *,
        export_id: UUID,
        camera_id: UUID,
        from_: datetime,
        to: datetime,
        segments: Sequence[Segment],
        file: Path,
    ) -> bytes:
        """Return the proof of a file; raises StreamwardenError, OSError."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What FFmpeg is to do in the folder of exports, and how much will come of it."""

    argv: Sequence[str]
    total_ms: int


class ExportMaker:
    """Reads and writes files, which takes its time. Any thread."""

    def __init__(
        self,
        *,
        ffmpeg: Callable[[], str],
        record_root: Path,
        files: ExportFiles,
        prover: Prover | None,
    ) -> None:
        self._ffmpeg = ffmpeg
        self._record_root = record_root
        self._files = files
        self._prover = prover

    def prepare(self, export: Export) -> Joining | None:
        """Write down what is to be joined; None if nothing of the range is left."""
        pieces = self._pieces(export)
        if not pieces:
            return None
        words, part = self._files.path(export, LIST), self._files.path(export, PART)
        words.write_text(concat_list(pieces), encoding="utf-8")
        argv = joining_argv(self._ffmpeg(), words.name, part.name)
        return Joining(argv, total_ms=max(1, sum(piece.media_ms for piece in pieces)))

    def keep(self, export: Export) -> None:
        """Give what FFmpeg has written its name; raise OSError."""
        self._files.path(export, PART).rename(self._files.path(export, FILE))

    def prove(self, export: Export) -> bool:
        """Sign what was exported; return False where nothing is signed. Raises what ``Prover`` does."""
        if self._prover is None:
            return False
        proof = self._prover.prove(
            export_id=export.id,
            camera_id=export.camera_id,
            from_=export.from_,
            to=export.to,
            segments=export.segments,
            file=self._files.path(export, FILE),
        )
        self._files.path(export, PROOF).write_bytes(proof)
        return True

    def _pieces(self, export: Export) -> list[Piece]:
        found = (self._piece(export, segment) for segment in export.segments)
        return [piece for piece in found if piece is not None]

    def _piece(self, export: Export, segment: Segment) -> Piece | None:
        path = (self._record_root / segment.path).resolve()
        if not path.is_relative_to(self._record_root.resolve()):
            return None
        millisecond = timedelta(milliseconds=1)
        ends = next((one for one in export.segments if one.started_at > segment.started_at), None)
        until = min(export.to, ends.started_at) if ends is not None else export.to
        before = max(0, (export.from_ - segment.started_at) // millisecond)
        # What is next to a neighbour of the same run is taken whole: its length is the media's own.
        cut = until < segment.ended_at - SEAM
        after = (until - segment.started_at) // millisecond if cut else segment.media_ms
        return piece_of(path, from_ms=before, to_ms=after)
