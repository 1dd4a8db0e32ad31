"""Exports as JSON between the roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from streamwarden.http.models import Id, Model, Moment, UserId
from streamwarden.http.operations import Answer, Media

PROOF_TYPE: Final = "text/plain"
PROOF_ANSWERS: Final[Mapping[int, Answer]] = {
    200: Media(content_type=PROOF_TYPE, about="A line of JSON and its signature in base64")
}

ExportState = Literal["queued", "running", "done", "failed", "cancelled"]


class Stretch(Model):
    """A stretch of time without a gap."""

    from_: Moment = Field(alias="from")
    to: Moment


class ExportModel(Model):
    """A range on its way to one MP4. ``progress`` is 0 to 1, ``expires_at`` when it is deleted.

    ``covers`` are the stretches that were recorded: the file plays one after the other. ``proven``:
    it has a proof, with which others can check it.
    """

    id: Id
    state: ExportState
    progress: float
    from_: Moment = Field(alias="from")
    to: Moment
    size_bytes: int | None = Field(alias="bytes")
    error: str | None
    created_at: Moment
    expires_at: Moment
    covers: list[Stretch]
    proven: bool = False


class OwnedExport(ExportModel):
    """And who asked for it."""

    user_id: UserId


class OwnedExports(Model):
    """A camera's exports, newest first."""

    items: list[OwnedExport]


class ExportOrder(Model):
    """Which time, and for whom."""

    user_id: UserId
    from_: Moment = Field(alias="from")
    to: Moment
