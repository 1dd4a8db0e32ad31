"""What the API role's apps need from the streaming role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol
from uuid import UUID


class OpenedFile(Protocol):
    """A file on its way from the streaming role."""

    @property
    def status(self) -> int: ...  # noqa: D102 - as the contract names it
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102 - likewise

    def chunks(self) -> Iterator[bytes]:
        """Yield the file piece by piece."""

    def close(self) -> None:
        """Give the connection up."""


class Streaming(Protocol):
    """The streaming role; every call raises Unavailable ``streaming_unavailable`` if it is away."""

    def start(
        self,
        *,
        owner: str,
        camera_id: UUID,
        rtsp_url: str,
        segment_seconds: int,
        request_id: str | None,
    ) -> Mapping[str, object]:
        """Have the camera recorded; return its status."""

    def stop(self, camera_id: UUID, /, *, request_id: str | None) -> Mapping[str, object]:
        """Have the camera recorded no more; return its status."""

    def status(self, camera_id: UUID, /) -> Mapping[str, object]:
        """Return the camera's status."""

    def open_file(
        self,
        camera_id: UUID,
        segment_id: UUID,
        /,
        *,
        method: str,
        headers: Mapping[str, str],
        request_id: str | None,
    ) -> OpenedFile:
        """Ask for a segment's file."""

    def live(self, camera_id: UUID, /, *, request_id: str | None) -> Mapping[str, object]:
        """Return the newest parts of a camera's files; raise NotFound ``not_live``."""

    def open_live(
        self,
        camera_id: UUID,
        name: str,
        /,
        *,
        method: str,
        headers: Mapping[str, str],
        request_id: str | None,
    ) -> OpenedFile:
        """Ask for one of a camera's newest files."""

    def snapshot(self, camera_id: UUID, width: int, /, *, request_id: str | None) -> bytes:
        """Return the last picture as a JPEG; raise NotFound ``no_picture``."""

    def add_export(
        self, camera_id: UUID, /, *, user_id: str, from_: str, to: str, request_id: str | None
    ) -> Mapping[str, object]:
        """Order an export."""

    def exports(self, camera_id: UUID, /) -> Mapping[str, object]:
        """Return a camera's exports as ``items``."""

    def export(self, camera_id: UUID, export_id: UUID, /) -> Mapping[str, object]:
        """Return an export; raise NotFound ``export_not_found``."""

    def cancel_export(
        self, camera_id: UUID, export_id: UUID, /, *, request_id: str | None
    ) -> Mapping[str, object]:
        """End an export, or delete its file."""

    def open_export(
        self,
        camera_id: UUID,
        export_id: UUID,
        /,
        *,
        method: str,
        headers: Mapping[str, str],
        request_id: str | None,
    ) -> OpenedFile:
        """Ask for an export's file."""

    def export_proof(self, camera_id: UUID, export_id: UUID, /, *, request_id: str | None) -> bytes:
        """Return an export's proof; raise NotFound ``proof_not_available``."""

    def summary(self) -> Mapping[str, object]:
        """Return what operators are shown of the role."""

    def supervision(self) -> Mapping[str, object]:
        """Return the supervision tree."""

    def restart_child(self, child: str, /, *, request_id: str | None) -> Mapping[str, object]:
        """Restart a recorder; raise NotFound ``child_not_found``, Conflict ``not_restartable``."""

    def fragments(self, camera_id: UUID, segment_id: UUID, /) -> Sequence[tuple[int, int]]:
        """Return where a segment's fragments end in its file, and how long each plays in ms."""
