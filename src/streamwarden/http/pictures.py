"""What the routes of snapshots have in common, here and behind the API."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from streamwarden.http.models import Model, QueryInteger
from streamwarden.http.operations import Media

JPEG: Final = "image/jpeg"
PICTURE_ANSWER: Final = Media(content_type=JPEG, about="The last picture")


class WidthQuery(Model):
    """How wide the picture is at most, in pixels."""

    width: QueryInteger = Field(default=640, ge=64, le=1_920)


class PictureQuery(WidthQuery):
    """And a play token, where no header can be sent."""

    token: str | None = Field(default=None, max_length=2_048)
