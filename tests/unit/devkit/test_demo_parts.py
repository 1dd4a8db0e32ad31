from __future__ import annotations

import json
import socket
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from streamwarden.devkit.demo_ports import DemoPorts, PortTaken, demo_ports
from streamwarden.devkit.demo_secrets import DemoSecrets, demo_secrets
from streamwarden.errors import ConfigError


def somewhere_free() -> tuple[int, DemoPorts]:
    """A base, and the ports from it on; others on this machine may take one between two looks."""
    for _ in range(50):
        base = min(demo_ports(0).webui + 100, 65000)
        with suppress(PortTaken):
            return base, demo_ports(base)
    raise AssertionError("no fifteen ports in a row are free")


def test_the_ports_follow_their_base() -> None:
    base, ports = somewhere_free()
    assert (ports.webui, ports.api, ports.streaming, ports.internal_api) == tuple(
        range(base, base + 4)
    )
    assert (ports.rtsp, ports.whep) == (base + 10, base + 11)
    assert ports.media.rtsp == ports.rtsp


def test_base_zero_takes_free_and_different_ports() -> None:
    ports = asdict(demo_ports(0)).values()
    assert all(ports)
    assert len(set(ports)) == len(ports)


def test_a_taken_port_is_named_with_the_option_that_moves_it() -> None:
    base = demo_ports(0).webui
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base))
        taken.listen(1)
        with pytest.raises(PortTaken, match=rf"port {base} \(webui\).*--port-base"):
            demo_ports(base)


def test_secrets_survive_a_restart(tmp_path: Path) -> None:
    assert demo_secrets(tmp_path) == demo_secrets(tmp_path)


def test_secrets_of_an_earlier_version_are_kept_and_what_they_lack_is_made_once(
    tmp_path: Path,
) -> None:
    now = asdict(demo_secrets(tmp_path))
    earlier = {name: value for name, value in now.items() if name != "source_secret_keys"}
    (tmp_path / "secrets.json").write_text(json.dumps(earlier))
    found = asdict(demo_secrets(tmp_path))
    assert found == earlier | {"source_secret_keys": found["source_secret_keys"]}
    assert asdict(demo_secrets(tmp_path)) == found


def test_no_two_demos_share_a_secret(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = demo_secrets(tmp_path / "a"), demo_secrets(tmp_path / "b")
    assert not set(asdict(one).values()) & set(asdict(other).values())


def test_the_secrets_file_is_for_this_user_only(tmp_path: Path) -> None:
    demo_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"internal_token": "x"}'])
def test_a_spoilt_secrets_file_is_an_error_that_says_what_to_do(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "secrets.json").write_text(content)
    with pytest.raises(ConfigError, match=r"secrets\.json cannot be used.*remove it"):
        demo_secrets(tmp_path)


def test_secrets_are_in_no_repr() -> None:
    made = DemoSecrets()
    assert not any(secret in repr(made) for secret in asdict(made).values())
