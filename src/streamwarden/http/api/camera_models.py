"""A camera as the API takes it and shows it."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from streamwarden.auth.source_changes import FIELDS
from streamwarden.http.api.ports import CameraRow
from streamwarden.http.api.sources import SourceFields
from streamwarden.http.models import Id, Model, Moment, QueryInteger, StreamPath, UserId

Status = Literal["active", "inactive"]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must hold printable characters only")
    return value


def _without_controls(value: str) -> str:
    # Not isprintable: a name may well hold the wide space of Chinese.
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("must hold no control characters")
    return value


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_controls)
]
Owner = Annotated[UserId, AfterValidator(_printable)]


class CameraModel(Model):
    """A camera."""

    id: Id
    name: str
    path: str
    owner: str
    status: Status
    created_at: Moment
    source_url: str | None
    source_credentials: bool


class CameraList(Model):
    """Some cameras; ``next_cursor`` asks for those that follow, null at the end."""

    items: list[CameraModel]
    next_cursor: str | None


class ListQuery(Model):
    """Which cameras."""

    limit: QueryInteger = Field(default=100, ge=1, le=1_000)
    cursor: str | None = Field(default=None, max_length=128)


class NewCamera(SourceFields):
    """A camera to be. ``path`` defaults to its id; without ``source_url`` it pushes."""

    name: Name
    owner: Owner
    path: StreamPath | None = None
    status: Status = "active"


def _optional(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class CameraChanges(SourceFields):
    """What is given is changed; nothing but the source and its credentials can be set to null."""

    # The defaults only make the fields optional: `given` leaves them out.
    name: Name = Field(default="", json_schema_extra=_optional)
    owner: Owner = Field(default="", json_schema_extra=_optional)
    path: StreamPath = Field(default="", json_schema_extra=_optional)
    status: Status = Field(default="active", json_schema_extra=_optional)

    def given(self) -> dict[str, Any]:
        """Return what was sent, by name, but for the source."""
        return self.model_dump(exclude_unset=True, exclude=set(FIELDS))


class RemoveQuery(Model):
    """What becomes of the recordings: kept until retention, or deleted now."""

    recordings: Literal["keep", "delete"] = "keep"


def model_of(camera: CameraRow) -> CameraModel:
    """Return a camera as it is shown."""
    return CameraModel.model_validate(
        {name: getattr(camera, name) for name in CameraModel.model_fields}
    )
