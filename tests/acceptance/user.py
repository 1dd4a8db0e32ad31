"""What a user does with one camera, and what they see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tests.acceptance.calls import Answer, Caller, bearer
from tests.acceptance.waiting import wait_for

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CameraUser:
    """A camera in the hands of one user."""

    api: Caller
    camera_id: str

    @classmethod
    def of(cls, base: str, token: str, camera_id: str) -> Self:
        """Return the camera in the hands of the token's user."""
        return cls(bearer(base, token), camera_id)

    @property
    def path(self) -> str:
        """The camera's part of the API."""
        return f"/api/v1/camera/{self.camera_id}"

    def connect(self, body: object = None) -> Answer:
        """Press the button."""
        return self.api.post(f"{self.path}/stream/connect", body)

    def disconnect(self) -> Answer:
        """Press the other button."""
        return self.api.post(f"{self.path}/stream/disconnect")

    def status(self) -> Item:
        """Return the status; an answer that is none fails the test."""
        answer = self.api.get(f"{self.path}/stream/status")
        assert answer.status == 200, answer
        status: Item = answer.json()
        return status

    def publish_url(self) -> str:
        """Return a URL that the camera may push to."""
        answer = self.api.get(f"{self.path}/publish_rtsp_url")
        assert answer.status == 200, answer
        return str(answer.json()["publish_rtsp_url"])

    def recordings(self, **query: object) -> list[Item]:
        """Return every segment and gap, page by page."""
        found: list[Item] = []
        cursor: dict[str, object] = {}
        while True:
            answer = self.api.get(f"{self.path}/recordings", {"limit": 100, **query, **cursor})
            assert answer.status == 200, answer
            page = answer.json()
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def segments(self) -> list[Item]:
        """Return the segments, in time order."""
        return [item for item in self.recordings() if item["kind"] == "segment"]

    def gaps(self) -> list[Item]:
        """Return the gaps, in time order."""
        return [item for item in self.recordings() if item["kind"] == "gap"]

    def file(self, segment: Item, range_: str | None = None) -> Answer:
        """Fetch a segment's file, or a range of it such as ``bytes=0-99``."""
        headers = {"Range": range_} if range_ else None
        return self.api.get(f"{self.path}/recordings/{segment['id']}", headers=headers)

    # What can be waited for

    def await_status(
        self, wanted: str | Callable[[Item], bool], within_s: float | None = None
    ) -> Item:
        """Poll, as the page does, until the status is ``wanted``."""

        def look() -> Item | None:
            status = self.status()
            fits = status["status"] == wanted if isinstance(wanted, str) else wanted(status)
            return status if fits else None

        return wait_for(f"status {wanted} of {self.camera_id}", look, within_s=within_s)

    def await_segments(
        self, count: int, *, run_after: int = 0, within_s: float | None = None
    ) -> list[Item]:
        """Wait for ``count`` whole segments of runs later than ``run_after``; return them."""

        def look() -> list[Item] | None:
            found = [s for s in self.segments() if s["run"] > run_after and not s["salvaged"]]
            return found if len(found) >= count else None

        what = f"{count} segments of runs after {run_after} of {self.camera_id}"
        return wait_for(what, look, within_s=within_s)

    def await_gap(self, fits: Callable[[Item], bool], within_s: float | None = None) -> Item:
        """Wait for a gap that ``fits``; return it."""

        def look() -> Item | None:
            return next((gap for gap in self.gaps() if fits(gap)), None)

        return wait_for(f"the gap of {self.camera_id}", look, within_s=within_s)
