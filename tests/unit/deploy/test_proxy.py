from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.deploy.deploy_files import DEPLOY, needs_checkout

TEMPLATE = DEPLOY / "nginx" / "streamwarden.conf.template"
VALUES = {
    "PUBLIC_HOST": "cameras.example",
    "WEBUI": "127.0.0.1:8080",
    "WHEP": "127.0.0.1:8890",
    "RESOLVER": "127.0.0.1",
}

pytestmark = needs_checkout


OF_COMPOSE = VALUES | {"WEBUI": "webui:8080", "WHEP": "mediamtx:8889", "RESOLVER": "127.0.0.11"}
"""Names of containers, which do not resolve here, as they do not while those are made anew."""


def filled(folder: Path, values: Mapping[str, str]) -> str:
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text.replace("/etc/nginx/tls", str(folder)).replace("/var/log/nginx", str(folder))


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, VALUES["PUBLIC_HOST"])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.mark.parametrize("values", [VALUES, OF_COMPOSE], ids=["one machine", "compose"])
def test_nginx_takes_the_configuration(tmp_path: Path, values: Mapping[str, str]) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        pytest.skip("no nginx: install nginx-light")
    write_certificate(tmp_path)
    (tmp_path / "site.conf").write_text(filled(tmp_path, values), encoding="utf-8")
    whole = f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
    whole += f"http {{ include {tmp_path}/site.conf; }}\n"
    (tmp_path / "nginx.conf").write_text(whole, encoding="utf-8")
    done = subprocess.run(
        [nginx, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "emerg" not in done.stderr


def test_the_template_names_no_other_variable_of_its_own() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEMPLATE.read_text(encoding="utf-8"))) == set(VALUES)


def test_no_query_reaches_the_log_and_no_file_is_held_back() -> None:
    """Play tokens are in queries; a recording of an hour must not be spooled to a disk first."""
    text = TEMPLATE.read_text(encoding="utf-8")
    logged = re.search(r"log_format without_query (.*?);", text, re.DOTALL)
    assert logged is not None
    assert not re.search(r"\$(request|request_uri|args|query_string)\b", logged[1])
    logs = re.findall(r"access_log (.*);", text)
    assert all(log == "off" or log.endswith(" without_query") for log in logs)
    assert len(logs) == len(re.findall(r"(?m)^server \{", text))
    assert "proxy_buffering off" in text
    assert "$proxy_add_x_forwarded_for" not in text
