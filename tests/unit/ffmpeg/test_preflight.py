from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from streamwarden.errors import Unavailable
from streamwarden.ffmpeg import preflight as module
from streamwarden.ffmpeg.command import FfmpegAccount, find_ffmpeg
from streamwarden.ffmpeg.preflight import Preflight, try_ffmpeg

PATIENCE_S = 30.0


def program(folder: Path, text: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def refusal(ffmpeg: str, folder: Path, *, answers_within_s: float = PATIENCE_S) -> str:
    with pytest.raises(Unavailable) as refused:
        try_ffmpeg(ffmpeg, None, folder, answers_within_s=answers_within_s)
    return str(refused.value)


def test_a_real_ffmpeg_says_its_version(tmp_path: Path) -> None:
    assert try_ffmpeg(find_ffmpeg(None), None, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a child as somebody else")
def test_it_is_tried_under_the_account_of_the_recorders() -> None:
    assert try_ffmpeg(find_ffmpeg(None), FfmpegAccount(65534, 65534), Path("/"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
def test_an_account_that_cannot_be_taken_is_refused_in_setprivs_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot be started: setpriv: "):
        try_ffmpeg(find_ffmpeg(None), FfmpegAccount(65534, 65534), tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'ffmpeg version 7.1 Copyright'; exit 3", "ended with code 3"),
        ("echo something else", "does not begin with 'ffmpeg version'"),
        ("kill -SYS $$", "a system call filter ends"),
        ("kill -SEGV $$", "was ended by signal 11"),
        (
            "echo 'ffmpeg: error while loading shared libraries: libx.so.1: cannot open' >&2; exit 127",
            "error while loading shared libraries: libx.so.1",
        ),
        (
            "echo 'setpriv: activate capabilities: Operation not permitted' >&2; exit 127",
            "SystemCallFilter=capset",
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(program(tmp_path, text), tmp_path)


def test_a_program_that_is_gone_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in refusal(str(tmp_path / "gone"), tmp_path)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert str(gone) in refusal(find_ffmpeg(None), gone)


@pytest.mark.parametrize("text", ["exec sleep 600", "exec yes"])
def test_a_program_that_does_not_end_is_ended(tmp_path: Path, text: str) -> None:
    assert "has not ended" in refusal(program(tmp_path, text), tmp_path, answers_within_s=1.0)


def test_it_is_tried_again_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S", (0.01,))
    answers = iter(["no", "no", "yes"])
    results: list[bool] = []
    worked = threading.Event()

    def attempt() -> str:
        if next(answers) == "no":
            raise Unavailable("not yet")
        return "7.1"

    def on_result(usable: bool) -> None:
        results.append(usable)
        if usable:
            worked.set()

    preflight = Preflight(attempt, on_result=on_result)
    with pytest.raises(Unavailable, match="not been tried"):
        preflight.check()
    preflight.start()
    assert worked.wait(PATIENCE_S)
    assert preflight.await_first(0)
    preflight.stop()
    preflight.check()
    assert results == [False, False, True]


def test_a_failed_attempt_is_the_reason_of_the_check() -> None:
    def attempt() -> str:
        raise Unavailable("a reason in words")

    preflight = Preflight(attempt, on_result=lambda _: None)
    preflight.start()
    assert preflight.await_first(PATIENCE_S)
    preflight.stop()
    with pytest.raises(Unavailable, match="a reason in words"):
        preflight.check()
