"""FFmpeg under an account of its own: it records, and what is stored is the server's."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamwarden.devkit.postgres import EmbeddedPostgres
from tests.acceptance.configured_installation import ConfiguredInstallation
from tests.acceptance.conftest import DATABASE_PASSWORD
from tests.acceptance.footage import stored_files
from tests.acceptance.installation import database_with_password
from tests.acceptance.program import programs
from tests.acceptance.waiting import wait_for

ACCOUNT = "nobody"


def _everyone_may_run(program: str) -> bool:
    """Tell whether another account can reach a program: each folder above it must let it through."""
    path = Path(program).resolve()
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres, ffmpeg: str
) -> Iterator[ConfiguredInstallation]:
    if os.geteuid() != 0:
        pytest.skip("only root can start FFmpeg as somebody else")
    if not _everyone_may_run(ffmpeg):
        pytest.skip("FFmpeg is where no other account can run it; put one on PATH")
    folder = tmp_path_factory.mktemp("ffmpeg-user")
    url = database_with_password(postgres_server, DATABASE_PASSWORD)
    with programs(folder) as make:
        changed = {"FFMPEG_USER": ACCOUNT}
        installation = ConfiguredInstallation(
            folder, make, database_url=url, ffmpeg=ffmpeg, changed=changed
        )
        try:
            installation.start()
            assert (
                installation.admin.put(
                    "/api/v1/settings/video_segment_seconds", {"value": 2}
                ).status
                == 200
            )
            yield installation
        finally:
            installation.close()


def test_another_account_records_and_owns_nothing_that_is_stored(
    site: ConfiguredInstallation,
) -> None:
    camera = site.camera()
    site.publish(camera)
    site.await_published(camera)
    assert camera.connect().status == 200
    camera.await_status("running")
    recorder = wait_for(
        "an FFmpeg",
        lambda: site.streaming.recorder(site.record_root, camera.camera_id),
    )
    account = pwd.getpwnam(ACCOUNT)
    assert set(recorder.uids()) == {account.pw_uid}
    assert set(recorder.gids()) == {account.pw_gid}
    camera.await_segments(2)
    assert site.to_streaming.post(f"/streams/{camera.camera_id}/restart").status == 200
    camera.await_status(lambda seen: seen["run"] == 2 and seen["status"] == "running")
    camera.disconnect()
    camera.await_status("stopped")
    (folder,) = site.record_root.glob(f"*/{camera.camera_id}")
    files = stored_files(folder)
    assert len(files) >= 2
    for path in (*files, *(file.parent for file in files), folder, folder.parent, site.record_root):
        assert path.stat().st_uid == os.geteuid(), path
        assert path.stat().st_mode & 0o027 == 0, path
    segment = camera.segments()[0]
    assert camera.api.get(f"{camera.path}/recordings/{segment['id']}").status == 200
