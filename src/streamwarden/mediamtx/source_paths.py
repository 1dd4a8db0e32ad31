"""The paths that MediaMTX pulls: a reconcile loop that makes them match the table ``camera_source``.

docs/design/0011-cameras-that-are-pulled.md says which paths are changed, and why several processes that
run this loop do not disturb each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from streamwarden.auth.rtsp_urls import Resolve
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, Unavailable
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.camera_source import RESERVED_PATHS
from streamwarden.mediamtx.control_api import MediaMtxClient, MediaPath, PathRefused
from streamwarden.mediamtx.credentials import (
    CameraCredentials,
    CredentialCipher,
    CredentialsUnreadable,
)
from streamwarden.mediamtx.source_urls import SourceTargets, SourceUnresolved, parse_source
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import CameraSource, Transport
from streamwarden.storage.cameras import SourceRepository

log = structlog.get_logger(__name__)

EVERY_S: Final = 10.0
LEAVE_S: Final = 2.0
"""A path that is no longer wanted stays this long: its recorder ends the last segment meanwhile."""
FRESH_S: Final = 8.0
"""Shorter than `EVERY_S`, so that each run of the loop resolves names again."""
FAILED_S: Final = 30.0
"""A failed name is not tried in every run: each attempt may wait for seconds."""
_MAX_NAMES: Final = 10_000
_SLOW_S: Final = 1.0
_PAUSE_FACTOR: Final = 3
"""A slow lookup is followed by a pause of this many times its length, so that a few names without an
answer do not delay all other cameras."""
_STOP_WITHIN_S: Final = 10.0
_EVENTS: Final = LoopEvents(
    failed="sources_not_compared", recovered="sources_compared_again", bug="source_sweep_failed"
)


class PulledPaths:
    """The pulled paths in memory, read by the hook without a lock. Empty until the first run."""

    def __init__(self) -> None:
        self._paths: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        """Return whether the path is pulled."""
        return path in self._paths

    def replace(self, paths: Iterable[str]) -> None:
        """Replace all paths."""
        self._paths = frozenset(paths)


class DnsCache:
    """A DNS cache for the loop: 8 s, failures 30 s. Not thread-safe.

    The names ``always`` are looked up also during the pause after a slow lookup.
    """

    def __init__(self, resolve: Resolve, clock: Clock, *, always: Collection[str] = ()) -> None:
        self._resolve = resolve
        self._clock = clock
        self._always = frozenset(always)
        self._paused_until_s = 0.0
        self._found: dict[str, tuple[float, Collection[str] | None]] = {}

    def addresses(self, name: str) -> Collection[str]:
        """Return the addresses of a name; raise OSError."""
        now_s = self._clock.monotonic()
        until_s, found = self._found.get(name, (now_s, None))
        if until_s <= now_s:
            if now_s < self._paused_until_s and name not in self._always:
                raise OSError("the name server is slow")
            found = self._look_up(name)
            if len(self._found) >= _MAX_NAMES:
                self._found.clear()
            kept_s = FAILED_S if found is None else FRESH_S
            self._found[name] = (self._clock.monotonic() + kept_s, found)
        if found is None:
            raise OSError("the name cannot be resolved")
        return found

    def _look_up(self, name: str) -> Collection[str] | None:
        began_s = self._clock.monotonic()
        try:
            return self._resolve(name)
        except (OSError, UnicodeError):
            return None
        finally:
            ended_s = self._clock.monotonic()
            if ended_s - began_s > _SLOW_S:
                self._paused_until_s = ended_s + _PAUSE_FACTOR * (ended_s - began_s)


class LastAddresses:
    """The allowed addresses of hosts; while a name does not resolve, its last ones. Not thread-safe."""

    def __init__(self, targets: SourceTargets) -> None:
        self._targets = targets
        self._last: dict[str, tuple[str, ...]] = {}

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of ``host``; raise SourceNotAllowed, SourceUnresolved."""
        try:
            self._last[host] = self._targets.addresses(host)
        except SourceUnresolved:
            if host not in self._last:
                raise
        except InvalidInput:
            self._last.pop(host, None)
            raise
        return self._last[host]

    def keep(self, hosts: Collection[str]) -> None:
        """Forget all other hosts."""
        self._last = {host: found for host, found in self._last.items() if host in hosts}


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredPath:
    """The desired state of one path at the media server.

    ``sources`` are the URLs of which the path should have one, the best first. ``fault`` says why there
    is none; then the path is left as it is where ``stays`` is set, and removed where it is not.
    """

    sources: tuple[str, ...] = field(default=(), repr=False)
    fault: str | None = None
    stays: bool = True


def desired_path(
    row: CameraSource, known: LastAddresses, cipher: CredentialCipher | None
) -> DesiredPath:
    """Return the desired path of one camera."""
    try:
        url, _ = parse_source(row.url)
    except InvalidInput:
        return DesiredPath(fault="invalid", stays=False)
    if row.path in RESERVED_PATHS:
        return DesiredPath(fault="invalid", stays=False)
    try:
        addresses = known.addresses(url.host)
    except SourceUnresolved:
        return DesiredPath(fault="unresolved")
    except InvalidInput:
        return DesiredPath(fault="not_allowed", stays=False)
    try:
        credentials = credentials_of(row, cipher)
    except CredentialsUnreadable:
        return DesiredPath(fault="credentials")
    found = [url.for_media_server(address, credentials) for address in addresses]
    return DesiredPath(sources=tuple(dict.fromkeys(found)))


def first_transport(transport: Transport) -> Transport:
    """Return what a path is set to first: TCP for automatic, as UDP loses packets without a word."""
    return Transport.TCP if transport is Transport.AUTOMATIC else transport


def _is_as_desired(
    path: MediaPath | None, desired: DesiredPath, transport: Transport | None
) -> bool:
    if path is None or path.source not in desired.sources:
        return False
    return transport is None or path.transport == transport


def credentials_of(row: CameraSource, cipher: CredentialCipher | None) -> CameraCredentials | None:
    """Return a camera's credentials, None where it has none; raise CredentialsUnreadable."""
    if row.encrypted is None:
        return None
    if cipher is None:
        raise CredentialsUnreadable("STREAMWARDEN_SOURCE_SECRET_KEYS is not set")
    return cipher.decrypt(row.camera_id, row.encrypted)


def rotate_credential_keys(
    rows: Iterable[CameraSource], cipher: CredentialCipher, table: SourceRepository
) -> int:
    """Encrypt all credentials with the first key; return how many changed. Raises Unavailable.

    Then an older key can be removed from ``SOURCE_SECRET_KEYS``.
    """
    rotated = 0
    for row in rows:
        if row.encrypted is None:
            continue
        try:
            after = cipher.rotate(row.camera_id, row.encrypted)
        except CredentialsUnreadable:
            continue  # the loop reports it
        if after is not None:
            rotated += table.renew(row.camera_id, row.encrypted, after)
    if rotated:
        log.info("credential_keys_rotated", cameras=rotated)
    return rotated


def hide_secrets(
    rows: Iterable[CameraSource], cipher: CredentialCipher, table: SourceRepository
) -> int:
    """Encrypt secrets in addresses that an earlier version stored as they are; return how many."""
    hidden = 0
    for row in rows:
        try:
            url, _ = parse_source(row.url)
            before = credentials_of(row, cipher) or CameraCredentials()
        except (InvalidInput, CredentialsUnreadable):
            continue  # the loop reports it
        if url.masked != url:
            after = cipher.encrypt(row.camera_id, replace(before, rest=url.rest))
            hidden += table.hide(row.camera_id, row.url, str(url.masked), after)
    if hidden:
        log.info("source_secrets_encrypted", cameras=hidden)
    return hidden


class SourcePaths:
    """The loop, on a thread of its own.

    ``ready`` raises Unavailable while the tables do not exist yet. Credentials are encrypted with the
    first key of ``cipher`` once for each start, not in every run: while keys are being changed, two
    processes may have them in different orders.
    """

    def __init__(
        self,
        *,
        server: MediaMtxClient,
        table: SourceRepository,
        targets: SourceTargets,
        cipher: CredentialCipher | None,
        pulled: PulledPaths,
        clock: Clock,
        metrics: SourceMetrics,
        ready: Callable[[], None],
    ) -> None:
        self._server = server
        self._table = table
        self._known = LastAddresses(targets)
        self._cipher = cipher
        self._pulled = pulled
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._rotated = cipher is None
        self._rows: Sequence[CameraSource] | None = None
        self._ours: set[str] = set()
        self._leaving: dict[str, float] = {}
        self._logged: dict[UUID, str] = {}
        self._found: dict[UUID, tuple[CameraSource, Transport]] = {}
        self.wanted: Sequence[CameraSource] = ()
        """The sources that the last pass wanted to have pulled. Any thread."""
        self._took_s = 0.0
        self._thread = ReconcileLoop(
            "sources",
            self._turn,
            events=_EVENTS,
            on_failure=metrics.sweep_failed,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; the media server continues to pull."""
        self._thread.stop()
        self._server.close()

    def wake(self) -> None:
        """Run now. Any thread; returns at once."""
        self._thread.wake()

    def use(self, row: CameraSource, transport: Transport) -> None:
        """Set an automatic camera's path to the transport that it was found to take. Any thread."""
        self._found[row.camera_id] = row, transport
        self._thread.wake()

    def sweep(self) -> None:
        """Compare the paths with the desired ones once, and correct the difference.

        Raises:
            Unavailable: the media server does not answer; or Postgres, and no rows are known yet.
        """
        current = self._read()
        wanted = [row for row in self._rows or () if row.status == "active"]
        self.wanted = wanted
        desired = {row.path: desired_path(row, self._known, self._cipher) for row in wanted}
        self._known.keep({urlsplit(row.url).hostname or "" for row in wanted})
        began_s = self._clock.monotonic()
        actual = {path.name: path for path in self._server.paths()}
        self._took_s = self._clock.monotonic() - began_s
        if current:
            self._remove_unwanted({path for path, one in desired.items() if one.stays}, actual)
        found = [self._correct(row, desired[row.path], actual, current=current) for row in wanted]
        faults = Counter(fault for fault in found if fault)
        self._metrics.show(wanted=len(wanted), are_set=len(wanted) - faults.total(), faults=faults)
        self._logged = {row.camera_id: self._logged.get(row.camera_id, "") for row in wanted}

    def _turn(self) -> float:
        self.sweep()
        return pause_s(LEAVE_S if self._leaving else EVERY_S, took_s=self._took_s)

    def _read(self) -> bool:
        """Read the tables; return False where Postgres is unavailable and the last rows are used."""
        try:
            self._ready()
            # In this order, so that a path that is recorded meanwhile is not taken for an unwanted one.
            ours = set(self._table.paths_set())
            self._rows, self._ours = self._table.all(), ours
        except Unavailable:
            if self._rows is None:
                raise
            return False
        self._pulled.replace(row.path for row in self._rows)
        if self._cipher is not None and not self._rotated:
            rotate_credential_keys(self._rows, self._cipher, self._table)
            if hide_secrets(self._table.all(), self._cipher, self._table):
                self._rows = self._table.all()
            self._rotated = True
        return True

    def _remove_unwanted(self, staying: Collection[str], actual: Collection[str]) -> None:
        """Remove our paths that are no longer wanted, `LEAVE_S` after that was seen."""
        now_s = self._clock.monotonic()
        gone = self._ours - set(staying)
        self._leaving = {path: self._leaving.get(path, now_s) for path in gone}
        for path in sorted(gone):
            if now_s - self._leaving[path] < LEAVE_S:
                continue
            if path in actual:
                self._server.forget(path)
                log.info("source_path_removed", path=path)
            self._table.forget_path(path)
            del self._leaving[path]

    def _correct(
        self,
        row: CameraSource,
        desired: DesiredPath,
        actual: Mapping[str, MediaPath],
        *,
        current: bool,
    ) -> str | None:
        """Set one camera's path where it differs; return its fault, None where it has none."""
        fault = desired.fault
        if fault is None and current and row.path not in self._ours:
            self._table.note_path(row.path)
        transport = self._transport(row)
        if fault is None and not _is_as_desired(actual.get(row.path), desired, transport):
            fault = self._set(row, desired, transport, current=current)
        self._log_change(row, fault)
        return fault

    def _set(
        self,
        row: CameraSource,
        desired: DesiredPath,
        transport: Transport | None,
        *,
        current: bool,
    ) -> str | None:
        """Set one camera's path; return ``refused`` where the media server does not take it."""
        if current and not self._table.is_at(row.camera_id, row.path):
            # Names were resolved meanwhile: the path may be another camera's by now, and just emptied.
            self._thread.wake()
            return None
        first = transport or first_transport(row.transport)
        try:
            self._server.pull(row.path, desired.sources[0], first)
        except PathRefused:
            return "refused"
        log.info("source_path_set", camera_id=str(row.camera_id), path=row.path)
        return None

    def _transport(self, row: CameraSource) -> Transport | None:
        """Return the transport that the path must have, None where any will do.

        That of an automatic camera is changed once it was found, and then left: another API process may
        have found another one.
        """
        if row.transport is not Transport.AUTOMATIC:
            return row.transport
        before, transport = self._found.pop(row.camera_id, (None, None))
        return transport if before == row else None

    def _log_change(self, row: CameraSource, fault: str | None) -> None:
        """Log a camera's fault once, and its end."""
        before, now = self._logged.get(row.camera_id, ""), fault or ""
        self._logged[row.camera_id] = now
        if now and now != before:
            log.warning("source_not_set", camera_id=str(row.camera_id), path=row.path, why=now)
        elif before and not now:
            log.info("source_set_again", camera_id=str(row.camera_id), path=row.path, was=before)
