from __future__ import annotations

import hashlib
import io
import platform
import tarfile
from pathlib import Path
from typing import BinaryIO

import pytest

from streamwarden.devkit import mediamtx_program
from streamwarden.devkit.media_server import MediaPorts, relay_plan
from streamwarden.devkit.mediamtx_program import MediaMtxMissing, Pin, download, find_mediamtx
from streamwarden.errors import ConfigError

PORTS = MediaPorts(rtsp=1, control=2, whep=3, metrics=4, webrtc_udp=5)
SCRIPT = b"#!/bin/sh\nexit 0\n"


def archive(name: str = "mediamtx", content: bytes = SCRIPT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def pinned(content: bytes) -> Pin:
    return Pin("mediamtx.tar.gz", hashlib.sha256(content).hexdigest())


def no_network(_url: str, _timeout_s: float) -> BinaryIO:
    raise OSError("no route to host")


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SCRIPT)
    path.chmod(0o755)
    return path


def environ_of(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}


def test_the_variable_wins_over_path(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "mediamtx")
    named = program(tmp_path / "mine")
    environ = environ_of(tmp_path, STREAMWARDEN_MEDIAMTX=str(named))
    assert find_mediamtx(environ, open_url=no_network) == named


def test_a_variable_that_names_no_program_is_an_error_not_a_fallback(tmp_path: Path) -> None:
    environ = environ_of(tmp_path, STREAMWARDEN_MEDIAMTX=str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="STREAMWARDEN_MEDIAMTX"):
        find_mediamtx(environ, open_url=no_network)


def test_path_wins_over_the_cache(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "mediamtx")
    cached(tmp_path)
    assert find_mediamtx(environ_of(tmp_path), open_url=no_network) == on_path


def test_what_was_downloaded_once_is_not_downloaded_again(tmp_path: Path) -> None:
    there = cached(tmp_path)
    assert find_mediamtx(environ_of(tmp_path), open_url=no_network) == there


def cached(tmp_path: Path) -> Path:
    name = f"mediamtx-{mediamtx_program.VERSION}-{platform.machine()}"
    return program(tmp_path / "cache" / "streamwarden" / name)


def test_without_a_network_it_is_missing_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(MediaMtxMissing, match="no route to host"):
        find_mediamtx(environ_of(tmp_path), open_url=no_network)


def test_a_download_of_the_pinned_bytes_can_be_run(tmp_path: Path) -> None:
    content = archive()
    target = tmp_path / "cache" / "mediamtx"
    download(pinned(content), target, open_url=lambda _u, _t: io.BytesIO(content))
    assert target.read_bytes() == SCRIPT
    assert target.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("served", "pin"),
    [
        (archive(content=b"other"), pinned(archive())),
        (archive()[:-10], pinned(archive())),
        (archive(name="readme"), pinned(archive(name="readme"))),
        (archive(name="../mediamtx"), pinned(archive(name="../mediamtx"))),
    ],
    ids=["other bytes", "torn", "no program", "leads outside"],
)
def test_anything_but_the_release_leaves_nothing_behind(
    served: bytes, pin: Pin, tmp_path: Path
) -> None:
    target = tmp_path / "cache" / "mediamtx"
    with pytest.raises(MediaMtxMissing):
        download(pin, target, open_url=lambda _u, _t: io.BytesIO(served))
    assert list(target.parent.iterdir()) == []


def test_an_endless_download_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b"x" * size

    monkeypatch.setattr(mediamtx_program, "_MOST_BYTES", 1024 * 1024)
    with pytest.raises(MediaMtxMissing, match="too large"):
        download(pinned(b""), tmp_path / "mediamtx", open_url=lambda _u, _t: Endless())  # type: ignore[arg-type,return-value]  # only what is read


def test_every_pin_is_a_whole_sha256_of_the_pinned_version() -> None:
    for pin in mediamtx_program.PINS.values():
        assert len(bytes.fromhex(pin.sha256)) == 32
        assert mediamtx_program.VERSION in pin.archive
        assert pin.url.startswith("https://")


def test_mediamtx_is_told_of_its_ports_and_of_none_of_our_secrets() -> None:
    environ = {"PATH": "/bin", "STREAMWARDEN_INTERNAL_TOKEN": "hush", "DATABASE_URL": "hush"}
    plan = mediamtx_program.mediamtx_plan(
        Path("/bin/mediamtx"),
        PORTS,
        hook_url="http://h/hook",
        internal_token="hush",
        environ=environ,
    )
    assert plan.spec.env is not None
    assert plan.spec.env["MTX_RTSPADDRESS"] == "127.0.0.1:1"
    assert plan.spec.env["MTX_AUTHHTTPADDRESS"] == "http://h/hook"
    assert "hush" not in plan.spec.env.values()
    assert "hush" not in repr(plan)
    assert plan.whep_url == "http://127.0.0.1:3"


def test_the_relay_offers_no_webrtc() -> None:
    plan = relay_plan(PORTS, hook_url="http://h/hook", internal_token="hush")
    assert plan.whep_url is None
    assert plan.rtsp_url == "rtsp://127.0.0.1:1"
