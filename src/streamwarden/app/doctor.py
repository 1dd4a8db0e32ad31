"""The checks of ``streamwarden doctor``: everything that an installation needs, seen from this machine.

Each check ends within a few seconds, changes nothing, and needs no running role. What it finds is a
`DoctorFinding` in words; none holds a secret.
"""

from __future__ import annotations

import ctypes
import errno
import http.client
import json
import os
import pwd
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from streamwarden.auth.keys import parse_keys
from streamwarden.auth.users import JwksClient
from streamwarden.config.settings import Settings, reachable, warnings
from streamwarden.errors import ConfigError, StreamwardenError, Unavailable
from streamwarden.evidence.seal_keys import load_signing_key
from streamwarden.ffmpeg.command import ffmpeg_account, find_ffmpeg, require_setpriv
from streamwarden.ffmpeg.preflight import try_ffmpeg
from streamwarden.ffmpeg.sandbox import ability, open_sandbox
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.paths import STATE
from streamwarden.recordings.root_identity import Indexed, RootVerdict, facts_of, judge
from streamwarden.recordings.root_pairing import mismatch
from streamwarden.storage.migrate import pending
from streamwarden.storage.pool import Database, server_facts
from streamwarden.storage.record_roots import RecordRootRepository
from streamwarden.storage.refusals import StorageUnavailable

T = TypeVar("T")

_ANSWERS_WITHIN_S: Final = 3.0
_DATABASE_WITHIN_S: Final = 5.0
_OLDEST_POSTGRES: Final = 15
_CLOCK_APART_S: Final = 2.0
_SOON: Final = timedelta(days=14)
_OLD_KEY: Final = timedelta(days=730)
_TIME_ERROR: Final = 5
"""What adjtimex returns while the clock is not synchronized."""
_TIMEX_BYTES: Final = 512
_LEAST_INODES: Final = 10_000
_ROLES: Final = ("api", "streaming", "webui")
_PORTS: Final = {
    "webui": ("webui_port",),
    "api": ("api_port", "internal_api_port"),
    "streaming": ("streaming_port",),
}


class DoctorVerdict(StrEnum):
    """What a check has found."""

    OK = "ok"
    NOTE = "note"
    """Not wrong, but worth a look."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One thing that was looked at, and what there is to say about it."""

    check: str
    verdict: DoctorVerdict
    detail: str


def examine(settings: Settings, roles: frozenset[str]) -> Iterator[DoctorFinding]:
    """Yield what is found for ``roles``, in the order in which they depend on each other."""
    checks: tuple[
        tuple[str, frozenset[str], Callable[[Settings], Iterator[DoctorFinding]]], ...
    ] = (
        ("database", frozenset({"api", "streaming"}), _database),
        ("record root", frozenset({"streaming"}), _record_root),
        ("record root", frozenset({"streaming"}), _pairing),
        ("clock", frozenset(_ROLES), _clock),
        ("ffmpeg", frozenset({"streaming"}), _ffmpeg),
        ("media server", frozenset({"api", "streaming"}), _media_server),
        ("keys", frozenset({"api", "streaming"}), _keys),
        ("certificates", frozenset({"api", "webui"}), _certificates),
    )
    yield from _settings(settings, roles)
    for name, of, check in checks:
        if of & roles:
            yield from _guarded(name, lambda check=check: check(settings))  # type: ignore[misc]
    for role in _ROLES:
        if role in roles:
            yield from _guarded("ports", lambda role=role: _ports(settings, role))  # type: ignore[misc]


def _guarded(name: str, check: Callable[[], Iterator[DoctorFinding]]) -> Iterator[DoctorFinding]:
    try:
        yield from check()
    except (StreamwardenError, OSError) as error:
        yield DoctorFinding(name, DoctorVerdict.WRONG, str(error))


def _settings(settings: Settings, roles: frozenset[str]) -> Iterator[DoctorFinding]:
    complete = True
    for role in sorted(roles):
        try:
            settings.require_for(role)
        except ConfigError as error:
            complete = False
            yield DoctorFinding("settings", DoctorVerdict.WRONG, f"role {role}: {error}")
    for warning in warnings(settings, *roles):
        yield DoctorFinding("settings", DoctorVerdict.NOTE, warning)
    if complete:
        yield DoctorFinding(
            "settings", DoctorVerdict.OK, f"complete for {', '.join(sorted(roles))}"
        )


# The database


def _database(settings: Settings) -> Iterator[DoctorFinding]:
    if settings.database_url is None:
        return
    url = settings.database_url.get_secret_value()
    try:
        facts = _within(_DATABASE_WITHIN_S, lambda: server_facts(url))
    except StorageUnavailable as error:
        words = " ".join(error.reason.split()) or "no answer"
        yield DoctorFinding("database", DoctorVerdict.WRONG, f"Postgres: {words}")
        return
    version = facts.version // 10_000
    yield DoctorFinding(
        "database",
        DoctorVerdict.OK if version >= _OLDEST_POSTGRES else DoctorVerdict.WRONG,
        f"Postgres {version} answers"
        + ("" if version >= _OLDEST_POSTGRES else f"; {_OLDEST_POSTGRES} or newer is needed"),
    )
    apart_s = (facts.now - datetime.now(UTC)).total_seconds()
    if abs(apart_s) > _CLOCK_APART_S:
        yield DoctorFinding(
            "clock",
            DoctorVerdict.WRONG,
            f"Postgres' clock is {apart_s:+.1f} s from this machine's: tokens and dates need both right",
        )
    missing = _within(_DATABASE_WITHIN_S, lambda: pending(url))
    if missing:
        names = ", ".join(each.name for each in missing)
        yield DoctorFinding(
            "database",
            DoctorVerdict.NOTE,
            f"migrations that the api role applies at its start: {names}",
        )


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns; raise StorageUnavailable when it takes longer."""
    answers: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run, name="doctor", daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise StorageUnavailable(
            "the database does not answer", reason=f"no answer within {seconds:g} s"
        )
    return answers[0]


# The record root


def _record_root(settings: Settings) -> Iterator[DoctorFinding]:
    root = settings.record_root
    if root is None:
        return
    if not root.is_dir():
        yield DoctorFinding(
            "record root", DoctorVerdict.WRONG, f"{root} is not a folder; is its disk mounted?"
        )
        return
    owner = _name_of(root.stat().st_uid)
    space = os.statvfs(root)
    total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    reserve = settings.free_space_reserve.bytes_of(total)
    if space.f_flag & os.ST_RDONLY:
        yield DoctorFinding(
            "record root", DoctorVerdict.WRONG, f"{root} is on a read-only file system"
        )
    elif not os.access(root, os.W_OK | os.X_OK):
        yield DoctorFinding(
            "record root",
            DoctorVerdict.WRONG,
            f"{root} belongs to {owner} and {_name_of(os.geteuid())} may not write it",
        )
    full = free < reserve
    yield DoctorFinding(
        "record root",
        DoctorVerdict.NOTE if full else DoctorVerdict.OK,
        f"{root}, of {owner}: {_gb(free)} of {_gb(total)} are free"
        + (f", less than the reserve of {_gb(reserve)}: retention deletes" if full else ""),
    )
    if space.f_files and space.f_favail < _LEAST_INODES:
        yield DoctorFinding(
            "record root", DoctorVerdict.WRONG, f"only {space.f_favail} inodes are free"
        )
    if root.stat().st_dev == Path("/").stat().st_dev:
        yield DoctorFinding(
            "record root",
            DoctorVerdict.NOTE,
            f"{root} is on the system's own file system: is its disk mounted?",
        )
    if not (root / STATE).is_dir():
        yield DoctorFinding("record root", DoctorVerdict.NOTE, "no server has recorded into it yet")


def _pairing(settings: Settings) -> Iterator[DoctorFinding]:
    """Compare the record root's id with the database's, as the streaming role does at its start."""
    root, url = settings.record_root, settings.database_url
    if root is None or url is None:
        return
    facts = _within(_DATABASE_WITHIN_S, lambda: facts_of(root))
    if facts.fault is not None:
        yield DoctorFinding("record root", DoctorVerdict.WRONG, facts.fault.text)
        return
    try:
        indexed = _within(_DATABASE_WITHIN_S, lambda: _indexed(url.get_secret_value()))
    except StorageUnavailable:
        return  # said by the check of the database
    verdict = judge(facts, indexed)
    if verdict in {RootVerdict.MISSING, RootVerdict.CHANGED}:
        text = mismatch(verdict, root, facts, indexed).text
        yield DoctorFinding("record root", DoctorVerdict.WRONG, text)
    elif verdict is RootVerdict.OWN:
        text = f"it belongs to this database: id {facts.id} in both"
        yield DoctorFinding("record root", DoctorVerdict.OK, text)
    else:
        text = "it is not paired with the database yet: the streaming role does so at its start"
        yield DoctorFinding("record root", DoctorVerdict.NOTE, text)


def _indexed(url: str) -> Indexed:
    database = Database(url, max_size=1, application_name="doctor")
    database.open()
    try:
        known, segments = RecordRootRepository(database).known()
    finally:
        database.close()
    return Indexed(root_id=None if known is None else known.id, segments=segments)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


# The clock


def _clock(_: Settings) -> Iterator[DoctorFinding]:
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    if state < 0:
        number = ctypes.get_errno()
        yield DoctorFinding(
            "clock", DoctorVerdict.NOTE, f"its state is not known: {os.strerror(number)}"
        )
    elif state == _TIME_ERROR:
        yield DoctorFinding(
            "clock",
            DoctorVerdict.NOTE,
            "it is not synchronized; run chrony or systemd-timesyncd: recordings are dated by this clock",
        )
    else:
        # struct timex: modes, offset, freq, maxerror (microseconds).
        max_error_us = struct.unpack_from("@Illl", timex.raw)[3]
        yield DoctorFinding(
            "clock", DoctorVerdict.OK, f"synchronized, to {max_error_us / 1e6:.3f} s at worst"
        )


# FFmpeg


def _ffmpeg(settings: Settings) -> Iterator[DoctorFinding]:
    require_setpriv()
    ffmpeg = find_ffmpeg(settings.ffmpeg)
    sandbox = open_sandbox(settings.ffmpeg_sandbox, settings.ffmpeg_reads)
    account = ffmpeg_account(settings.ffmpeg_user)
    version = try_ffmpeg(ffmpeg, account, Path("/"), sandbox=sandbox)
    yield DoctorFinding(
        "ffmpeg", DoctorVerdict.OK, f"{ffmpeg} {version} starts with a recorder's limits"
    )
    missing = "FFMPEG_SANDBOX is off" if sandbox is None else ability().missing
    if missing is None:
        yield DoctorFinding(
            "ffmpeg sandbox", DoctorVerdict.OK, "FFmpeg reads what it records, alone"
        )
    else:
        yield DoctorFinding(
            "ffmpeg sandbox",
            DoctorVerdict.NOTE,
            f"if a camera's stream takes FFmpeg over: {missing}",
        )


# The media server


def _media_server(settings: Settings) -> Iterator[DoctorFinding]:
    url = urlsplit(settings.rtsp_internal_url)
    address = f"{url.hostname}:{url.port or 554}"
    try:
        with socket.create_connection(
            (url.hostname or "", url.port or 554), _ANSWERS_WITHIN_S
        ) as it:
            it.sendall(f"OPTIONS {settings.rtsp_internal_url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            spoken = it.recv(64).startswith(b"RTSP/1.")
    except OSError as error:
        yield DoctorFinding(
            "media server", DoctorVerdict.WRONG, f"RTSP at {address}: {_why(error)}"
        )
    else:
        verdict = DoctorVerdict.OK if spoken else DoctorVerdict.WRONG
        words = "answers RTSP" if spoken else "answers, but not RTSP: another program has this port"
        yield DoctorFinding("media server", verdict, f"{address} {words}")
    if settings.mediamtx_api_url is not None:
        yield from _control(settings, settings.mediamtx_api_url)
    if settings.internal_api_url is not None:
        yield from _hook(settings.internal_api_url)


def _control(settings: Settings, url: str) -> Iterator[DoctorFinding]:
    token = next(iter(settings.internal_tokens), "")
    client = MediaMtxClient(url, token, read_timeout_s=_ANSWERS_WITHIN_S)
    try:
        found = client.authentication()
    except Unavailable as error:
        yield DoctorFinding("media server", DoctorVerdict.WRONG, f"control API {url}: {error}")
        return
    finally:
        client.close()
    method, hook = found.method, found.hook
    if method != "http" or not hook.rstrip("/").endswith("/m2m/check-stream-pwd"):
        yield DoctorFinding(
            "media server",
            DoctorVerdict.WRONG,
            f"it does not ask this program who may publish and read (authMethod {method or 'internal'}): "
            "use deploy/mediamtx.yml",
        )
        return
    if left_open := sorted({"api", "metrics", "pprof"} & set(found.open_actions)):
        yield DoctorFinding(
            "media server",
            DoctorVerdict.WRONG,
            f"its authHTTPExclude leaves {', '.join(left_open)} open to whoever reaches them: remove it, "
            "as in deploy/mediamtx.yml",
        )
    port = urlsplit(hook).port
    right = port == settings.internal_api_port or urlsplit(hook).hostname not in _LOCAL
    yield DoctorFinding(
        "media server",
        DoctorVerdict.OK if right else DoctorVerdict.WRONG,
        f"its hook is {hook}"
        + ("" if right else f", not this program's port {settings.internal_api_port}"),
    )


_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def _hook(url: str) -> Iterator[DoctorFinding]:
    body = json.dumps({"action": "read", "path": "doctor", "protocol": "rtsp"}).encode()
    try:
        status, _ = _call(f"{url}/api/v1/m2m/check-stream-pwd", body)
    except OSError as error:
        yield DoctorFinding(
            "media server", DoctorVerdict.WRONG, f"the hook at {url} does not answer: {_why(error)}"
        )
        return
    right = status == HTTPStatus.UNAUTHORIZED
    yield DoctorFinding(
        "media server",
        DoctorVerdict.OK if right else DoctorVerdict.WRONG,
        f"the hook at {url} "
        + (
            "refuses what has no token" if right else f"answered {status} to a call without a token"
        ),
    )


# Keys


def _keys(settings: Settings) -> Iterator[DoctorFinding]:
    now = datetime.now(UTC)
    if settings.stream_token_keys is not None:
        for place, key in enumerate(parse_keys(settings.stream_token_keys.get_secret_value())):
            what = f"stream token key {key.kid} ({'signs' if place == 0 else 'verifies'})"
            yield _ends("keys", what, key.not_after, now)
    if settings.seal_key_file is not None:
        made = datetime.fromtimestamp(settings.seal_key_file.stat().st_mtime, UTC)
        key_id = load_signing_key(settings.seal_key_file).key_id
        old = now - made > _OLD_KEY
        yield DoctorFinding(
            "keys",
            DoctorVerdict.NOTE if old else DoctorVerdict.OK,
            f"seal key {key_id}, {(now - made).days} days old"
            + ("; consider a new one" if old else ""),
        )
    if settings.source_secret_keys is None and settings.mediamtx_api_url is not None:
        yield DoctorFinding(
            "keys",
            DoctorVerdict.NOTE,
            "SOURCE_SECRET_KEYS is not set: no camera's password is kept",
        )
    if len(settings.internal_tokens) > 1:
        yield DoctorFinding(
            "keys", DoctorVerdict.NOTE, "INTERNAL_TOKEN holds two: its change is not finished"
        )
    if settings.user_jwks_url is not None:
        client = JwksClient(settings.user_jwks_url)
        try:
            client.fetch()
        except Unavailable as error:
            yield DoctorFinding(
                "keys", DoctorVerdict.WRONG, f"identity provider {settings.user_jwks_url}: {error}"
            )
        else:
            yield DoctorFinding(
                "keys", DoctorVerdict.OK, f"identity provider {settings.user_jwks_url} answers"
            )
        finally:
            client.close()


def _ends(check: str, what: str, end: datetime | None, now: datetime) -> DoctorFinding:
    if end is None:
        return DoctorFinding(check, DoctorVerdict.OK, f"{what}, without an end")
    if end <= now:
        return DoctorFinding(check, DoctorVerdict.WRONG, f"{what} has ended on {end:%Y-%m-%d}")
    soon = end - now < _SOON
    return DoctorFinding(
        check,
        DoctorVerdict.NOTE if soon else DoctorVerdict.OK,
        f"{what} ends on {end:%Y-%m-%d}, in {(end - now).days} days",
    )


# Certificates


def _certificates(settings: Settings) -> Iterator[DoctorFinding]:
    seen = set[tuple[str, int]]()
    for url in (settings.page_url, settings.whep_url):
        parts = urlsplit(url or "")
        if parts.scheme == "https" and parts.hostname:
            seen.add((parts.hostname, parts.port or 443))
    for host, port in sorted(seen):
        yield _certificate(host, port)


def _certificate(host: str, port: int) -> DoctorFinding:
    where = f"{host}:{port}"
    try:
        with (
            socket.create_connection((host, port), _ANSWERS_WITHIN_S) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            found = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        # deploy/install makes a self-signed one where it is given none.
        own = "self" in error.verify_message and "signed" in error.verify_message
        return DoctorFinding(
            "certificates",
            DoctorVerdict.NOTE if own else DoctorVerdict.WRONG,
            f"{where}: {error.verify_message}" + (": browsers warn of it" if own else ""),
        )
    except OSError as error:
        return DoctorFinding(
            "certificates", DoctorVerdict.NOTE, f"{where} is not reached from here: {_why(error)}"
        )
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    return _ends("certificates", where, end, datetime.now(UTC))


# Ports


def _ports(settings: Settings, role: str) -> Iterator[DoctorFinding]:
    host = reachable(settings.host)
    for name in _PORTS[role]:
        port = getattr(settings, name)
        try:
            status, body = _call(f"http://{host}:{port}/readyz")
        except ConnectionRefusedError:
            yield _free(settings.host, name.removesuffix("_port"), port)
            continue
        except OSError as error:
            yield DoctorFinding(
                "ports", DoctorVerdict.WRONG, f"{host}:{port} ({name}): {_why(error)}"
            )
            continue
        yield from _ready(f"{host}:{port} ({name.removesuffix('_port')})", status, body)


def _free(host: str, role: str, port: int) -> DoctorFinding:
    try:
        with socket.create_server((host, port), family=_family(host)):
            pass
    except OSError as error:
        return DoctorFinding(
            "ports", DoctorVerdict.WRONG, f"{host}:{port} ({role}) cannot be bound: {_why(error)}"
        )
    return DoctorFinding(
        "ports", DoctorVerdict.NOTE, f"{host}:{port} ({role}) is free: the role does not run"
    )


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ready(where: str, status: int, body: bytes) -> Iterator[DoctorFinding]:
    try:
        checks = json.loads(body)["checks"]
    except (ValueError, KeyError, TypeError):
        yield DoctorFinding(
            "ports", DoctorVerdict.WRONG, f"{where}: another program has this port ({status})"
        )
        return
    wrong = {name: it.get("detail") for name, it in checks.items() if not it.get("ok")}
    for name, detail in wrong.items():
        yield DoctorFinding(
            "ports", DoctorVerdict.WRONG, f"{where} runs and is not ready: {name}: {detail}"
        )
    if not wrong:
        yield DoctorFinding("ports", DoctorVerdict.OK, f"{where} runs and is ready")


def _call(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and the body, 64 KiB at most; raise OSError."""
    parts = urlsplit(url)
    secured = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secured else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_ANSWERS_WITHIN_S)
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(65_536)
    except http.client.HTTPException as error:
        raise OSError(errno.EPROTO, f"it does not speak HTTP ({type(error).__name__})") from error
    finally:
        connection.close()


def _why(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
