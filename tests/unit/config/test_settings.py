from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.config.settings import PRIVATE_NETWORKS, Settings, describe, load, warnings
from streamwarden.config.values import Reserve
from streamwarden.errors import ConfigError

INTERNAL = "internal-token-of-at-least-32-bytes"
USER = "users-secret-of-at-least-32-bytes-ok"
KEYS = "k1:stream-key-of-at-least-32-bytes-ok"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
WHOLE = {
    "DATABASE_URL": "postgresql://user:geheim@host/name",
    "STREAMWARDEN_RECORD_ROOT": "/srv/recordings",
    "STREAMWARDEN_INTERNAL_TOKEN": INTERNAL,
    "STREAMWARDEN_USER_JWT_SECRET": USER,
    "STREAMWARDEN_STREAM_TOKEN_KEYS": KEYS,
    "STREAMWARDEN_RTSP_PUBLISH_URL": "rtsp://cameras.example.org:8554",
}


def toml(folder: Path, text: str) -> Path:
    path = folder / "streamwarden.toml"
    path.write_text(text, encoding="utf-8")
    return path


def message(
    environ: dict[str, str],
    config_file: Path | None = None,
    checks: Mapping[str, Callable[[str], object]] | None = None,
) -> str:
    with pytest.raises(ConfigError) as refused:
        load(config_file, environ, checks=checks)
    return str(refused.value)


def test_options_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = toml(tmp_path, "stall_after = 5\nretention_days = 7\nport_base = 9000\n")
    environ = {"STREAMWARDEN_RETENTION_DAYS": "8", "STREAMWARDEN_PORT_BASE": "9100"}
    settings = load(file, environ, {"port_base": 9200, "record_root": None})
    assert (settings.stall_after, settings.retention_days, settings.port_base) == (5.0, 8, 9200)
    assert settings.respawn_cap_s == 30.0
    names = ("respawn_cap_s", "stall_after", "retention_days", "port_base", "record_root")
    origins = [settings.origin(name) for name in names]
    assert origins == ["default", "file", "environment", "option", "default"]


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWARDEN_PORT_BASE", "9000")
    monkeypatch.setenv("PORT_BASE", "9000")
    assert load(None, {}).port_base == 8080
    assert Settings().port_base == 8080


def test_the_bare_database_url_gives_way_to_ours() -> None:
    ours = {"STREAMWARDEN_DATABASE_URL": "postgresql://ours/name"}
    bare = load(None, WHOLE).database_url
    both = load(None, WHOLE | ours).database_url
    assert bare is not None
    assert bare.get_secret_value() == WHOLE["DATABASE_URL"]
    assert both is not None
    assert both.get_secret_value() == "postgresql://ours/name"


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    file = toml(tmp_path, "whep_url = 'http://host:8889'")
    settings = load(file, {"STREAMWARDEN_WHEP_URL": "", "DATABASE_URL": ""})
    assert settings.whep_url == "http://host:8889"
    assert settings.database_url is None


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("STREAMWARDEN_RECORD_ROT", "did you mean STREAMWARDEN_RECORD_ROOT?"),
        ("STREAMWARDEN_record_root", "did you mean STREAMWARDEN_RECORD_ROOT?"),
        ("STREAMWARDEN_STALL_AFTER_S", "did you mean STREAMWARDEN_STALL_AFTER?"),
        ("STREAMWARDEN_MEDIA_MTX", "did you mean STREAMWARDEN_MEDIAMTX?"),
    ],
)
def test_an_unknown_variable_is_refused_with_a_suggestion(name: str, suggestion: str) -> None:
    assert f"{name}: no such setting; {suggestion}" in message({name: "x"})


def test_a_variable_like_nothing_gets_no_suggestion() -> None:
    assert message({"STREAMWARDEN_ZZZ": "x"}).endswith("STREAMWARDEN_ZZZ: no such setting")


def test_other_programs_variables_and_our_other_ones_are_left_alone() -> None:
    load(
        None,
        {
            "PATH": "/bin",
            "STREAMWARDENX": "1",
            "STREAMWARDEN_MEDIAMTX": "/bin/mediamtx",
            "STREAMWARDEN_TEST_CHAOS_S": "60",
        },
    )


def test_an_unknown_key_of_the_file_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    file = toml(tmp_path, "record_rot = '/x'\n[streaming]\nport = 1\n")
    text = message({}, file)
    assert f"{file}: 'record_rot': no such setting; did you mean record_root?" in text
    assert f"{file}: 'streaming': no such setting" in text


@pytest.mark.parametrize(
    "text",
    ["internal_token = geheim", "geheim", "a = 1\ngeheim = 'x", "[geheim]\n[geheim]", "\xff"],
)
def test_a_file_that_is_no_toml_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "streamwarden.toml"
    file.write_bytes(text.encode("latin-1"))
    assert f"{file}: is not TOML: " in message({}, file)
    assert "geheim" not in message({}, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'no.toml'}: cannot be read" in message({}, tmp_path / "no.toml")


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    file = toml(tmp_path, "nonsense = 1\nlog_level = 'loud'\n")
    environ = {"STREAMWARDEN_PORT_BASE": "70000", "STREAMWARDEN_STALL_AFTER": "1"}
    lines = message(environ, file).splitlines()
    assert len(lines) == 5
    assert "STREAMWARDEN_LOG_LEVEL (from file)" in message(environ, file)
    assert "STREAMWARDEN_PORT_BASE (from environment)" in message(environ, file)


BAD = [
    ("INTERNAL_TOKEN", "geheim"),
    ("INTERNAL_TOKEN", "geheim " * 8),
    ("INTERNAL_TOKEN", "gehéim" * 8),
    ("USER_JWT_SECRET", "geheim"),
    ("STREAM_TOKEN_KEYS", "k1:geheim"),
    ("STREAM_TOKEN_KEYS", f"{KEYS},geheim"),
    ("DATABASE_URL", "mysql://u:geheim@host/name"),
    ("DATABASE_URL", "postgresql://u:geheim@host:port/name"),
    ("DATABASE_URL", "host=/run password=geheim"),
    ("API_URL", "ftp://geheim"),
    ("API_URL", "http://u:geheim@host"),
    ("API_URL", "http://host/?geheim"),
    ("API_URL", "http://"),
    ("STREAMING_URL", "http://host:99999"),
    ("RTSP_INTERNAL_URL", "http://host"),
    ("RTSP_INTERNAL_URL", "rtsp://host/geheim"),
    ("RTSP_PUBLISH_URL", "rtsp://u:geheim@host"),
    ("RTSP_ALLOWED_HOSTS", "a, geheim:8554/x"),
    ("SOURCE_NETWORKS", "geheim:554"),
    ("SOURCE_NETWORKS", "10.0.0.1/8"),
    ("SOURCE_NETWORKS", "10.0.0.0/33"),
    ("SOURCE_NETWORKS", "rtsp://geheim"),
    ("SOURCE_SECRET_KEYS", " "),
    ("HOST", "http://geheim"),
    ("PORT_BASE", "65533"),
    ("PORT_BASE", "-1"),
    ("API_PORT", "65536"),
    ("API_PORT", "1.5"),
    ("API_PORT", "true"),
    ("STALL_AFTER", "1.9 s"),
    ("STALL_AFTER", "61"),
    ("STALL_AFTER", "nan"),
    ("STALL_AFTER", "8 sec"),
    ("RETENTION_DAYS", "0"),
    ("FREE_SPACE_RESERVE", "5"),
    ("FREE_SPACE_RESERVE", "0 %"),
    ("FREE_SPACE_RESERVE", "51 %"),
    ("FREE_SPACE_RESERVE", "inf"),
    ("RECORD_ROOT", "a\nb"),
    ("NODE", "a b"),
    ("USER_ROLES_CLAIM", "a..b"),
    ("USER_JWT_AUDIENCE", "x" * 201),
    ("LOG_FORMAT", "xml"),
    ("LOG_LEVEL", "geheim"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name_and_not_repeated(name: str, value: str) -> None:
    text = message({f"STREAMWARDEN_{name}": value})
    assert f"STREAMWARDEN_{name} (from environment): " in text
    assert "geheim" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize("name", ["port_base", "stall_after", "free_space_reserve", "api_url"])
@pytest.mark.parametrize("value", ["true", "[1]", "{ a = 1 }", "1979-05-27"])
def test_a_toml_value_of_a_wrong_type_is_refused(tmp_path: Path, name: str, value: str) -> None:
    text = message({}, toml(tmp_path, f"{name} = {value}"))
    assert f"STREAMWARDEN_{name.upper()} (from file): " in text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("stall_after", "8 s", 8.0),
        ("stall_after", "2500 ms", 2.5),
        ("stall_after", "1min", 60.0),
        ("stall_after", " 8 ", 8.0),
        ("free_space_reserve", "5 %", Reserve(fraction=0.05)),
        ("free_space_reserve", "0.05", Reserve(fraction=0.05)),
        ("free_space_reserve", "10 GiB", Reserve(size_bytes=10 * 1024**3)),
        ("free_space_reserve", "10GB", Reserve(size_bytes=10 * 1000**3)),
        ("rtsp_allowed_hosts", "Cam.example.org, 10.0.0.1,::1", ("cam.example.org", "10.0.0.1", "::1")),
        ("log_level", "WARNING", "warning"),
        ("whep_url", "https://host/webrtc/", "https://host/webrtc"),
        ("host", EVERYWHERE, EVERYWHERE),
        ("user_roles_claim", "realm_access.roles", "realm_access.roles"),
    ],
)  # fmt: skip
def test_values_may_be_written_as_people_write_them(
    name: str, value: str, expected: object
) -> None:
    settings = load(None, {f"STREAMWARDEN_{name.upper()}": value})
    assert getattr(settings, name) == expected


def test_a_record_root_is_absolute_so_that_no_later_folder_change_moves_it() -> None:
    assert load(None, {"STREAMWARDEN_RECORD_ROOT": "here"}).record_root == Path("here").absolute()


def test_a_share_and_a_size_become_bytes() -> None:
    assert Reserve(fraction=0.05).bytes_of(1001) == 51
    assert Reserve(size_bytes=7).bytes_of(1001) == 7


def test_ports_and_urls_follow_the_base() -> None:
    settings = load(None, {"STREAMWARDEN_PORT_BASE": "9000", "STREAMWARDEN_API_PORT": "7000"})
    ports = (settings.webui_port, settings.api_port, settings.streaming_port)
    assert (*ports, settings.internal_api_port) == (9000, 7000, 9002, 9003)
    assert settings.api_url == "http://127.0.0.1:7000"
    assert settings.streaming_url == "http://127.0.0.1:9002"
    assert settings.internal_api_url == "http://127.0.0.1:9003"


def test_a_port_of_zero_leaves_the_url_open_until_it_is_bound() -> None:
    settings = load(None, {"STREAMWARDEN_PORT_BASE": "0"})
    assert settings.api_port == 0
    assert settings.api_url is None


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (EVERYWHERE, "http://127.0.0.1:8081"),
        ("::", "http://[::1]:8081"),
        ("fd00::1", "http://[fd00::1]:8081"),
        ("10.0.0.5", "http://10.0.0.5:8081"),
    ],
)
def test_a_roles_url_leads_to_where_it_listens(host: str, url: str) -> None:
    assert load(None, {"STREAMWARDEN_HOST": host}).api_url == url


def test_two_listeners_on_one_port_are_refused() -> None:
    assert "the same port" in message({"STREAMWARDEN_API_PORT": "8080"})


@pytest.mark.parametrize("other", ["USER_JWT_SECRET", "STREAM_TOKEN_KEYS"])
def test_one_secret_for_two_doors_is_refused_and_not_repeated(other: str) -> None:
    text = message({"STREAMWARDEN_INTERNAL_TOKEN": INTERNAL, f"STREAMWARDEN_{other}": INTERNAL})
    assert f"STREAMWARDEN_{other}: is the same secret as STREAMWARDEN_INTERNAL_TOKEN" in text
    assert INTERNAL not in text


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("NVR", ("nvr",)),
        ("nvr:554, [::1]:8554,10.0.0.0/8", ("nvr:554", "[::1]:8554", "10.0.0.0/8")),
        ("fd00::/8, fd00::1", ("fd00::/8", "fd00::1")),
    ],
)
def test_hosts_are_allowed_with_or_without_a_port_and_by_network(
    text: str, targets: tuple[str, ...]
) -> None:
    assert load(None, {"STREAMWARDEN_RTSP_ALLOWED_HOSTS": text}).rtsp_allowed_hosts == targets


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        (",", ()),
        ("10.0.0.0/8, CAM.lan, 127.0.0.1,::1", ("10.0.0.0/8", "cam.lan", "127.0.0.1", "::1")),
    ],
)
def test_cameras_may_be_in_networks_and_at_hosts(text: str, networks: tuple[str, ...]) -> None:
    assert load(None, {"STREAMWARDEN_SOURCE_NETWORKS": text}).source_networks == networks


def test_cameras_are_in_private_networks_unless_it_is_said() -> None:
    assert load(None, {}).source_networks == PRIVATE_NETWORKS


@pytest.mark.parametrize("text", ["nvr:0", "nvr:65536", "nvr:x", "10.0.0.1/8", "a/b", "[nvr]:1"])
def test_what_is_no_host_is_not_allowed(text: str) -> None:
    assert "RTSP_ALLOWED_HOSTS" in message({"STREAMWARDEN_RTSP_ALLOWED_HOSTS": text})


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        (["webui"], []),
        (["streaming"], ["DATABASE_URL", "RECORD_ROOT", "INTERNAL_TOKEN"]),
        (
            ["api"],
            ["DATABASE_URL", "INTERNAL_TOKEN", "USER_JWT_SECRET", "STREAM_TOKEN_KEYS"],
        ),
    ],
)  # fmt: skip
def test_a_role_names_all_that_it_lacks(roles: list[str], missing: list[str]) -> None:
    load(None, WHOLE).require_for(*roles)
    if not missing:
        load(None, {}).require_for(*roles)
        return
    with pytest.raises(ConfigError) as refused:
        load(None, {}).require_for(*roles)
    lines = str(refused.value).splitlines()[1:]
    assert [line.partition(":")[0].strip() for line in lines] == [
        f"STREAMWARDEN_{name}" for name in missing
    ]
    assert all("is not set; " in line for line in lines)


def test_all_roles_need_what_each_needs_once() -> None:
    load(None, WHOLE).require_for("all")
    with pytest.raises(ConfigError) as refused:
        load(None, {}).require_for("all")
    assert len(str(refused.value).splitlines()) == 1 + 5


def test_a_handed_in_check_judges_a_secret_and_is_reported_like_any_fault() -> None:
    def refuse(_text: str) -> None:
        raise ConfigError("STREAM_TOKEN_KEYS: key 1 is odd")

    text = message(WHOLE, checks={"stream_token_keys": refuse})
    assert text.endswith("\n  STREAMWARDEN_STREAM_TOKEN_KEYS: key 1 is odd")
    load(None, {}, checks={"stream_token_keys": refuse})


def test_what_is_described_holds_every_setting_its_source_and_no_secret() -> None:
    shown = describe(load(None, WHOLE))
    text = json.dumps(shown)
    assert set(shown) == {f"STREAMWARDEN_{name.upper()}" for name in Settings.model_fields}
    assert shown["STREAMWARDEN_DATABASE_URL"] == {
        "value": "postgresql://user:********@host/name",
        "source": "environment",
    }
    assert shown["STREAMWARDEN_FREE_SPACE_RESERVE"]["value"] == "5 %"
    assert shown["STREAMWARDEN_USER_JWT_SECRET"]["value"] == "********"
    assert shown["STREAMWARDEN_WHEP_URL"] == {"value": None, "source": "default"}
    assert not any(secret in text for secret in (INTERNAL, USER, KEYS, "geheim"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:geheim@h/n",
        "postgresql://u:ge@heim@h/n",
        "postgresql:///n?host=/run&user=u&password=geheim",
        "postgresql://h/n?sslpassword=geheim&sslmode=require",
        "postgres://:geheim@h",
    ],
)
def test_a_described_database_url_never_holds_its_password(url: str) -> None:
    shown = str(describe(load(None, {"DATABASE_URL": url}))["STREAMWARDEN_DATABASE_URL"]["value"])
    assert "heim" not in shown
    assert "********" in shown


def test_the_repr_of_settings_holds_no_secret() -> None:
    text = repr(load(None, WHOLE))
    assert not any(secret in text for secret in (INTERNAL, USER, KEYS, "geheim"))


def test_settings_do_not_change_after_they_are_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None, {}).retention_days = 1  # type: ignore[misc]


def test_a_stall_time_beyond_ffmpegs_own_is_warned_about() -> None:
    assert warnings(load(None, {})) == []
    (said,) = warnings(load(None, {"STREAMWARDEN_STALL_AFTER": "30 s"}))
    assert said.startswith("STREAMWARDEN_STALL_AFTER: ")


@pytest.mark.parametrize("host", ["::", "192.0.2.7"])
def test_listening_for_other_machines_without_a_proxy_is_warned_about(host: str) -> None:
    open_ = {"STREAMWARDEN_HOST": host}
    (said,) = warnings(load(None, open_), "webui")
    assert said.startswith("STREAMWARDEN_HOST: ")
    assert "no TLS" in said
    assert warnings(load(None, open_ | {"STREAMWARDEN_TRUSTED_PROXIES": "10.0.0.1"}), "webui") == []
    assert warnings(load(None, open_), "streaming") == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_listening_for_this_machine_alone_is_not(host: str) -> None:
    assert warnings(load(None, {"STREAMWARDEN_HOST": host})) == []


NAMES = st.sampled_from([f"STREAMWARDEN_{name.upper()}" for name in Settings.model_fields])


@given(st.dictionaries(NAMES, st.text(st.characters(), max_size=60)))
def test_any_environment_gives_settings_or_a_config_error(environ: dict[str, str]) -> None:
    try:
        describe(load(None, environ))
    except ConfigError as refused:
        assert "STREAMWARDEN_" in str(refused)  # noqa: PT017 - either end is right


@given(st.floats(2, 60).map(lambda s: round(s, 3)))
def test_a_duration_means_the_same_in_each_unit(seconds: float) -> None:
    written = [f"{seconds:.3f}", f"{seconds:.3f} s", f"{seconds * 1000:.0f} ms"]
    read = [load(None, {"STREAMWARDEN_STALL_AFTER": text}).stall_after for text in written]
    assert read == pytest.approx([seconds] * 3)


def test_cameras_publish_where_recorders_read_unless_told_otherwise() -> None:
    inside = load(None, {"STREAMWARDEN_RTSP_INTERNAL_URL": "rtsp://10.0.0.7:8554"})
    assert inside.rtsp_publish_url == "rtsp://10.0.0.7:8554"
    assert load(None, WHOLE).rtsp_publish_url == WHOLE["STREAMWARDEN_RTSP_PUBLISH_URL"]
