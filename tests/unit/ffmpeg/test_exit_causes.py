"""Every row of the cause table, as Debian's 5.1 and the bundled 9.x say it."""

from __future__ import annotations

import errno
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwarden.ffmpeg.exit_causes import Killed, RunEnd, classify, message
from streamwarden.model import Cause

URL = "rtsp://127.0.0.1:8554/cam?token=secret"
INVALID = f"[error] {URL}: Invalid data found when processing input"


def end(
    code: int,
    stderr: str = "",
    *,
    wrote: bool = False,
    asked: bool = False,
    killed: Killed | None = None,
    waited_s: float = 0.5,
) -> RunEnd:
    return RunEnd(
        exit_code=code,
        stderr=stderr,
        wrote_media=wrote,
        asked_to_stop=asked,
        killed=killed,
        waited_s=waited_s,
        answer_wait_s=5.0,
    )


TABLE = [
    ("unauthorized", 8, f"[error] {URL}: Server returned 401 Unauthorized (authorization failed)"),
    ("unauthorized", 8, f"[error] {URL}: Server returned 403 Forbidden (access denied)"),
    ("source_offline", 8, f"[error] {URL}: Server returned 404 Not Found"),
    ("server_error", 8, f"[error] {URL}: Server returned 5XX Server Error reply"),
    ("server_error", 8, f"[error] {URL}: Server returned 400 Bad Request"),
    ("server_error", 8, f"{URL}: Server returned 4XX Client Error, but not one of 40{{0,1,3,4}}"),
    (
        "connection_refused",
        145,
        "[error] Connection to tcp://127.0.0.1:1 failed: Connection refused",
    ),
    ("unreachable", 251, "[tcp @ 0x1] [error] Failed to resolve hostname nowhere: Name or service"),
    ("unreachable", 143, f"[error] {URL}: No route to host"),
    ("unreachable", 155, f"[error] {URL}: Network is unreachable"),
    ("timeout", 146, f"[error] {URL}: Connection timed out"),
    ("server_error", 183, INVALID),
    ("disk_full", 228, "[error] av_interleaved_write_frame(): No space left on device"),
    ("disk_full", 134, "[error] av_interleaved_write_frame(): Disk quota exceeded"),
    (
        "record_root_read_only",
        226,
        "[error] Failed to open segment 'r1-000000.mp4'\nRead-only file system",
    ),
    ("not_writable", 243, "[error] Failed to open segment 'r1-000000.mp4'\nPermission denied"),
    (
        "not_writable",
        254,
        "[error] Failed to open segment 'r1-000001.mp4'\nNo such file or directory",
    ),
    ("unsupported_media", 234, "[error] Could not find tag for codec pcm_alaw in stream #1"),
    ("unsupported_media", 234, "[fatal] Stream map '0:v:0' matches no streams."),
    ("starting", 234, "[error] dimensions not set"),
    ("internal", 8, "[fatal] Unrecognized option 'nope'."),
    ("not_writable", 125, "env: cannot change directory to '/r/.live': No such file or directory"),
    ("ffmpeg_missing", 127, "env: 'setpriv': No such file or directory"),
    ("ffmpeg_missing", 127, "setpriv: failed to execute /opt/ffmpeg: Permission denied"),
    (
        "ffmpeg_missing",
        127,
        "/opt/ffmpeg: error while loading shared libraries: libx.so: cannot open",
    ),
    ("ffmpeg_crashed", 1, "[error] something nobody has seen yet"),
]


@pytest.mark.parametrize(("cause", "new_code", "stderr"), TABLE)
@pytest.mark.parametrize("is_old", [True, False], ids=["5.1", "9.x"])
def test_a_row_of_the_table(cause: str, new_code: int, stderr: str, is_old: bool) -> None:
    assert classify(end(1 if is_old else new_code, stderr)) is Cause(cause)


@pytest.mark.parametrize(
    ("cause", "number"),
    [
        (Cause.DISK_FULL, errno.ENOSPC),
        (Cause.DISK_FULL, errno.EDQUOT),
        (Cause.RECORD_ROOT_READ_ONLY, errno.EROFS),
        (Cause.NOT_WRITABLE, errno.EACCES),
        (Cause.NOT_WRITABLE, errno.ENOENT),
        (Cause.CONNECTION_REFUSED, errno.ECONNREFUSED),
        (Cause.TIMEOUT, errno.ETIMEDOUT),
    ],
)
def test_the_code_alone_is_enough_where_the_text_was_pushed_out(cause: Cause, number: int) -> None:
    assert classify(end(256 - number, "noise")) is cause


def test_a_stream_of_which_nothing_comes_waits_for_its_key_frame() -> None:
    said = "[error] dimensions not set"
    assert classify(end(1, said, waited_s=4.9)) is Cause.STARTING
    waited = end(1, said, waited_s=5.1)
    assert classify(waited) is Cause.NO_KEY_FRAME
    assert "nothing came for 5 s" in message(Cause.NO_KEY_FRAME, waited)


def test_reading_that_timed_out_is_a_stall_and_connecting_is_not() -> None:
    said = f"[error] {URL}: Connection timed out"
    assert classify(end(0, said, wrote=True)) is Cause.STALLED
    assert classify(end(1, said, wrote=False)) is Cause.TIMEOUT


@pytest.mark.parametrize(("waited_s", "cause"), [(4.9, "server_error"), (5.0, "timeout")])
def test_no_rtsp_is_told_from_no_answer_by_the_wait(waited_s: float, cause: str) -> None:
    assert classify(end(183, INVALID, waited_s=waited_s)) is Cause(cause)


def test_a_broken_packet_in_mid_stream_explains_no_end() -> None:
    assert classify(end(0, INVALID, wrote=True)) is Cause.SOURCE_OFFLINE


@pytest.mark.parametrize("stderr", ["", "[warning] Failed reading RTSP data: End of file"])
def test_code_0_that_nobody_asked_for_is_a_loss(stderr: str) -> None:
    assert classify(end(0, stderr, wrote=True)) is Cause.SOURCE_OFFLINE


@given(
    code=st.integers(-64, 255),
    stderr=st.sampled_from([row[2] for row in TABLE] + [""]),
    wrote=st.booleans(),
)
def test_what_we_asked_for_has_no_cause_whatever_ffmpeg_says(
    code: int, stderr: str, wrote: bool
) -> None:
    assert classify(end(code, stderr, wrote=wrote, asked=True)) is None


@given(stderr=st.sampled_from([row[2] for row in TABLE]))
def test_our_own_kill_explains_itself(stderr: str) -> None:
    assert classify(end(-9, stderr, wrote=True, killed=Killed.STALLED)) is Cause.STALLED
    assert classify(end(-9, stderr, killed=Killed.NEVER_STARTED)) is Cause.TIMEOUT


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_signal_that_was_not_ours_is_a_crash(number: signal.Signals) -> None:
    lost = end(-number, "[error] No space left on device", wrote=True)
    assert classify(lost) is Cause.FFMPEG_CRASHED
    assert message(Cause.FFMPEG_CRASHED, lost) == f"FFmpeg was ended by {number.name}"


def test_a_full_disk_outranks_what_it_makes_ffmpeg_say_besides() -> None:
    said = "[error] Failed to open segment 'x'\n[error] No space left on device\nConnection refused"
    assert classify(end(1, said)) is Cause.DISK_FULL


@given(code=st.integers(-70, 255), cause=st.sampled_from(Cause), stderr=st.just(f"{URL} secret"))
def test_the_message_is_one_line_without_anything_that_ffmpeg_said(
    code: int, cause: Cause, stderr: str
) -> None:
    text = message(cause, end(code, stderr))
    assert "secret" not in text
    assert "\n" not in text
    assert text


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (end(8, "Server returned 404 Not Found"), "no publisher at the camera's path (404)"),
        (end(0, wrote=True), "the camera no longer publishes"),
        (end(0), "ended the session before any media came"),
        (end(8, "Server returned 403 Forbidden"), "refused the read token (403)"),
        (end(8, "Server returned 5XX Server Error reply"), "answered with an error (5XX)"),
        (end(8, "Server returned 400 Bad Request"), "answered with an error (400)"),
        (end(183, INVALID), "is not RTSP"),
        (end(251, "Failed to resolve hostname nowhere"), "name does not resolve"),
        (end(143, "No route to host"), "no route to"),
        (end(146), "did not answer within 5 s"),
        (end(-9, killed=Killed.NEVER_STARTED, waited_s=20.2), "no media came within 20 s"),
        (end(-9, killed=Killed.STALLED, wrote=True), "FFmpeg was ended"),
        (end(234, "Could not find tag for codec pcm_alaw in stream #1"), "(pcm_alaw)"),
        (end(234, "Stream map '0:v:0' matches no streams."), "no video"),
        (end(226, "Failed to open segment 'x'\nRead-only file system"), "is read-only"),
        (end(134, "Disk quota exceeded"), "quota"),
        (end(1, "something nobody has seen yet"), "FFmpeg ended with code 1"),
    ],
)
def test_the_message_says_what_happened(lost: RunEnd, words: str) -> None:
    cause = classify(lost)
    assert cause is not None
    assert words in message(cause, lost)


@pytest.mark.parametrize(("cause", "code", "stderr"), TABLE)
def test_no_message_only_repeats_its_cause(cause: str, code: int, stderr: str) -> None:
    text = message(Cause(cause), end(code, stderr))
    assert text.split() != cause.split("_")
    assert len(text.split()) > 3
