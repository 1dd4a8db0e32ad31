"""The reasons why pulled cameras give no stream: a loop that asks them as MediaMTX does.

MediaMTX's control API says that a path is not ready and not why; the reason is in its log alone. So a
camera whose path is not ready is asked for its stream (DESCRIBE, SETUP, no PLAY), with its credentials,
at an address that was judged as its ``source_url`` is. Seldom: an unknown password must not lock the
account. One camera at a time for each host, a few in all, and never while the path is ready.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog

from streamwarden.clock import Clock
from streamwarden.errors import InvalidInput
from streamwarden.loops import LoopEvents, ReconcileLoop, pause_s
from streamwarden.mediamtx.control_api import MediaMtxClient
from streamwarden.mediamtx.credentials import (
    CameraCredentials,
    CredentialCipher,
    CredentialsUnreadable,
)
from streamwarden.mediamtx.rtsp_client import (
    CameraUrl,
    Login,
    NotDescribed,
    Trouble,
    distrusted,
    set_up,
)
from streamwarden.mediamtx.source_paths import SourcePaths, credentials_of, first_transport
from streamwarden.mediamtx.source_urls import (
    SourceTargets,
    SourceUnresolved,
    SourceUrl,
    parse_source,
)
from streamwarden.metrics.api_metrics import SourceMetrics
from streamwarden.model import CameraSource, SourceTrouble, Transport
from streamwarden.workers import WorkerPool

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
FIRST_AFTER_S: Final = 1.0
"""A camera that is back at once needs no reason."""
AGAIN_AFTER_S: Final = (3.0, 10.0, 30.0, 60.0)
LOCKED_AFTER_S: Final = 300.0
"""After a wrong password; MediaMTX itself shows it every 5 s."""
ANSWERS_WITHIN_S: Final = 4.0
AT_ONCE: Final = 4
"""Cameras that are asked at the same time."""
_STOP_WITHIN_S: Final = 10.0
_EVENTS: Final = LoopEvents(
    failed="sources_not_checked", recovered="sources_checked_again", bug="source_checks_failed"
)
_OTHERS: Final = (Transport.UDP, Transport.MULTICAST, Transport.TCP)
_WAYS_REFUSED: Final = frozenset({Trouble.TRANSPORT_REFUSED, Trouble.NOT_ACCEPTABLE})
_OF_TROUBLE: Final = {trouble: SourceTrouble(trouble.value) for trouble in Trouble}
_LOCKS: Final = frozenset({SourceTrouble.LOGIN_WRONG, SourceTrouble.FORBIDDEN})

WORDS: Final[Mapping[SourceTrouble, str]] = {
    SourceTrouble.UNRESOLVED: "the name in its source_url does not resolve",
    SourceTrouble.NOT_ALLOWED: "STREAMWARDEN_SOURCE_NETWORKS does not allow its address",
    SourceTrouble.CREDENTIALS: "its stored user name and password cannot be decrypted",
    SourceTrouble.CERTIFICATE: "the media server does not trust its certificate",
    SourceTrouble.REFUSED: "nothing listens at its port (connection refused)",
    SourceTrouble.UNREACHABLE: "its address cannot be reached: is it on, and connected?",
    SourceTrouble.TIMEOUT: "it does not answer in time: is it on, and connected?",
    SourceTrouble.CLOSED: "it closes the connection instead of answering",
    SourceTrouble.TLS: "the TLS connection fails",
    SourceTrouble.TLS_NEEDED: "its port speaks TLS alone: use rtsps://",
    SourceTrouble.NOT_RTSP: "what answers there does not speak RTSP",
    SourceTrouble.REDIRECT: "it redirects to another address",
    SourceTrouble.LOGIN_MISSING: "it asks for a user name and a password (401)",
    SourceTrouble.LOGIN_WRONG: "it refuses its user name or password (401)",
    SourceTrouble.LOGIN_UNKNOWN: "it asks for a way to sign in that is not known here",
    SourceTrouble.FORBIDDEN: "it does not allow this user to watch (403)",
    SourceTrouble.NOT_FOUND: "it has no stream at the path of its source_url (404)",
    SourceTrouble.TRANSPORT_REFUSED: "it does not send by this transport (461): set another one",
    SourceTrouble.NOT_ACCEPTABLE: "it does not send its stream as it is asked for (406): set another "
    "transport",
    SourceTrouble.BUSY: "it takes no further viewer, or has no bandwidth left (453)",
    SourceTrouble.NO_SESSION: "it has lost the session (454)",
    SourceTrouble.SERVER_ERROR: "it reports a fault of its own (5xx)",
    SourceTrouble.ERROR: "it answers with an error",
}
"""A main clause about the camera for each."""


class SourceTroubles:
    """The known reasons, by camera. Any thread."""

    def __init__(self) -> None:
        self._found: Mapping[UUID, SourceTrouble] = {}

    def of(self, camera_id: UUID) -> SourceTrouble | None:
        """Return why a camera gives no stream, None where it does or where that is not known."""
        return self._found.get(camera_id)

    def replace(self, found: Mapping[UUID, SourceTrouble]) -> None:
        """Replace all."""
        self._found = found


@dataclass(slots=True)
class _Absence:
    """A camera whose path is not ready: what was found, and when it is asked next."""

    row: CameraSource
    due_s: float
    asked: int = 0
    under_way: bool = False
    trouble: SourceTrouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnswer:
    """One answer: the reason, or the transport by which the camera would send; both None: all is well."""

    trouble: SourceTrouble | None = None
    transport: Transport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAsker:
    """Asks one camera. Blocking, for some seconds. ``ask`` and ``trust`` are the RTSP client's."""

    targets: SourceTargets
    cipher: CredentialCipher | None
    ask: Callable[[CameraUrl, Transport], None] = field(
        default=lambda url, transport: set_up(url, transport, timeout_s=ANSWERS_WITHIN_S)
    )
    trust: Callable[[CameraUrl, str], str | None] = field(
        default=lambda url, address: distrusted(url, address=address, timeout_s=ANSWERS_WITHIN_S)
    )

    def find(self, row: CameraSource) -> SourceAnswer:
        """Return what one camera answers, where it may be asked at all."""
        try:
            url, _ = parse_source(row.url)
            address = self.targets.addresses(url.host)[0]
            credentials = credentials_of(row, self.cipher)
            url, login = url.with_secrets(credentials), _login(credentials)
        except SourceUnresolved:
            return SourceAnswer(trouble=SourceTrouble.UNRESOLVED)
        except InvalidInput:
            return SourceAnswer(trouble=SourceTrouble.NOT_ALLOWED)
        except CredentialsUnreadable:
            return SourceAnswer(trouble=SourceTrouble.CREDENTIALS)
        return self._answer(row, url, address, login)

    def _answer(
        self, row: CameraSource, url: SourceUrl, address: str, login: Login | None
    ) -> SourceAnswer:
        camera = CameraUrl(url.at(address), login)
        first = first_transport(row.transport)
        try:
            self.ask(camera, first)
        except NotDescribed as error:
            if error.trouble in _WAYS_REFUSED and row.transport is Transport.AUTOMATIC:
                return self._another(camera, first, error.trouble)
            return SourceAnswer(trouble=_OF_TROUBLE[error.trouble])
        if camera.secure and self.trust(CameraUrl(str(url)), address) is not None:
            return SourceAnswer(trouble=SourceTrouble.CERTIFICATE)
        # It would send by the first one: an automatic path that was set to another goes back.
        return SourceAnswer(transport=first if row.transport is Transport.AUTOMATIC else None)

    def _another(self, camera: CameraUrl, refused: Transport, trouble: Trouble) -> SourceAnswer:
        for transport in _OTHERS:
            if transport is refused:
                continue
            try:
                self.ask(camera, transport)
            except NotDescribed as error:
                if error.trouble not in _WAYS_REFUSED:
                    return SourceAnswer(trouble=_OF_TROUBLE[error.trouble])
            else:
                return SourceAnswer(transport=transport)
        return SourceAnswer(trouble=_OF_TROUBLE[trouble])


def _login(credentials: CameraCredentials | None) -> Login | None:
    if credentials is None or not credentials.username:
        return None
    return Login(credentials.username, credentials.password)


class SourceChecks:
    """The loop, on a thread of its own; the questions are asked in a small pool."""

    def __init__(
        self,
        *,
        server: MediaMtxClient,
        paths: SourcePaths,
        asker: SourceAsker,
        troubles: SourceTroubles,
        clock: Clock,
        metrics: SourceMetrics,
        pool: WorkerPool | None = None,
    ) -> None:
        self._server = server
        self._paths = paths
        self._asker = asker
        self._troubles = troubles
        self._clock = clock
        self._metrics = metrics
        self._pool = pool or WorkerPool("source-checks", threads=AT_ONCE)
        self._lock = threading.Lock()
        self._absent: dict[UUID, _Absence] = {}
        self._thread = ReconcileLoop(
            "source-checks",
            self.turn,
            events=_EVENTS,
            on_failure=_nothing,
            stops_within_s=_STOP_WITHIN_S,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for the questions that are under way."""
        self._thread.stop()
        self._pool.close()
        self._server.close()

    def turn(self) -> float:
        """Look which cameras give no stream, and ask those that are due; return the pause.

        Raises:
            MediaServerUnavailable: the paths are not known.
        """
        rows = {row.camera_id: row for row in self._paths.wanted}
        now_s = self._clock.monotonic()
        ready = {state.name for state in self._server.path_states() if state.ready_since}
        took_s = self._clock.monotonic() - now_s
        with self._lock:
            self._take_in(rows, ready, now_s)
            due = self._due(now_s)
            for absence in due:
                absence.under_way = True
        for absence in due:
            self._ask(absence)
        self._show()
        return pause_s(EVERY_S, took_s=took_s)

    def _take_in(self, rows: Mapping[UUID, CameraSource], ready: set[str], now_s: float) -> None:
        for camera_id, absence in list(self._absent.items()):
            row = rows.get(camera_id)
            if row is None or row.path in ready or row != absence.row:
                del self._absent[camera_id]
                if absence.trouble is not None:
                    log.info("source_trouble_ended", camera_id=str(camera_id), was=absence.trouble)
        for camera_id, row in rows.items():
            if row.path not in ready and camera_id not in self._absent:
                self._absent[camera_id] = _Absence(row, now_s + FIRST_AFTER_S)

    def _due(self, now_s: float) -> list[_Absence]:
        busy = {_host(one.row) for one in self._absent.values() if one.under_way}
        places = AT_ONCE - sum(one.under_way for one in self._absent.values())
        found: list[_Absence] = []
        for absence in sorted(self._absent.values(), key=lambda one: one.due_s):
            host = _host(absence.row)
            if len(found) >= places or absence.due_s > now_s:
                break
            if not absence.under_way and host not in busy:
                busy.add(host)
                found.append(absence)
        return found

    def _ask(self, absence: _Absence) -> None:
        row = absence.row
        self._pool.run(
            lambda: self._asker.find(row), lambda result: self._answered(absence, result)
        )

    def _answered(self, absence: _Absence, result: SourceAnswer | Exception) -> None:
        row = absence.row
        if isinstance(result, Exception):
            # Only the type: the text may hold a URL.
            log.error(
                "source_check_failed", camera_id=str(row.camera_id), error=type(result).__name__
            )
            result = SourceAnswer()
        if result.transport is not None:
            self._paths.use(row, result.transport)
        with self._lock:
            absence.under_way = False
            wait_s = AGAIN_AFTER_S[min(absence.asked, len(AGAIN_AFTER_S) - 1)]
            if result.trouble in _LOCKS:
                wait_s = LOCKED_AFTER_S
            absence.asked += 1
            absence.due_s = self._clock.monotonic() + wait_s
            before, absence.trouble = absence.trouble, result.trouble
            still = self._absent.get(row.camera_id) is absence
        if still and result.trouble is not None and result.trouble is not before:
            log.warning(
                "source_trouble",
                camera_id=str(row.camera_id),
                path=row.path,
                why=result.trouble,
            )
        self._show()

    def _show(self) -> None:
        with self._lock:
            found = {
                camera_id: absence.trouble
                for camera_id, absence in self._absent.items()
                if absence.trouble is not None
            }
            self._troubles.replace(found)
            self._metrics.troubles(Counter(str(trouble) for trouble in found.values()))


def _host(row: CameraSource) -> str:
    return urlsplit(row.url).hostname or ""


def _nothing() -> None:
    """Do nothing: `SourcePaths` counts the control API's failures."""
