"""Every row of the cause table that can be provoked, with real FFmpegs of both builds.

All rows of a build go wrong at the same time, so that their waits are one wait.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from uuid import UUID, uuid4

import pytest

from streamwarden.devkit.relay.faults import Fault, FaultAction, Misbehaviour, Silence
from streamwarden.devkit.relay.relay_server import RelayServer
from streamwarden.ffmpeg.command import DIE_WITH_PARENT
from streamwarden.ffmpeg.run import ClosedSegment
from streamwarden.ffmpeg.watcher import RunHandle, RunWatcher, StallTimeouts
from streamwarden.model import Cause
from streamwarden.recordings.segment_store import SegmentStore
from tests.integration.ffmpeg.ffmpeg_builds import (
    BOTH,
    complaints,
    ffmpeg_of,
    make_clip,
    published,
)
from tests.integration.ffmpeg.recording_listener import (
    RecordingListener,
    TwistedOrder,
    eventually,
    pids_in,
    watching,
)

IS_ROOT = os.geteuid() == 0
FULL, READ_ONLY = "disk full", "read-only"
NO_FAULT = Fault()
PATIENT = StallTimeouts(first_fragment_s=40, silence_s=40)


@dataclass(slots=True)
class CauseRow:
    """One way to go wrong: ``before`` the spawn, or ``after`` the first segment was listed."""

    cause: Cause | None
    fault: Fault = NO_FAULT
    live: bool = False
    timeouts: StallTimeouts = PATIENT
    url: str | None = None
    twist: Callable[[list[str]], list[str]] = list
    before: Callable[[Case], None] | None = None
    after: Callable[[Case], None] | None = None
    at_spawn: Callable[[Case], None] | None = None


@dataclass(slots=True)
class Case:
    """A row under way."""

    relay: RelayServer
    name: str
    store: SegmentStore
    listener: RecordingListener = field(default_factory=RecordingListener)
    runs: RunHandle | None = None

    @property
    def path(self) -> str:
        return f"row/{self.name.replace(' ', '-')}"

    def fault(self, fault: Fault) -> None:
        self.relay.faults.set(self.path, fault)

    def act(self, action: FaultAction) -> None:
        assert self.relay.faults.act(self.path, action) == 1

    def signal(self, number: signal.Signals) -> None:
        (pid,) = pids_in(self.store.live)
        os.kill(pid, number)

    def stop(self) -> None:
        assert self.runs is not None
        self.runs.stop(1)


def _as_nobody(argv: list[str]) -> list[str]:
    if not IS_ROOT:
        return argv
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
    return [*nobody, *argv[argv.index("--") + 1 :]]


def with_option(argv: list[str], option: str) -> list[str]:
    after = len(DIE_WITH_PARENT) + 1
    return [*argv[:after], option, *argv[after:]]


def _forbid(case: Case) -> None:
    case.store.live.chmod(0o700 if IS_ROOT else 0o500)


def _mount(folder: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=400k,mode=755", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _fill(case: Case) -> None:
    with (case.store.live / "filler").open("wb", 0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _mount_small(case: Case) -> None:
    _mount(case.store.live.parent)
    case.store.prepare()


def _mount_read_only(case: Case) -> None:
    _mount_small(case)
    command = ["mount", "-o", "remount,ro", str(case.store.live.parent)]
    subprocess.run(command, check=True, capture_output=True)


ROWS = {
    "401": CauseRow(Cause.UNAUTHORIZED, Fault(describe_status=401)),
    "403": CauseRow(Cause.UNAUTHORIZED, Fault(describe_status=403)),
    "nobody publishes": CauseRow(Cause.SOURCE_OFFLINE),
    "400": CauseRow(Cause.SERVER_ERROR, Fault(describe_status=400)),
    "454": CauseRow(Cause.SERVER_ERROR, Fault(describe_status=454)),
    "500": CauseRow(Cause.SERVER_ERROR, Fault(describe_status=500)),
    "503": CauseRow(Cause.SERVER_ERROR, Fault(describe_status=503)),
    "not rtsp": CauseRow(Cause.SERVER_ERROR, Fault(describe=Misbehaviour.NOT_RTSP)),
    "refused": CauseRow(Cause.CONNECTION_REFUSED, url="rtsp://127.0.0.1:{refused}/x"),
    "unresolvable": CauseRow(Cause.UNREACHABLE, url="rtsp://no-such-host.invalid/x"),
    "connect hangs": CauseRow(Cause.TIMEOUT, url="rtsp://127.0.0.1:{full}/x"),
    "describe hangs": CauseRow(Cause.TIMEOUT, Fault(describe=Misbehaviour.HANG)),
    "never started": CauseRow(
        Cause.TIMEOUT,
        Fault(describe=Misbehaviour.HANG),
        timeouts=StallTimeouts(first_fragment_s=1.0),
    ),
    "reading times out": CauseRow(
        Cause.STALLED, live=True, after=lambda case: case.fault(Fault(silence=Silence.ALL))
    ),
    "rtcp only": CauseRow(
        Cause.STALLED,
        live=True,
        timeouts=StallTimeouts(first_fragment_s=40, silence_s=2.5),
        after=lambda case: case.fault(Fault(silence=Silence.MEDIA)),
    ),
    "fin": CauseRow(
        Cause.SOURCE_OFFLINE, live=True, after=lambda case: case.act(FaultAction.CLOSE_READERS)
    ),
    "rst": CauseRow(
        Cause.SOURCE_OFFLINE, live=True, after=lambda case: case.act(FaultAction.RESET_READERS)
    ),
    FULL: CauseRow(Cause.DISK_FULL, live=True, before=_mount_small, after=_fill),
    READ_ONLY: CauseRow(Cause.RECORD_ROOT_READ_ONLY, live=True, before=_mount_read_only),
    "not permitted": CauseRow(Cause.NOT_WRITABLE, live=True, before=_forbid, twist=_as_nobody),
    "folder missing": CauseRow(
        Cause.NOT_WRITABLE, live=True, before=lambda case: case.store.live.rmdir()
    ),
    "folder removed": CauseRow(
        Cause.NOT_WRITABLE, live=True, after=lambda case: rmtree(case.store.live)
    ),
    "audio does not fit": CauseRow(Cause.UNSUPPORTED_MEDIA),
    "bad option": CauseRow(Cause.INTERNAL, twist=lambda argv: with_option(argv, "-nope")),
    "nul in an argument": CauseRow(Cause.INTERNAL, url="rtsp://127.0.0.1/\0secret"),
    "not loadable": CauseRow(
        Cause.FFMPEG_MISSING,
        twist=lambda argv: [
            *DIE_WITH_PARENT,
            "/nonexistent/ffmpeg",
            *argv[len(DIE_WITH_PARENT) + 1 :],
        ],
    ),
    "stopped while recording": CauseRow(None, live=True, after=Case.stop),
    "stopped while connecting": CauseRow(
        None, Fault(describe=Misbehaviour.HANG), at_spawn=Case.stop
    ),
    "killed": CauseRow(
        Cause.FFMPEG_CRASHED, live=True, after=lambda case: case.signal(signal.SIGKILL)
    ),
    "crashed": CauseRow(
        Cause.FFMPEG_CRASHED, live=True, after=lambda case: case.signal(signal.SIGSEGV)
    ),
}
NEEDS_MOUNT = {FULL, READ_ONLY}
TORN = {"killed", "crashed", "rtcp only"}
"""These are cut off while a file is open that already holds a whole fragment."""
TORN_BYTES = 40_000
RECORDED = [name for name, row in ROWS.items() if row.after is not None]


def _can_mount(folder: Path) -> bool:
    try:
        _mount(folder)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayServer]:
    """A relay to which a camera publishes every path that something is recorded from."""
    clip = make_clip(tmp_path_factory.mktemp("clip"))
    live = [f"row/{name.replace(' ', '-')}" for name, row in ROWS.items() if row.live]
    with (
        RelayServer() as relay,
        published(relay, clip, live),
        published(relay, clip, ["row/audio-does-not-fit"], audio=("pcm_alaw", "-ar", "8000")),
    ):
        yield relay


def _full_listener(stack: ExitStack) -> int:
    """A port whose queue of connections is full: connecting to it hangs."""
    listener = stack.enter_context(closing(socket.socket()))
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(4):
        caller = stack.enter_context(closing(socket.socket()))
        caller.setblocking(False)
        caller.connect_ex(listener.getsockname())
    return int(listener.getsockname()[1])


def _refused_port(stack: ExitStack) -> int:
    bound = stack.enter_context(closing(socket.socket()))
    bound.bind(("127.0.0.1", 0))
    return int(bound.getsockname()[1])


@pytest.fixture(scope="module", params=BOTH)
def cases(
    request: pytest.FixtureRequest,
    camera: RelayServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Case]]:
    root = tmp_path_factory.mktemp("record root")
    skipped = set() if _can_mount(tmp_path_factory.mktemp("mount")) else NEEDS_MOUNT
    camera.faults.clear()
    with ExitStack() as stack:
        ports = {"refused": _refused_port(stack), "full": _full_listener(stack)}
        watchers: dict[StallTimeouts, RunWatcher] = {}
        begun = {}
        for name, row in ROWS.items():
            if name in skipped:
                continue
            if row.timeouts not in watchers:
                ffmpeg = ffmpeg_of(request.param)
                watchers[row.timeouts] = stack.enter_context(
                    watching(ffmpeg, timeouts=row.timeouts)
                )
            begun[name] = _begin(camera, root, name, watchers[row.timeouts], ports)
            if name in NEEDS_MOUNT:
                folder = str(begun[name].store.live.parent)
                stack.callback(subprocess.run, ["umount", folder], check=True)
        for name, case in begun.items():
            if (act := ROWS[name].at_spawn) is not None:
                case.listener.wait("spawned")
                act(case)
        for name, case in begun.items():
            _go_on(ROWS[name], case)
        for case in begun.values():
            case.listener.end()
        yield begun


def _begin(
    relay: RelayServer, root: Path, name: str, watcher: RunWatcher, ports: dict[str, int]
) -> Case:
    row, camera_id = ROWS[name], uuid4()
    case = Case(relay, name, SegmentStore(root, "alice", camera_id))
    case.store.prepare()
    if row.before is not None:
        row.before(case)
    case.fault(row.fault)
    url = row.url.format(**ports) if row.url else f"{relay.rtsp_url}/{case.path}?token=s3cr3t"
    case.runs = watcher.adopt(camera_id, case.listener)
    seconds = 4 if name in TORN else 1
    order = TwistedOrder(folder=case.store.live, url=url, twist=row.twist, segment_seconds=seconds)
    case.runs.spawn(order)
    return case


def _go_on(row: CauseRow, case: Case) -> None:
    if row.after is not None:
        case.listener.segment()
        if case.name in TORN:
            assert eventually(lambda: _size(case.store.live / "r1-000001.mp4") > TORN_BYTES)
        row.after(case)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_cause_table(cases: dict[str, Case], name: str) -> None:
    if name not in cases:
        pytest.skip("mounting a tmpfs is not permitted here")
    end = cases[name].listener.end()
    assert (end.cause, "s3cr3t" in repr(end)) == (ROWS[name].cause, False)
    assert end.recorded is (name in RECORDED)


@pytest.mark.parametrize("name", sorted(set(RECORDED) - {"folder removed"}))
def test_what_was_recorded_until_then_can_be_played(cases: dict[str, Case], name: str) -> None:
    if name not in cases:
        pytest.skip("mounting a tmpfs is not permitted here")
    case = cases[name]
    assert not [path for path in _stored(case) if complaints(path)]
    if ROWS[name].cause is None:
        assert case.listener.end().open_segment is None


def _stored(case: Case) -> Iterator[Path]:
    """Store what was listed and what is torn, as the recorder would."""
    store, end = case.store, case.listener.end()
    # Where the disk was full, space is made first.
    (store.live / "filler").unlink(missing_ok=True)
    for what in [what for told, _, what in case.listener.told if told == "segment_closed"]:
        assert isinstance(what, ClosedSegment)
        stored = store.publish(what)
        if stored is not None:
            yield store.live.parents[2] / stored.row.path
    if end.open_segment is not None:
        torn = store.publish(end.open_segment)
        assert torn is not None or case.name not in TORN
        if torn is not None:
            assert torn.row.media_ms > 0
            yield store.live.parents[2] / torn.row.path


def test_the_watchdog_says_that_the_run_stalled_before_it_kills_it(
    cases: dict[str, Case],
) -> None:
    names = cases["rtcp only"].listener.names()
    assert names.index("stalled") < names.index("ended")
    assert "stalled" not in cases["reading times out"].listener.names()


def test_a_stopped_run_lists_its_last_segment_first(cases: dict[str, Case]) -> None:
    assert cases["stopped while recording"].listener.names()[-2:] == ["segment_closed", "ended"]


def test_a_lost_run_is_reported_in_order(cases: dict[str, Case]) -> None:
    # What the sound of a run is may be known at any time.
    names = [name for name in cases["killed"].listener.names() if name != "sound_judged"]
    assert names[:4] == ["adopted", "spawned", "recording", "segment_closed"]


def test_no_program_is_ffmpeg_missing(tmp_path: Path) -> None:
    listener = RecordingListener()
    with watching(str(tmp_path / "none")) as watcher:
        watcher.adopt(UUID(int=1), listener).spawn(TwistedOrder(folder=tmp_path))
        assert listener.end().cause is Cause.FFMPEG_MISSING
