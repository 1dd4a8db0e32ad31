"""The base class of supervised actors, and the notices between a child and its supervisor.

pykka calls different hooks for different ends, and none at all when ``on_start`` raises. The base class
turns them into exactly one ``ChildExited`` per incarnation (``docs/design/0002-exit-notices.md``).
"""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any

import pykka
import structlog

log = structlog.get_logger(__name__)

ActorRef = pykka.ActorRef[Any]
"""A handle on an actor of any class, live or dead."""


class ExitKind(StrEnum):
    """How an incarnation ended; the OTP exit reasons ``normal``, ``shutdown`` and all others."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    FAILED = "failed"
    START_FAILED = "start_failed"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why an incarnation ended; ``error`` is the type and text of the exception, if there was one."""

    kind: ExitKind
    error: str | None = None

    @property
    def abnormal(self) -> bool:
        """Whether a transient child is restarted after this."""
        return self.kind in {ExitKind.FAILED, ExitKind.START_FAILED}


NORMAL = ExitReason(ExitKind.NORMAL)
SHUTDOWN = ExitReason(ExitKind.SHUTDOWN)


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """From a child: its ``init`` has succeeded (OTP: ``init_ack``)."""

    child_id: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    """From a child: this incarnation has ended. Sent exactly once, for every kind of end."""

    child_id: str
    incarnation: int
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class Shutdown:
    """From the supervisor: stop in order, then end."""


@dataclass(frozen=True, slots=True)
class Exit:
    """From the supervisor: end now; it has ended itself or waits no longer (OTP: exit signal).

    ``terminate`` still runs: a thread cannot be killed from outside.
    """


@dataclass(frozen=True, slots=True)
class Link:
    """The connection of one incarnation of a child to its supervisor."""

    child_id: str
    incarnation: int
    notify: Callable[[ChildStarted | ChildExited], None]


class ActorAborted(Exception):
    """An actor raised ``SystemExit`` or the like, on which pykka would stop every actor of the process."""


def tell(ref: pykka.ActorRef[Any], message: object) -> bool:
    """Put ``message`` into an actor's inbox; False when the actor has ended."""
    try:
        ref.tell(message)
    except pykka.ActorDeadError:
        return False
    return True


class SupervisedActor(pykka.ThreadingActor):
    """An actor that belongs to a supervisor.

    Subclasses implement ``init``, ``receive``, and where needed ``shutting_down`` and ``terminate``.
    All four run in the actor's own thread. An exception while a message of ``tell`` is handled ends the
    incarnation; for a message of ``ask`` it is raised in the caller and the actor lives on (pykka's rule).
    """

    # An abandoned child must not keep the process from ending.
    use_daemon_thread = True

    def __init__(self, *, link: Link) -> None:
        super().__init__()
        self.link = link
        self._ended = False
        self._shutdown_requested = False

    @property
    def stopping(self) -> bool:
        """Whether the supervisor has requested an orderly stop."""
        return self._shutdown_requested

    def init(self) -> None:
        """Prepare. Raising, or calling ``finish``, is a failed start; ``terminate`` follows."""

    def receive(self, message: object) -> object:
        """Handle one message."""
        raise TypeError(f"{type(self).__name__} takes no {type(message).__name__}")

    def shutting_down(self) -> None:
        """Begin an orderly stop; call ``finish`` when done, here or on a later message."""
        self.finish(SHUTDOWN)

    def terminate(self, reason: ExitReason) -> None:
        """Clean up; called once for every end, also after a failed ``init``."""

    def finish(self, reason: ExitReason = NORMAL) -> None:
        """End this incarnation: no further message is handled, and callers get ``ActorDeadError``."""
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._end(reason)

    def announce_started(self) -> None:
        """Notify the supervisor that this incarnation is running."""
        self.link.notify(ChildStarted(self.link.child_id, self.link.incarnation))

    def started(self) -> None:
        """Called after ``init``; a supervisor announces itself only when its children are running."""
        self.announce_started()

    def _tell_self(self, message: object) -> None:
        # Any thread. A message to an incarnation that has ended is dropped.
        tell(self.actor_ref, message)

    # pykka's hooks

    def on_start(self) -> None:
        """Run ``init``; pykka calls no other hook when this raises."""
        try:
            self.init()
            if not self._ended:
                self.started()
        except BaseException as error:
            self.actor_stopped.set()
            self._end(ExitReason(ExitKind.START_FAILED, describe(error)))
            raise ActorAborted(describe(error)) from error

    def on_receive(self, message: object) -> object:
        """Handle ``Shutdown`` and ``Exit`` here, everything else in ``receive``."""
        try:
            match message:
                case Shutdown():
                    if not self._shutdown_requested:
                        self._shutdown_requested = True
                        self.shutting_down()
                    return None
                case Exit():
                    self.finish(SHUTDOWN)
                    return None
                case _:
                    return self.receive(message)
        except Exception:
            raise
        except BaseException as error:
            # pykka stops every actor of the process on SystemExit; here it is the failure of one child.
            raise ActorAborted(describe(error)) from error

    def on_stop(self) -> None:
        """Called by pykka for its own stop message."""
        self._end(NORMAL)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Called by pykka when handling a message of ``tell`` has raised."""
        del exception_type, traceback
        self._end(ExitReason(ExitKind.FAILED, describe(exception_value)))

    def _end(self, reason: ExitReason) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            self.terminate(reason)
        except BaseException:  # pykka would stop every actor of the process on SystemExit
            log.exception("terminate_failed", child=self.link.child_id)
        finally:
            self.link.notify(ChildExited(self.link.child_id, self.link.incarnation, reason))


def describe(error: BaseException | None) -> str:
    """Return an exception's type and text, at most 300 characters, for notices and status."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception as broken:  # noqa: BLE001 - the notice must be sent even if __str__ raises
        return f"{type(error).__name__} (no text: its __str__ raised {type(broken).__name__})"


def inbox_depths() -> Mapping[str, int]:
    """Return the deepest inbox of each class of live actors."""
    depths: dict[str, int] = defaultdict(int)
    for ref in pykka.ActorRegistry.get_all():
        name = ref.actor_class.__name__
        if isinstance(inbox := ref.actor_inbox, queue.Queue):
            depths[name] = max(depths[name], inbox.qsize())
    return depths
