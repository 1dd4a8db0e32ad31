"""The base class of supervised actors: exactly one exit notice for every kind of end.

pykka calls different hooks for different ends, and none at all when ``on_start`` raises. This class
folds them into one ``ChildExited`` per incarnation (see ``docs/design/0002-exit-notices.md``).
"""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pykka
import structlog

from streamwarden.supervision._messages import (
    NORMAL,
    SHUTDOWN,
    ChildExited,
    ChildStarted,
    Exit,
    ExitKind,
    ExitReason,
    Shutdown,
)

log = structlog.get_logger(__name__)

ActorRef = pykka.ActorRef[Any]
"""A handle on a live or dead actor of any kind, for those who only tell and ask."""


class ActorAborted(Exception):
    """An actor raised ``SystemExit`` or the like, which would end every actor of the process."""


@dataclass(frozen=True, slots=True)
class Link:
    """What ties one incarnation of a child to its supervisor."""

    child_id: str
    incarnation: int
    notify: Callable[[ChildStarted | ChildExited], None]


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
    All four run in the actor's own thread. Messages are told, not asked: an exception in an ask goes
    to the asker and leaves the actor alive (pykka's rule), in a tell it ends the incarnation.
    """

    # An abandoned child must not keep the process from ending.
    use_daemon_thread = True

    def __init__(self, *, link: Link) -> None:
        super().__init__()
        self.link = link
        self._ended = False
        self._shutdown_asked = False

    @property
    def stopping(self) -> bool:
        """Whether the supervisor has asked for an orderly stop."""
        return self._shutdown_asked

    def init(self) -> None:
        """Prepare; an exception, or ``finish``, is a failed start, and ``terminate`` follows."""

    def receive(self, message: object) -> object:
        """Handle one message; an exception ends this incarnation."""
        raise TypeError(f"{type(self).__name__} takes no {type(message).__name__}")

    def shutting_down(self) -> None:
        """Begin an orderly stop; call ``finish`` when done, now or on a later message."""
        self.finish(SHUTDOWN)

    def terminate(self, reason: ExitReason) -> None:
        """Clean up, whatever the reason; called once, also after a failed ``init``."""

    def finish(self, reason: ExitReason = NORMAL) -> None:
        """End this incarnation: no further message is handled, those that ask are told it is dead."""
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()
        self._end(reason)

    def announce_started(self) -> None:
        """Tell the supervisor that this incarnation is up."""
        self.link.notify(ChildStarted(self.link.child_id, self.link.incarnation))

    def started(self) -> None:
        """Called after ``init``; a supervisor announces itself only when its children are up."""
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
                    if not self._shutdown_asked:
                        self._shutdown_asked = True
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
            # pykka stops every actor of the process on SystemExit; here it is one child's failure.
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
        """Called by pykka when a told message has raised."""
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
    """Return an exception's type and the start of its text: bounded, for notices and status."""
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception as broken:  # noqa: BLE001 - the notice must go out whatever __str__ does
        return f"{type(error).__name__} (its text cannot be had: {type(broken).__name__})"


def inbox_depths() -> Mapping[str, int]:
    """Return the deepest inbox of each class of live actors."""
    depths: dict[str, int] = defaultdict(int)
    for ref in pykka.ActorRegistry.get_all():
        name = ref.actor_class.__name__
        if isinstance(inbox := ref.actor_inbox, queue.Queue):
            depths[name] = max(depths[name], inbox.qsize())
    return depths
