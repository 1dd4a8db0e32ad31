"""``streamwarden doctor`` on installations that lack one thing each."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from streamwarden.app import doctor as module
from streamwarden.cli.main import main
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.evidence.seal_keys import new_key
from streamwarden.mediamtx.control_secret import control_secret
from streamwarden.recordings.root_identity import write_id
from streamwarden.storage.pool import Database
from streamwarden.storage.record_roots import PairedRoot, RecordRootRepository
from tests.acceptance.program import free_port_base

Found = dict[str, list[tuple[str, str]]]
Doctor = Callable[..., tuple[int, Found]]


@pytest.fixture
def doctor(
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Doctor:
    root = tmp_path / "records"
    (root / ".streamwarden").mkdir(parents=True)
    new_key(tmp_path / "seal.pem")
    settings = {
        "DATABASE_URL": database_url,
        "RECORD_ROOT": str(root),
        "PORT_BASE": str(free_port_base()),
        "INTERNAL_TOKEN": "i" * 32,
        "USER_JWT_SECRET": "u" * 32,
        "STREAM_TOKEN_KEYS": "k1:" + "s" * 32,
        "SEAL_KEY_FILE": str(tmp_path / "seal.pem"),
        "RTSP_INTERNAL_URL": "rtsp://127.0.0.1:9",
    }

    def examine(*arguments: str, **changed: str | None) -> tuple[int, Found]:
        for name, value in (settings | changed).items():
            if value is None:
                monkeypatch.delenv(f"STREAMWARDEN_{name}", raising=False)
            else:
                monkeypatch.setenv(f"STREAMWARDEN_{name}", value)
        code = main(["doctor", "--json", *arguments])
        told: Any = json.loads(capsys.readouterr().out)
        assert told["ok"] is (code == 0)
        found: Found = {}
        for each in told["findings"]:
            found.setdefault(each["check"], []).append((each["verdict"], each["detail"]))
        return code, found

    return examine


def wrong(found: Found) -> dict[str, str]:
    return {
        check: detail
        for check, findings in found.items()
        for verdict, detail in findings
        if verdict == "wrong"
    }


def test_a_sound_installation_whose_roles_do_not_run_lacks_nothing(doctor: Doctor) -> None:
    with RelayServer() as relay:
        code, found = doctor("--role", "streaming", RTSP_INTERNAL_URL=relay.rtsp_url)
    # The hook belongs to the api role, which does not run.
    assert set(wrong(found)) <= {"media server"}
    assert code == (1 if wrong(found) else 0)
    assert ("ok", "complete for streaming") in found["settings"]
    assert any("Postgres" in detail and "answers" in detail for _, detail in found["database"])
    assert any("starts with a recorder's limits" in detail for _, detail in found["ffmpeg"])
    assert any("answers RTSP" in detail for _, detail in found["media server"])
    assert any(detail.startswith("stream token key k1") for _, detail in found["keys"])
    assert any("is free: the role does not run" in detail for _, detail in found["ports"])


@pytest.mark.parametrize(
    ("changed", "check", "words"),
    [
        ({"INTERNAL_TOKEN": None}, "settings", "STREAMWARDEN_INTERNAL_TOKEN: is not set"),
        ({"FFMPEG": "/bin/true"}, "ffmpeg", "does not begin with 'ffmpeg version'"),
        ({"RECORD_ROOT": "/nowhere/at/all"}, "record root", "is not a folder"),
        ({}, "media server", "does not answer: Connection refused"),
        (
            {"STREAM_TOKEN_KEYS": "k1:" + "s" * 32 + "@2020-01-31"},
            "keys",
            "has ended on 2020-02-01",
        ),
        ({"SEAL_KEY_FILE": "/nowhere/seal.pem"}, "keys", "No such file"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    doctor: Doctor, changed: dict[str, str | None], check: str, words: str
) -> None:
    code, found = doctor("--role", "streaming", **changed)
    assert code == 1
    assert words in " ".join(detail for verdict, detail in found[check] if verdict == "wrong")


def test_the_record_roots_id_is_compared_with_the_databases(
    doctor: Doctor, database: Database, tmp_path: Path
) -> None:
    root, roots = tmp_path / "records", RecordRootRepository(database)
    _, found = doctor("--role", "streaming")
    assert any("not paired with the database yet" in detail for _, detail in found["record root"])

    ours = uuid4()
    roots.adopt(PairedRoot(id=ours, node="a", path=str(root), adopted_at=datetime.now(UTC)))
    code, found = doctor("--role", "streaming")
    assert code == 1
    assert "holds no record root" in wrong(found)["record root"]

    write_id(root, ours)
    _, found = doctor("--role", "streaming")
    assert "record root" not in wrong(found)
    assert any(f"id {ours} in both" in detail for _, detail in found["record root"])

    write_id(root, uuid4())
    _, found = doctor("--role", "streaming")
    assert "of another installation" in wrong(found)["record root"]


def test_a_database_that_refuses_is_quoted(doctor: Doctor, database_url: str) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    code, found = doctor(DATABASE_URL=database_url.replace(f"/{name}", "/no_such_database"))
    assert code == 1
    assert 'database "no_such_database" does not exist' in wrong(found)["database"]


def test_a_database_that_says_nothing_is_given_up_within_seconds(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began_s = time.monotonic()
        _, found = doctor("--role", "api", DATABASE_URL=f"postgresql://u:p@127.0.0.1:{port}/x")
    assert "Postgres: " in wrong(found)["database"]
    assert "p@" not in wrong(found)["database"]
    assert time.monotonic() - began_s < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="every file may be written by root only")
def test_a_port_of_another_program_is_named(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer() -> None:
            try:
                peer, _ = other.accept()
            except OSError:
                return
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        _, found = doctor("--role", "webui", WEBUI_PORT=str(port))
        thread.join(10)
    assert "another program has this port" in wrong(found)["ports"]


@contextmanager
def control_api(**settings: object) -> Iterator[tuple[str, list[str]]]:
    """Serve MediaMTX's settings as its control API does; yield its URL and what it was shown."""
    shown: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["Authorization"])
            body = json.dumps(settings).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", shown
        finally:
            server.shutdown()
            thread.join()


def test_a_media_server_whose_control_api_is_open_is_reported(doctor: Doctor) -> None:
    settings = {
        "authMethod": "http",
        "authHTTPAddress": "http://api:8083/api/v1/m2m/check-stream-pwd",
    }
    left_open = [{"action": "api", "path": ""}, {"action": "metrics", "path": ""}]
    with RelayServer() as relay:
        for excluded in (left_open, []):
            with control_api(**settings, authHTTPExclude=excluded) as (url, shown):
                _, found = doctor(
                    *("--role", "streaming"),
                    RTSP_INTERNAL_URL=relay.rtsp_url,
                    MEDIAMTX_API_URL=url,
                )
            told = " ".join(detail for _, detail in found["media server"])
            assert ("authHTTPExclude leaves api, metrics open" in told) is bool(excluded)
            assert shown == [f"Bearer {control_secret('i' * 32)}"]


@contextmanager
def serving_tls(folder: Path, *, ends: datetime) -> Iterator[int]:
    """Serve TLS with a certificate of 127.0.0.1 and localhost that ends then; its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "tls.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                peer, _ = server.accept()
                with context.wrap_socket(peer, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(10)


@pytest.mark.parametrize(
    ("days", "trusted", "verdict", "words"),
    [
        (5.5, True, "note", "in 5 days"),
        (100, True, "ok", "days"),
        (-1, True, "wrong", "expired"),
        (100, False, "note", "self-signed"),
    ],
)
def test_a_certificate_is_judged(  # noqa: PLR0917 - a parametrized test
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: float,
    trusted: bool,
    verdict: str,
    words: str,
) -> None:
    with serving_tls(tmp_path, ends=datetime.now(UTC) + timedelta(days=days)) as port:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls.pem"))
        found = module._certificate("localhost", port)
    assert found.verdict == verdict
    assert words in found.detail.replace("self signed", "self-signed")


def test_the_findings_are_lines_for_people(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor("--role", "webui")
    assert main(["doctor", "--role", "webui"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=2) == ["ok", "settings", "complete for webui"]
    assert lines[-1].endswith("notes")
