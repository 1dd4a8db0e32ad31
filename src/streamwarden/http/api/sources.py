"""Where a camera is pulled from: what is sent of it, and what changes by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from streamwarden.auth.source_changes import FIELDS, SourceChange, SourcePlanner
from streamwarden.auth.source_urls import MAX_PASSWORD_CHARS, MAX_SOURCE_CHARS, MAX_USERNAME_CHARS
from streamwarden.http.api.ports import SourceTable
from streamwarden.http.models import Model

_SECRET: dict[str, Any] = {"writeOnly": True, "format": "password"}

# None of these is shown in a repr: the URL may hold the password, too.
SourceUrlText = Annotated[
    str, Field(min_length=1, max_length=MAX_SOURCE_CHARS, description="rtsp:// or rtsps://")
]
Username = Annotated[str, Field(min_length=1, max_length=MAX_USERNAME_CHARS)]
Password = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_CHARS)]


class SourceFields(Model):
    """Where the camera is pulled from, and what it is shown. Null removes; the password never returns."""

    source_url: SourceUrlText | None = Field(default=None, repr=False)
    source_username: Username | None = Field(
        default=None, repr=False, json_schema_extra={"writeOnly": True}
    )
    source_password: Password | None = Field(default=None, repr=False, json_schema_extra=_SECRET)

    def sources_given(self) -> dict[str, str | None]:
        """Return what was sent of it, by name."""
        return self.model_dump(include=set(FIELDS), exclude_unset=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Plans changes of sources. ``wake`` has the media server told now."""

    table: SourceTable
    planner: SourcePlanner
    wake: Callable[[], None]

    def plan(
        self, camera_id: UUID, path: str, given: dict[str, str | None], *, is_new: bool = False
    ) -> SourceChange | None:
        """Return what changes, None where nothing does; raises as the planner does."""
        before = None if is_new else self.table.get(camera_id)
        return self.planner.plan(camera_id, path, before, given)
