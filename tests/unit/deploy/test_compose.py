from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from streamwarden.config.settings import Settings, load
from streamwarden.mediamtx.control_secret import control_secret
from tests.unit.deploy.deploy_files import DEPLOY, ROOT, needs_checkout, read_yaml

OURS = ("api", "streaming", "webui")
WITHOUT_A_SHELL = {"mediamtx"}
PUBLISHED = {
    "mediamtx": ["8554:8554", "8189:8189/udp"],
    "nginx": ["80:80", "443:443", "8889:8889"],
    "alertmanager": ["127.0.0.1:9093:9093"],
    "grafana": ["127.0.0.1:3000:3000"],
}
NAME = "cameras.example"

pytestmark = needs_checkout


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_yaml(DEPLOY / "compose.yaml")
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ``deploy`` in which ``make-secrets`` was run."""
    folder = tmp_path_factory.mktemp("deploy")
    script = folder / "make-secrets"
    script.write_bytes((DEPLOY / "make-secrets").read_bytes())
    script.chmod(0o755)
    subprocess.run([script, NAME], check=True, capture_output=True, timeout=30)
    return folder


def env_file(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def environment(compose: Mapping[str, Any], service: str, made: Path) -> dict[str, str]:
    """What a service's program is started with, as compose puts it together."""
    found = compose["services"][service]
    values = dict(found.get("environment", {}))
    name = env_file(made / ".env")["PUBLIC_HOST"]
    filled = {key: re.sub(r"\$\{PUBLIC_HOST[^}]*\}", name, str(v)) for key, v in values.items()}
    kept = env_file(made / found["env_file"]) if "env_file" in found else {}
    return kept | filled


@pytest.mark.parametrize("role", OURS)
def test_each_role_has_all_the_settings_that_it_needs_and_no_unknown_one(
    compose: Mapping[str, Any], made: Path, role: str
) -> None:
    environ = environment(compose, role, made)
    ours = {name: value for name, value in environ.items() if name.startswith("STREAMWARDEN_")}
    settings = load(None, ours | image_settings())
    settings.require_for(role)
    assert compose["services"][role]["command"] == ["serve", "--role", role]
    port = {"api": settings.api_port, "streaming": settings.streaming_port}.get(
        role, settings.webui_port
    )
    assert environ["HEALTH_URL"] == f"http://127.0.0.1:{port}/healthz"


def image_settings() -> dict[str, str]:
    """The settings that the image itself brings."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"(STREAMWARDEN_\w+)=(\S+)", text))


@pytest.mark.parametrize("role", OURS)
def test_a_role_shares_a_network_with_every_service_that_it_calls(
    compose: Mapping[str, Any], made: Path, role: str
) -> None:
    services = compose["services"]
    for name, value in environment(compose, role, made).items():
        host = urlsplit(value).hostname if "://" in value else None
        if host in services:
            assert set(services[host]["networks"]) & set(services[role]["networks"]), name


def test_only_what_the_outside_needs_is_published(compose: Mapping[str, Any]) -> None:
    services = compose["services"]
    found = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert found == PUBLISHED


def test_everything_inside_is_in_networks_that_lead_nowhere(compose: Mapping[str, Any]) -> None:
    outward = {name for name, it in compose["networks"].items() if not (it or {}).get("internal")}
    assert outward == {"front", "desk"}
    for name, service in compose["services"].items():
        if set(service["networks"]) & outward:
            assert name in {"api", "webui", "nginx", "mediamtx", "grafana", "alertmanager"}


def test_nobody_but_the_api_is_near_the_media_servers_control(compose: Mapping[str, Any]) -> None:
    near = {name for name, it in compose["services"].items() if "control" in it["networks"]}
    assert near == {"api", "mediamtx"}
    address = compose["services"]["mediamtx"]["networks"]["control"]["ipv4_address"]
    assert compose["services"]["mediamtx"]["environment"]["MTX_APIADDRESS"] == f"{address}:9997"
    told = compose["services"]["api"]["environment"]["STREAMWARDEN_MEDIAMTX_API_URL"]
    assert told == f"http://{address}:9997"


def test_every_file_that_is_mounted_exists(compose: Mapping[str, Any], made: Path) -> None:
    named = set(compose["volumes"])
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            exists = any((folder / source).exists() for folder in (DEPLOY, made))
            assert source in named or exists, volume
    build = compose["services"]["api"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_every_service_is_asked_for_its_health(compose: Mapping[str, Any]) -> None:
    """The roles by their image."""
    assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    without = {name for name, it in compose["services"].items() if "healthcheck" not in it}
    assert without == {*OURS, *WITHOUT_A_SHELL}


def test_no_secret_is_written_down_and_each_is_made_anew(
    compose: Mapping[str, Any], made: Path
) -> None:
    for service in compose["services"].values():
        named = " ".join(service.get("environment", {}))
        assert not re.search(r"PASSWORD|SECRET|INTERNAL_TOKEN|TOKEN_KEYS|DATABASE_URL", named)
    files = sorted((made / "secrets").iterdir())
    assert [file.name for file in files] == [
        "api.env", "grafana.env", "mediamtx.token", "postgres.env", "seal.pem", "streaming.env"
    ]  # fmt: skip
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    secrets = re.findall(r"[0-9a-f]{64}", " ".join(map(Path.read_text, files)))
    # database, internal token, signing key, users, cameras' passwords, Grafana, MediaMTX's
    assert len(set(secrets)) == 7
    (internal,) = re.findall(
        r"INTERNAL_TOKEN=(\w+)", (made / "secrets/streaming.env").read_text(encoding="utf-8")
    )
    token = (made / "secrets/mediamtx.token").read_text(encoding="utf-8").strip()
    assert token == control_secret(internal)
    again = subprocess.run([made / "make-secrets", NAME], capture_output=True, check=False)
    assert again.returncode == 1
    assert secrets == re.findall(r"[0-9a-f]{64}", " ".join(map(Path.read_text, files)))


def test_an_image_of_others_is_named_by_its_digest(compose: Mapping[str, Any]) -> None:
    """A tag can be pushed anew; a digest is the image that was looked at."""
    named = {each["image"] for each in compose["services"].values()}
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    named |= set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    named.remove("streamwarden:0.1.0")
    assert len(named) == 7
    assert not [
        one for one in named if not re.fullmatch(r"[\w/.-]+:[\w.-]+@sha256:[0-9a-f]{64}", one)
    ]


def test_made_secrets_stay_out_of_git_and_out_of_the_image() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/deploy/secrets/", "/deploy/.env"} <= set(ignored)
    first, *rest = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert first == "*"
    assert not [line for line in rest if line.startswith("!deploy")]
    # The last line that fits counts: after src is let in, what may be a secret is not.
    after = rest[rest.index("!src") :]
    assert {"**/.env*", "**/*.env", "**/*.key", "**/*.pem"} <= set(after)


def test_what_the_image_is_built_from_is_let_in() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    let_in = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    assert {"LICENSE", "README.md", "requirements.lock", "setup.py", "src"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)
    user = re.search(r"^USER (\d+)", text, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0


def test_an_address_that_is_given_out_is_never_one_that_is_fixed(
    compose: Mapping[str, Any],
) -> None:
    for name, network in compose["networks"].items():
        config = ((network or {}).get("ipam") or {}).get("config", [])
        fixed = [
            ip_address(of["ipv4_address"])
            for service in compose["services"].values()
            if isinstance(service["networks"], dict) and (of := service["networks"].get(name))
        ]
        for it in config if fixed else []:
            assert all(address in ip_network(it["subnet"]) for address in fixed)
            assert not [address for address in fixed if address in ip_network(it["ip_range"])]
            assert ip_network(it["ip_range"])[0] in ip_network(it["subnet"])


def test_every_log_is_bounded_and_the_database_is_dumped(compose: Mapping[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name
    assert compose["services"]["backup"]["image"] == compose["services"]["postgres"]["image"]


def test_prometheus_asks_the_same_of_compose_as_of_one_machine(compose: Mapping[str, Any]) -> None:
    here = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    there = read_yaml(DEPLOY / "prometheus" / "compose.yml")
    ports = {"api": 8081, "streaming": 8082, "webui": 8080, "mediamtx": 9998}
    (managers,) = there["alerting"]["alertmanagers"]
    assert managers["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert "watching" in compose["services"]["alertmanager"]["networks"]
    assert there["rule_files"] == here["rule_files"]
    assert [job["job_name"] for job in there["scrape_configs"]] == [
        job["job_name"] for job in here["scrape_configs"]
    ]
    for job in there["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        host, port = target.split(":")
        assert ports[host] == int(port)
        assert "watching" in compose["services"][host]["networks"]


def test_every_streamwarden_variable_of_deploy_is_a_setting() -> None:
    known = {f"STREAMWARDEN_{name.upper()}" for name in Settings.model_fields}
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix in {".yaml", ".service", ""}:
            named = set(re.findall(r"STREAMWARDEN_[A-Z_]+", path.read_text(encoding="utf-8")))
            assert named <= known, path
