"""An installation whose every part can be broken on its own, and what must hold of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote

from streamwarden.devkit.clock_reading import clocks_in_file, moment_of
from streamwarden.devkit.postgres import EmbeddedPostgres
from streamwarden.paths import parse_stored
from tests.acceptance.calls import Caller
from tests.acceptance.continuity import unseen
from tests.acceptance.footage import clock_bound_s, file_of, moment, stored_files
from tests.acceptance.installation import OWNER, Installation, database_with_password
from tests.acceptance.program import Program, programs
from tests.acceptance.user import CameraUser, Item
from tests.acceptance.waiting import wait_for

SEGMENT_S = 2
_PASSWORD = "breakable"


class BreakableInstallation(Installation):
    """An installation with a Postgres of its own."""

    def __init__(self, folder: Path, make: Callable[..., Program], *, ffmpeg: str) -> None:
        self.postgres = EmbeddedPostgres(folder / "postgres", fsync=False)
        url = database_with_password(self.postgres, _PASSWORD)
        self._paths: dict[str, str] = {}
        super().__init__(folder, make, database_url=url, ffmpeg=ffmpeg)

    def token_of(self, sub: str, *roles: str) -> str:
        """Return a user's token that outlives a clock that is set forward by an hour."""
        return self._users.sign(sub, roles=roles, ttl_s=86400)

    def path_of(self, camera: CameraUser) -> str:
        """Return where the camera publishes, also while nobody could be asked."""
        if camera.camera_id not in self._paths:
            self._paths[camera.camera_id] = super().path_of(camera)
        return self._paths[camera.camera_id]

    def await_api(self) -> None:
        """Wait until the API has its database again."""
        api = Caller(self.api_url)
        wait_for("the API", lambda: api.get("/readyz").status == 200)

    @property
    def environment(self) -> dict[str, str]:
        """The settings that both programs are started with."""
        return self.environ(self.database_url)

    def close(self) -> None:
        """Stop what this class has started."""
        super().close()
        self.postgres.stop()

    def shorten_segments(self) -> None:
        """Have every segment last two seconds: long enough for a torn tail to be worth keeping."""
        self.set_segment_seconds(SEGMENT_S)

    def set_segment_seconds(self, seconds: int) -> None:
        """Change how long segments are."""
        key = "/api/v1/settings/video_segment_seconds"
        assert self.admin.put(key, {"value": seconds}).status == 200

    def recorded_camera(self) -> CameraUser:
        """Return a camera that publishes, records, and has one whole segment."""
        return self.recorded_cameras(1)[0]

    def recorded_cameras(self, count: int) -> list[CameraUser]:
        """Return several of them."""
        cameras = [self.camera() for _ in range(count)]
        for camera in cameras:
            self.publish(camera)
        for camera in cameras:
            self.await_published(camera)
            assert camera.connect().status == 200
        for camera in cameras:
            camera.await_status("running")
            camera.await_segments(1)
        return cameras

    def folder_of(self, camera: CameraUser) -> Path:
        """Return where a camera's files are."""
        return self.record_root / OWNER / camera.camera_id

    # The relay's faults

    def fault(self, camera: CameraUser | None, **parts: object) -> None:
        """Have the relay misbehave towards the readers of a camera, or (None) of all."""
        answer = self._control().post(self._faults_of(camera), parts)
        assert answer.status == 200, answer

    def heal(self, camera: CameraUser | None = None) -> None:
        """Have the relay behave again."""
        self._control().call("DELETE", self._faults_of(camera))

    def _faults_of(self, camera: CameraUser | None) -> str:
        return f"/devkit/faults/{quote(self.path_of(camera))}" if camera else "/devkit/faults"

    def _control(self) -> Caller:
        return Caller(self.relay.control_url, self.relay.control_headers)

    # What must hold

    def check_account(self, *cameras: CameraUser) -> None:
        """Settle cameras and check that every second of them is accounted for, and rightly.

        All are settled before the first is looked at: what is decoded must not grow meanwhile.
        """
        for camera in cameras:
            self.settle(camera)
        for camera in cameras:
            none("verify", self.findings(camera))
            none("file without a row", rows_and_files(camera, self.folder_of(camera)))
            none("clock", clocks_that_disagree(self, camera))
            none("loss unknown to the ledger", unexplained_losses(self, camera))


@contextmanager
def breakable_installation(folder: Path, ffmpeg: str) -> Iterator[BreakableInstallation]:
    """Yield an installation that is not yet started; end it, whatever has become of it."""
    with programs(folder) as make:
        installation = BreakableInstallation(folder, make, ffmpeg=ffmpeg)
        try:
            yield installation
        finally:
            installation.close()


def started(installation: BreakableInstallation) -> BreakableInstallation:
    """Start the API and the streaming role, with short segments."""
    installation.start()
    installation.shorten_segments()
    return installation


def none(what: str, found: list[str]) -> None:
    """Check that nothing was found; say what was."""
    assert not found, "\n".join([f"{what}:", *found])


def rows_and_files(camera: CameraUser, folder: Path) -> list[str]:
    """Return every file without a row; a row without a file fails at once."""
    rows = [file_of(folder, segment) for segment in camera.segments()]
    assert len(rows) == len(set(rows)), "two rows speak of one file"
    return sorted(str(file) for file in set(stored_files(folder)) ^ set(rows))


@cache  # a stored file never changes, and decoding is what costs time here
def _readings(ffmpeg: str, file: Path) -> tuple[float | None, ...]:
    return tuple(clocks_in_file(ffmpeg, file))


def pictures(ffmpeg: str, file: Path, *, near: datetime) -> list[datetime]:
    """Return when each picture of a file was taken, by the clock in it."""
    readings = _readings(ffmpeg, file)
    return [moment_of(reading, near=near) for reading in readings if reading is not None]


def _pictures_by_file(ffmpeg: str, folder: Path) -> Iterator[list[datetime]]:
    """Yield when the pictures of each stored file of a camera were taken."""
    for file in stored_files(folder):
        name = parse_stored(file.parent.name, file.name)
        assert name is not None
        yield pictures(ffmpeg, file, near=name.started_at)


def missing_pictures(installation: BreakableInstallation, camera: CameraUser) -> list[str]:
    """Return where pictures are missing between a camera's first and last."""
    lost = unseen(_pictures_by_file(installation.ffmpeg, installation.folder_of(camera)))
    return [f"{earlier:%T.%f} to {later:%T.%f}" for earlier, later in lost]


def unexplained_losses(installation: BreakableInstallation, camera: CameraUser) -> list[str]:
    """Return every stretch without pictures of which the ledger knows nothing."""
    gaps = [gap for gap in camera.gaps() if gap["ended_at"]]
    return [
        f"{earlier:%T.%f} to {later:%T.%f}"
        for earlier, later in unseen(
            _pictures_by_file(installation.ffmpeg, installation.folder_of(camera))
        )
        if not any(_meet(gap, earlier, later) for gap in gaps)
    ]


def _meet(gap: Item, earlier: datetime, later: datetime) -> bool:
    return moment(gap["started_at"]) <= later and moment(gap["ended_at"]) >= earlier


def clocks_that_disagree(installation: BreakableInstallation, camera: CameraUser) -> list[str]:
    """Return every segment in which a picture's clock and the index differ too much."""
    wrong = []
    for segment in camera.segments():
        first, last = moment(segment["started_at"]), moment(segment["ended_at"])
        file = file_of(installation.folder_of(camera), segment)
        taken = pictures(installation.ffmpeg, file, near=first)
        assert taken, f"no clock can be read in {file.name}"
        off_s = (taken[0] - first).total_seconds(), (taken[-1] - last).total_seconds()
        if max(map(abs, off_s)) >= clock_bound_s(segment):
            wrong.append(f"{file.name} {dict(segment)}: {off_s[0]:+.3f} s, {off_s[1]:+.3f} s")
    return wrong


def since(item: Item, began: datetime) -> bool:
    """Return whether a gap or segment reaches beyond ``began``."""
    return item["ended_at"] is None or moment(item["ended_at"]) >= began


def instant() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


def labels(camera: CameraUser, **others: str) -> Mapping[str, str]:
    """Return a camera's labels in the metrics."""
    return {"camera": camera.camera_id, **others}
