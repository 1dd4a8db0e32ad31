"""Looks at the files that FFmpeg writes, in threads of their own.

A disk may not answer: a dead NFS server, a failing controller. The watching thread therefore only asks,
and judges by the answers and by their absence. One thread looks as long as the disk answers. While a look
does not return, another thread takes the rest of the queue; there are at most ``MAX_THREADS``.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from streamwarden.mp4.boxes import NotFragmentedMp4
from streamwarden.mp4.fragments import init_bytes, summarise
from streamwarden.paths import open_nofollow

log = structlog.get_logger(__name__)

MAX_THREADS: Final = 4
_SLOW_S: Final = 1.0
"""A look that takes longer than this no longer holds up the looks at other files."""
_TRAILER: Final = b"mfra"
"""The box that follows the header directly when a run has ended before its first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A file as it was found: ``exists`` is None where the disk refused to say.

    ``modified_s`` is in seconds since the epoch, None if the file was not found. ``media_ms`` is the
    length of its pictures, None unless it was asked for and could be read.
    """

    exists: bool | None
    size_bytes: int = 0
    modified_s: float | None = None
    holds_media: bool = False
    media_ms: int | None = None


def look_at(path: Path, *, holds_media: bool, measure: bool = False) -> Look:
    """Look at a segment's file. Blocking.

    ``holds_media`` if it need not be opened to know that, ``measure`` to read the length of its pictures.
    """
    media_ms = None
    try:
        found = os.stat(path)  # noqa: PTH116 - once a second for each run; pathlib doubles its cost
        media = holds_media or _holds_media(path, found.st_size)
        if measure and media:
            media_ms = _media_ms(path)
    except FileNotFoundError:
        return Look(exists=False)
    except OSError:
        return Look(exists=None)
    return Look(
        exists=True,
        size_bytes=found.st_size,
        modified_s=found.st_mtime,
        holds_media=media,
        media_ms=media_ms,
    )


def _media_ms(path: Path) -> int | None:
    try:
        return summarise(path).media_ms
    except NotFragmentedMp4:
        return None


def _holds_media(path: Path, size: int) -> bool:
    fd = open_nofollow(path)
    try:
        header = init_bytes(fd)
        kind = os.pread(fd, 4, header + 4) if header is not None else b""
    finally:
        os.close(fd)
    return header is not None and size > header and kind != _TRAILER


@dataclass(slots=True, eq=False)
class Question:
    """A file to look at; ``answered`` is called in the watching thread."""

    path: Path
    holds_media: bool
    answered: Callable[[Look, float], None]
    """Receives the look and when it was done, by the monotonic clock."""
    measure: bool = False
    look: Look = Look(exists=None)
    done_s: float = 0.0


class DiskLooks:
    """The queue of questions and the threads that answer them.

    ``ask`` and ``tend`` are for the watching thread. ``deliver`` passes a call on to that thread.
    """

    def __init__(
        self,
        deliver: Callable[[Callable[[], None]], None],
        *,
        look: Callable[..., Look] = look_at,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._deliver = deliver
        self._look = look
        self._now = now
        self._asked: deque[Question] = deque()
        self._answered: deque[Question] = deque()
        self._changed = threading.Condition()
        self._begun_s: dict[int, float | None] = {}
        """Each thread's present look, by when it began; None for an idle thread."""
        self._threads = 0
        self._closed = False

    def ask(self, questions: Sequence[Question], *, first: bool = False) -> None:
        """Have files looked at; ``first`` before all that already wait."""
        if not questions:
            return
        with self._changed:
            if first:
                self._asked.extendleft(questions)
            else:
                self._asked.extend(questions)
            self._changed.notify()
            missing = not self._threads
        if missing:
            self._start_thread()

    def tend(self) -> None:
        """Start another thread if questions wait and all threads hang in a look."""
        with self._changed:
            waiting, begun_s = bool(self._asked), list(self._begun_s.values())
        slow = all(since is not None and self._now() - since > _SLOW_S for since in begun_s)
        if waiting and slow and self._threads < MAX_THREADS:
            self._start_thread()

    def answer(self) -> None:
        """Report all answers that are there; called in the watching thread."""
        while self._answered:
            question = self._answered.popleft()
            try:
                question.answered(question.look, question.done_s)
            except Exception:
                log.exception("look_not_taken")

    def close(self) -> None:
        """End the threads; one that hangs ends when its look returns."""
        with self._changed:
            self._closed = True
            self._asked.clear()
            self._changed.notify_all()

    def _start_thread(self) -> None:
        with self._changed:
            self._threads += 1
        threading.Thread(target=self._run, name="disk-looks", daemon=True).start()

    # A looking thread

    def _run(self) -> None:
        me = threading.get_ident()
        spare = False
        while not spare and (question := self._next(me)) is not None:
            question.look = self._guarded(question)
            question.done_s = self._now()
            self._answered.append(question)
            with self._changed:
                begun_s = self._begun_s[me] or question.done_s
                # A thread that hung has been replaced; the disk answers again, and one is enough.
                spare = question.done_s - begun_s > _SLOW_S and len(self._begun_s) > 1
                if spare:
                    self._leave(me)
                last = not self._asked
            if last or spare:
                self._deliver(self.answer)

    def _leave(self, me: int) -> None:
        del self._begun_s[me]
        self._threads -= 1

    def _next(self, me: int) -> Question | None:
        with self._changed:
            self._begun_s[me] = None
            while not self._asked and not self._closed:
                self._changed.wait()
            if self._closed:
                self._leave(me)
                return None
            self._begun_s[me] = self._now()
            return self._asked.popleft()

    def _guarded(self, question: Question) -> Look:
        try:
            return self._look(
                question.path, holds_media=question.holds_media, measure=question.measure
            )
        except Exception:
            log.exception("look_failed", path=str(question.path))
            return Look(exists=None)
