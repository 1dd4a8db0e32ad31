"""Has the media server pull the cameras that serve RTSP: sweeps over what is, as `app.eviction` does.

docs/design/0011-cameras-that-are-pulled.md says whose paths are touched, and why several processes that
do this do not disturb each other.


What the media server should pull for one camera: judged anew each time, from the row alone.

What names turned into a moment ago, so that a sweep over many cameras asks for each name once.

Paths that the media server pulls: nobody publishes to them.

Seals every camera's credentials by the first key, once for each start of the API role.

Then an older key can be taken out of ``SOURCE_SECRET_KEYS``. Once, and not at every sweep: while keys are
changed, two processes may hold them in different orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from streamwarden.auth.rtsp_urls import Resolve
from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput, Unavailable
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.camera_source import RESERVED_PATHS
from streamwarden.mediamtx.control_api import MediaPath, PathRefused
from streamwarden.mediamtx.credentials import CredentialCipher, Credentials, CredentialsUnreadable
from streamwarden.mediamtx.source_urls import SourceUnresolved, SourceUrl, parse_source
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import CameraSource


class Targets(Protocol):
    """Judges where a camera may be."""

    def addresses(self, host: str, /) -> Collection[str]:
        """Return what a host turns into; raise SourceNotAllowed, SourceUnresolved."""


class Opener(Protocol):
    """Opens credentials."""

    def open(self, camera_id: UUID, sealed: bytes, /) -> Credentials:
        """Return what was sealed for this camera; raise CannotOpen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredPath:
    """``acceptable`` are the URLs of which the path should have one, the best first.

    ``reason`` says what is wrong; then the path is left as it is where ``stays`` is set, and is not to
    be there where it is not.
    """

    acceptable: tuple[str, ...] = field(default=(), repr=False)
    reason: str | None = None
    stays: bool = True


class SourcePlans:
    """Plans for one camera after the other; remembers what names turned into. One thread."""

    def __init__(self, targets: Targets, opener: Opener | None) -> None:
        self._targets = targets
        self._opener = opener
        self._known: dict[str, tuple[str, ...]] = {}

    def plan(self, row: CameraSource) -> DesiredPath:
        """Return what should be pulled for the camera of ``row``."""
        try:
            url, _ = parse_source(row.url)
        except InvalidInput:
            return DesiredPath(reason="invalid", stays=False)
        if row.path in RESERVED_PATHS:
            return DesiredPath(reason="invalid", stays=False)
        try:
            addresses = self._addresses(url)
        except SourceUnresolved:
            return DesiredPath(reason="unresolved")
        except InvalidInput:
            return DesiredPath(reason="not_allowed", stays=False)
        try:
            shown = self._credentials(row)
        except CredentialsUnreadable:
            return DesiredPath(reason="credentials")
        found = [url.for_media_server(address, shown) for address in addresses]
        return DesiredPath(acceptable=tuple(dict.fromkeys(found)))

    def keep(self, hosts: Collection[str]) -> None:
        """Forget every other name."""
        self._known = {name: found for name, found in self._known.items() if name in hosts}

    def _addresses(self, url: SourceUrl) -> tuple[str, ...]:
        """Look the host up; while it cannot be, what it was last counts: that was allowed."""
        try:
            found = tuple(self._targets.addresses(url.host))
        except SourceUnresolved:
            if url.host not in self._known:
                raise
            return self._known[url.host]
        except InvalidInput:
            self._known.pop(url.host, None)
            raise
        self._known[url.host] = found
        return found

    def _credentials(self, row: CameraSource) -> Credentials | None:
        if row.sealed is None:
            return None
        if self._opener is None:
            raise CredentialsUnreadable("STREAMWARDEN_SOURCE_SECRET_KEYS is not set")
        return self._opener.open(row.camera_id, row.sealed)


FRESH_S: Final = 8.0
"""Less than the time between two sweeps: each looks again."""


FAILED_S: Final = 30.0
"""A name server that is away is not asked by every sweep: each question may wait for seconds."""


_MOST: Final = 10_000


_SLOW_S: Final = 1.0


_RESTS: Final = 3
"""A question that took so long is followed by a rest of so many times its length: a few names that
nobody answers for must not hold up all other cameras."""


class DnsCache:
    """Remembers for seconds. One thread. ``always`` are asked for at once, whatever the others took."""

    def __init__(self, resolve: Resolve, clock: Clock, *, always: Collection[str] = ()) -> None:
        self._always = frozenset(always)
        self._rests_until_s = 0.0
        self._resolve = resolve
        self._clock = clock
        self._found: dict[str, tuple[float, Collection[str] | None]] = {}

    def addresses(self, name: str) -> Collection[str]:
        """Return a name's addresses; raise OSError."""
        now_s = self._clock.monotonic()
        until_s, found = self._found.get(name, (now_s, None))
        if until_s <= now_s:
            if now_s < self._rests_until_s and name not in self._always:
                raise OSError("the name server is slow")
            found = self._ask(name)
            if len(self._found) >= _MOST:
                self._found.clear()
            kept_s = FAILED_S if found is None else FRESH_S
            self._found[name] = (self._clock.monotonic() + kept_s, found)
        if found is None:
            raise OSError("the name cannot be resolved")
        return found

    def _ask(self, name: str) -> Collection[str] | None:
        began_s = self._clock.monotonic()
        try:
            return self._resolve(name)
        except (OSError, UnicodeError):
            return None
        finally:
            ended_s = self._clock.monotonic()
            if ended_s - began_s > _SLOW_S:
                self._rests_until_s = ended_s + _RESTS * (ended_s - began_s)


class PulledPaths:
    """A copy in memory, which the hook reads without a lock. Empty until it is known."""

    def __init__(self) -> None:
        self._paths: frozenset[str] = frozenset()

    def __contains__(self, path: object) -> bool:
        """Tell whether the path is pulled."""
        return path in self._paths

    def know(self, paths: Iterable[str]) -> None:
        """Take over which paths there are."""
        self._paths = frozenset(paths)


log = structlog.get_logger(__name__)


class CredentialTable(Protocol):
    """The table ``camera_source``."""

    def renew(self, camera_id: UUID, before: bytes, after: bytes, /) -> bool:
        """Replace sealed credentials; False if they have changed since."""


def rotate_credential_keys(
    rows: Iterable[CameraSource], sealer: CredentialCipher, table: CredentialTable
) -> int:
    """Seal by the first key what another has sealed; return how many. Raises Unavailable."""
    renewed = 0
    for row in rows:
        after = None if row.sealed is None else _renewed(row, row.sealed, sealer)
        if row.sealed is not None and after is not None:
            renewed += table.renew(row.camera_id, row.sealed, after)
    if renewed:
        log.info("credentials_sealed_anew", cameras=renewed)
    return renewed


def _renewed(row: CameraSource, sealed: bytes, sealer: CredentialCipher) -> bytes | None:
    try:
        return sealer.renew(row.camera_id, sealed)
    except CredentialsUnreadable:
        return None  # the sweep says so


EVERY_S: Final = 10.0


LEAVE_S: Final = 2.0
"""So long a path stays that is no longer wanted: its recorder ends the last segment meanwhile."""


_STOP_WITHIN_S: Final = 10.0


_EVENTS: Final = LoopEvents(
    failed="sources_not_compared", recovered="sources_compared_again", bug="source_sweep_failed"
)


class MediaServer(Protocol):
    """The media server's control API; every call raises Unavailable."""

    def paths(self) -> Sequence[MediaPath]:
        """Return every configured path."""

    def pull(self, path: str, source: str, /) -> None:
        """Have a path pulled; raise PathRefused."""

    def forget(self, path: str, /) -> None:
        """Have a path pulled no more."""

    def close(self) -> None:
        """Close the connection."""


class Table(Protocol):
    """The tables ``camera_source`` and ``pulled_path``; every call raises Unavailable."""

    def all(self) -> Sequence[CameraSource]:
        """Return every source."""

    def paths_set(self) -> Collection[str]:
        """Return the paths that may be set."""

    def renew(self, camera_id: UUID, before: bytes, after: bytes, /) -> bool:
        """Replace sealed credentials; False if they have changed since."""

    def note_path(self, path: str, /) -> None:
        """Note that a path is about to be set."""

    def forget_path(self, path: str, /) -> None:
        """Note that a path is set no more."""


class SourcePaths:
    """A thread of its own. ``ready`` raises Unavailable while the tables are not there yet.

    Credentials that another key than ``sealer``'s first has sealed are sealed anew, once.
    """

    def __init__(
        self,
        *,
        server: MediaServer,
        table: Table,
        plans: SourcePlans,
        pulled: PulledPaths,
        clock: Clock,
        metrics: SourceMetrics,
        ready: Callable[[], None],
        sealer: CredentialCipher | None = None,
    ) -> None:
        self._server = server
        self._table = table
        self._plans = plans
        self._pulled = pulled
        self._clock = clock
        self._metrics = metrics
        self._ready = ready
        self._renewing = sealer
        self._rows: Sequence[CameraSource] | None = None
        self._ours: set[str] = set()
        self._leaving: dict[str, float] = {}
        self._said: dict[UUID, str] = {}
        self._took_s = 0.0
        self._thread = ReconcileLoop(
            "sources",
            self._turn,
            events=_EVENTS,
            on_failure=metrics.sweep_failed,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the media server goes on pulling."""
        self._thread.stop()
        self._server.close()

    def wake(self) -> None:
        """Look now. Any thread; returns at once."""
        self._thread.wake()

    def sweep(self) -> None:
        """Compare what is wanted with what is, once, and mend the difference.

        Raises:
            Unavailable: the media server does not answer; or Postgres, and nothing is known yet.
        """
        current = self._read()
        wanted = [row for row in self._rows or () if row.status == "active"]
        plans = {row.path: self._plans.plan(row) for row in wanted}
        self._plans.keep({urlsplit(row.url).hostname or "" for row in wanted})
        began_s = self._clock.monotonic()
        given = {path.name: path.source for path in self._server.paths()}
        self._took_s = self._clock.monotonic() - began_s
        if current:
            self._leave({path for path, plan in plans.items() if plan.stays}, given)
        reasons = [self._settle(row, plans[row.path], given, current=current) for row in wanted]
        faults = Counter(reason for reason in reasons if reason)
        self._metrics.show(wanted=len(wanted), are_set=len(wanted) - faults.total(), faults=faults)
        self._said = {row.camera_id: self._said.get(row.camera_id, "") for row in wanted}

    def _turn(self) -> float:
        self.sweep()
        return pause_s(LEAVE_S if self._leaving else EVERY_S, took_s=self._took_s)

    def _read(self) -> bool:
        """Read the tables; return whether they answered, or what they said last has to do."""
        try:
            self._ready()
            # In this order: a path that is noted meanwhile is not taken for one that nobody wants.
            ours = set(self._table.paths_set())
            self._rows, self._ours = self._table.all(), ours
        except Unavailable:
            if self._rows is None:
                raise
            return False
        self._pulled.know(row.path for row in self._rows)
        if self._renewing is not None:
            rotate_credential_keys(self._rows, self._renewing, self._table)
            self._renewing = None
        return True

    def _leave(self, staying: Collection[str], given: Mapping[str, str]) -> None:
        """Take back what we have set and want no more, a while after it was wanted last."""
        now_s = self._clock.monotonic()
        gone = self._ours - set(staying)
        self._leaving = {path: self._leaving.get(path, now_s) for path in gone}
        for path in sorted(gone):
            if now_s - self._leaving[path] < LEAVE_S:
                continue
            if path in given:
                self._server.forget(path)
                log.info("source_path_removed", path=path)
            self._table.forget_path(path)
            del self._leaving[path]

    def _settle(
        self, row: CameraSource, plan: DesiredPath, given: Mapping[str, str], *, current: bool
    ) -> str | None:
        """Have one camera pulled as planned; return what is wrong, None where nothing is."""
        reason = plan.reason
        if reason is None and current and row.path not in self._ours:
            self._table.note_path(row.path)
        if reason is None and given.get(row.path) not in plan.acceptable:
            reason = self._set(row, plan.acceptable[0])
        self._say(row, reason)
        return reason

    def _set(self, row: CameraSource, source: str) -> str | None:
        try:
            self._server.pull(row.path, source)
        except PathRefused:
            return "refused"
        log.info("source_path_set", camera_id=str(row.camera_id), path=row.path)
        return None

    def _say(self, row: CameraSource, reason: str | None) -> None:
        """Log a camera's trouble once, and its end."""
        before, now = self._said.get(row.camera_id, ""), reason or ""
        self._said[row.camera_id] = now
        if now and now != before:
            log.warning("source_not_set", camera_id=str(row.camera_id), path=row.path, why=now)
        elif before and not now:
            log.info("source_set_again", camera_id=str(row.camera_id), path=row.path, was=before)
