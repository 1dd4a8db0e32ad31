"""The watch over the record root: is it still the known one, does it take writes, how much is free.

A look at a file system may never return, so one thread does nothing but look, and everybody else gets its
last answer. A look that is under way for too long is an answer too: the root hangs.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from streamwarden.model import Cause
from streamwarden.paths import STATE
from streamwarden.recordings.durable import FreeSpace, free_space_of
from streamwarden.recordings.record_root import hidden_by_a_mount
from streamwarden.recordings.root_identity import (
    NOTHING,
    RootFacts,
    RootFault,
    RootNotKnown,
    facts_of,
    fault_of,
    open_root,
    read_id,
)

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 2.0
HANGS_AFTER_S: Final = 10.0
"""A disk under load may keep a write waiting for seconds."""
FRESH_WITHIN_S: Final = 2.0

SESSION: Final = "session"
"""Names the server that records. A copy of the root that was made before has another one."""
ALIVE: Final = "alive"

_NOT_DECIDED: Final = RootFault(
    Cause.RECORD_ROOT_MISSING, "it is not yet known whether this is the record root"
)


class RootWatch:
    """Looks at the record root every ``LOOK_EVERY_S``. Methods are for any thread and do not block.

    ``on_fault`` is called when the root's state changes, with the fault or None; it must not block.
    ``on_free_space`` gets what every look finds. ``again`` is called in the looking thread before a root
    that is back on another device counts as the known one: it opens the files that the server keeps open.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_fault: Callable[[RootFault | None], None] = lambda _: None,
        on_free_space: Callable[[FreeSpace], None] = lambda _: None,
        again: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._on_fault = on_fault
        self._on_free_space = on_free_space
        self._again = again
        self._monotonic = monotonic
        self._lock = threading.Condition()
        self._fault: RootFault | None = _NOT_DECIDED
        self._shown: RootFault | None = None
        self._looks = 0
        self._looking_since_s: float | None = None
        self._wanted = False
        self._busy = False
        self._closed = False
        self._facts = NOTHING
        self._space: FreeSpace | None = None
        self._id: UUID | None = None
        self._session: UUID | None = None
        self._noted = False
        self._device = 0
        self._thread = threading.Thread(target=self._run, name="record-root", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; one that hangs is left behind."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(FRESH_WITHIN_S)

    # What is known

    @property
    def taken(self) -> bool:
        """Whether the server has found its record root, be it there at present or not."""
        return self._session is not None

    @property
    def looked(self) -> bool:
        """Whether a look has come back."""
        return self._looks > 0

    @property
    def root_id(self) -> UUID | None:
        """The id of the known root, None while it has none."""
        return self._id

    @property
    def facts(self) -> RootFacts:
        """What the last look has found at the path."""
        return self._facts

    @property
    def space(self) -> FreeSpace | None:
        """What the last look at the known root has found free, None before the first."""
        return self._space

    def fault(self) -> RootFault | None:
        """Return why the root cannot be recorded into, None where it can. Never blocks."""
        since_s = self._looking_since_s
        if since_s is not None and (for_s := self._monotonic() - since_s) > HANGS_AFTER_S:
            text = f"the file system of {self.path} has not answered for {for_s:.0f} s"
            return RootFault(Cause.RECORD_ROOT_HANGS, text)
        return self._fault

    def look(self, within_s: float = FRESH_WITHIN_S) -> RootFault | None:
        """Return the answer of a look that begins now; after ``within_s`` the last known one."""
        with self._lock:
            # One that is under way may have begun before what the caller has seen.
            target = self._looks + (2 if self._busy else 1)
            self._wanted = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._looks >= target or self._closed, within_s)
        return self.fault()

    def require(self) -> None:
        """Look, and raise RootNotKnown unless the root is the known one and takes writes."""
        if (fault := self.look()) is not None:
            raise RootNotKnown(fault)

    # Decisions of the pairing

    def refuse(self, fault: RootFault) -> None:
        """The root at the path is not this server's: nothing is recorded until it is."""
        with self._lock:
            self._id = self._session = None
            self._fault = fault
        self.announce()

    def take(self, root_id: UUID | None, session: UUID, device: int, *, noted: bool) -> None:
        """The root at the path is this server's; ``root_id`` None while it has none.

        ``noted``: the session is noted in the root; a full disk may have refused it.
        """
        with self._lock:
            self._id, self._session, self._device = root_id, session, device
            self._noted = noted
            self._fault = None
        self.announce()

    def set_id(self, root_id: UUID) -> None:
        """The root has been given an id."""
        with self._lock:
            self._id = root_id

    def announce(self) -> None:
        """Report a change of state; also called by a timer, because a look that hangs reports nothing."""
        fault = self.fault()
        if fault is _NOT_DECIDED:
            return
        with self._lock:
            if self._shown is not None and fault is not None:
                changed = self._shown.cause is not fault.cause
            else:
                changed = self._shown is not fault
            self._shown = fault
        if not changed:
            return
        if fault is None:
            log.info("record_root_known", path=str(self.path))
        else:
            log.error("record_root_not_known", cause=fault.cause, detail=fault.text)
        self._on_fault(fault)

    # The looking thread

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._wanted or self._closed, LOOK_EVERY_S)
                if self._closed:
                    return
                self._wanted = False
                self._busy = True
                self._looking_since_s = self._monotonic()
            fault = self._guarded_look()
            with self._lock:
                self._looking_since_s = None
                if self.taken:
                    self._fault = fault
            self.announce()
            with self._lock:
                self._busy = False
                self._looks += 1
                self._lock.notify_all()

    def _guarded_look(self) -> RootFault | None:
        try:
            return self._look()
        except OSError as error:
            return fault_of(error, self.path)
        except Exception as error:  # the edge of a thread that must not end
            log.exception("record_root_look_failed")
            return RootFault(Cause.INTERNAL, f"{type(error).__name__}: {error}")

    def _look(self) -> RootFault | None:
        if not self.taken:
            self._facts = facts_of(self.path)
            return None
        root_fd = open_root(self.path)
        try:
            fault = self._identity_fault(root_fd)
            if fault is None:
                self._space = free_space_of(root_fd)
                self._on_free_space(self._space)
                _touch(root_fd)
            return fault
        finally:
            os.close(root_fd)

    def _identity_fault(self, root_fd: int) -> RootFault | None:
        found, device = read_id(root_fd), os.fstat(root_fd).st_dev
        self._facts = RootFacts(exists=True, used=True, id=found, device=device)
        session = read_id(root_fd, SESSION)
        if (found is None and self._id is not None) or (session is None and self._noted):
            text = (
                f"{self.path} holds no record root: its file system is not mounted, or was emptied"
            )
            text += hidden_by_a_mount(self.path)
            return RootFault(Cause.RECORD_ROOT_MISSING, text)
        if found != self._id:
            text = f"another record root is at {self.path}: {found} instead of {self._id}"
            return RootFault(Cause.RECORD_ROOT_CHANGED, text)
        if device == self._device:
            return None
        if not self._noted or session != self._session:
            text = f"another file system with a copy of the record root is at {self.path}"
            return RootFault(Cause.RECORD_ROOT_CHANGED, text)
        # The same root on another device: a disk that was plugged in again, a share mounted again.
        self._again()
        self._device = device
        return None


def _touch(root_fd: int) -> None:
    """Set the time of the file that says until when the server was alive: the look's trial of a write."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(f"{STATE}/{ALIVE}", flags, 0o600, dir_fd=root_fd)
        try:
            os.utime(fd)
        finally:
            os.close(fd)
    except OSError as error:
        # A full disk is found where something is stored; the root is still the known one.
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
