"""The supervisor: OTP's calls over children that are kept up.

Semantics are those of Erlang/OTP's ``supervisor``; deviations are listed in
``docs/design/0001-two-loops.md`` and ``docs/design/0002-exit-notices.md``.
"""

from __future__ import annotations

from concurrent.futures import Future

from streamwarden.supervision._actor import tell
from streamwarden.supervision._child import Child
from streamwarden.supervision._intensity import RestartLog
from streamwarden.supervision._messages import (
    ChildInfo,
    ChildStatus,
    CountChildren,
    DeleteChild,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from streamwarden.supervision._operation import Purpose
from streamwarden.supervision._restarting import RestartingActor
from streamwarden.supervision._spec import ChildSpec, InvalidSpec, Strategy, check_spec


class Supervisor(RestartingActor):
    """An OTP supervisor, as an actor.

    Subclasses may use its methods in its own thread; everyone else sends the messages of the same
    names. A call that is asked and cannot be carried out raises in the asker, and is harmless here.
    """

    def child(self, child_id: str) -> ChildInfo | None:
        """Return one child, None where there is none."""
        child = self._children.get(child_id)
        return child.info() if child is not None else None

    def children(self) -> tuple[ChildInfo, ...]:
        """Return all children in start order (OTP: ``which_children/1``)."""
        return tuple(child.info() for child in self._children)

    def tell_child(self, child_id: str, message: object) -> bool:
        """Put ``message`` into a child's inbox; False when it is not alive."""
        child = self._children.get(child_id)
        return child is not None and child.ref is not None and tell(child.ref, message)

    def receive(self, message: object) -> object:  # noqa: PLR0911 - one return a call
        """Handle OTP's calls; notices and timers beneath."""
        match message:
            case StartChild(spec):
                return self.start_child(spec)
            case TerminateChild(child_id):
                return self.terminate_child(child_id)
            case RestartChild(child_id):
                return self.restart_child(child_id)
            case DeleteChild(child_id):
                self.delete_child(child_id)
                return None
            case WhichChildren():
                return self.children()
            case CountChildren():
                return self._children.counts()
            case _:
                return super().receive(message)

    def start_child(self, spec: ChildSpec) -> Future[ChildInfo]:
        """Add and start a child (OTP: ``start_child/2``).

        The future fails with ``RuntimeError`` when the start does; nothing is kept then, except under
        a supervisor that parks, which goes on trying.

        Raises:
            InvalidSpec: the specification cannot be right, or its id is taken.
            RuntimeError: this supervisor is ending.
        """
        check_spec(spec)
        self._refuse_when_ending()
        return self._start_and_wait(self._children.add(spec))

    def restart_child(self, child_id: str) -> Future[ChildInfo]:
        """Start a stopped or parked child (OTP: ``restart_child/2``); its restarts are counted anew.

        The future fails with ``RuntimeError`` when the start does; the specification is kept.

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to.
            RuntimeError: this supervisor is ending.
        """
        self._refuse_when_ending()
        child = self._at_rest(child_id)
        self._unpark(child)
        child.log = RestartLog(self._spec.limit)
        child.fresh = False
        return self._start_and_wait(child)

    def terminate_child(self, child_id: str) -> Future[ChildInfo]:
        """Stop a child and keep its specification, a temporary one's not (OTP: ``terminate_child/2``).

        Raises:
            LookupError: there is no such child.
        """
        child = self._children.known(child_id)
        self._unpark(child)
        self._leave_out(child)
        child.fail_starters(f"{child_id} was terminated before it had started")
        future: Future[ChildInfo] = Future()
        child.stoppers.append(future)
        if child.alive:
            self._children.ask_to_stop(child)
        else:
            self._children.set(child, ChildStatus.STOPPED)
            self._stopped(child)
        return future

    def delete_child(self, child_id: str) -> None:
        """Forget a child that is stopped or parked (OTP: ``delete_child/2``).

        Raises:
            LookupError: there is no such child.
            InvalidSpec: it is running, or about to: terminate it first.
        """
        child = self._at_rest(child_id)
        self._unpark(child)
        self._children.remove(child)

    def _start_and_wait(self, child: Child) -> Future[ChildInfo]:
        future: Future[ChildInfo] = Future()
        child.starters.append(future)
        if self._operation is not None and self._spec.strategy is not Strategy.ONE_FOR_ONE:
            # OTP: a call waits until the ordered restart that is under way is through.
            self._asked.append(child.spec.id)
        else:
            self._children.start(child)
        return future

    def _at_rest(self, child_id: str) -> Child:
        """Return a child that neither lives nor is about to; else raise."""
        child = self._children.known(child_id)
        if child.alive:
            raise InvalidSpec(f"child {child_id!r} is running")
        if child_id in self._due or child.starters or self._to_be_started(child):
            raise InvalidSpec(f"child {child_id!r} is about to be started")
        return child

    def _leave_out(self, child: Child) -> None:
        """Take a child out of everything that would start it."""
        if child.spec.id in self._due:
            self._due.remove(child.spec.id)
        if self._operation is not None:
            self._operation.leave_out(child.spec.id)

    def _refuse_when_ending(self) -> None:
        if self._operation is not None and self._operation.purpose is Purpose.FINAL:
            raise RuntimeError("the supervisor is ending")
