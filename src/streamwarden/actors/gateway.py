"""HTTP's way to the actors: bounded asks for changes, the status registry for reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import pykka

from streamwarden.actors.messages import RestartStream, StartStream, StopStream, StreamStatus
from streamwarden.actors.status import StatusRegistry
from streamwarden.errors import Unavailable
from streamwarden.supervision import ChildInfo, WhichChildren

T = TypeVar("T")

ASK_S: Final = 3.0


class StreamGateway:
    """The streaming role's commands. Any thread."""

    def __init__(
        self, *, manager: Callable[[], pykka.ActorRef[Any] | None], registry: StatusRegistry
    ) -> None:
        self._manager = manager
        self._registry = registry

    def start(self, start: StartStream) -> StreamStatus:
        """Record a camera from now on.

        Raises:
            OtherOwner: it is recorded for another owner.
            Unavailable: the manager does not answer in time.
        """
        return self._ask(start)

    def stop(self, camera_id: UUID) -> StreamStatus:
        """Record a camera no longer."""
        return self._ask(StopStream(camera_id))

    def restart(self, camera_id: UUID) -> StreamStatus:
        """Replace a camera's run by make before break."""
        return self._ask(RestartStream(camera_id))

    def status(self, camera_id: UUID) -> StreamStatus:
        """Return a camera's status from the registry."""
        return self._registry.get(camera_id)

    def statuses(self) -> list[StreamStatus]:
        """Return all statuses from the registry."""
        return self._registry.all()

    def recorders(self) -> tuple[ChildInfo, ...]:
        """Return the manager's children, as its supervisor's call has them."""
        return which_children(self._manager())

    def _ask(self, message: object) -> StreamStatus:
        ref = self._manager()
        if ref is None:
            raise Unavailable("the stream manager is not running", retry_after_s=2)
        try:
            return cast("StreamStatus", ref.ask(message, timeout=ASK_S))
        except pykka.Timeout as error:
            # The message is still carried out; asking again does no harm.
            raise Unavailable("the stream manager does not answer in time") from error
        except pykka.ActorDeadError as error:
            raise Unavailable("the stream manager is being restarted", retry_after_s=1) from error


def which_children(supervisor: pykka.ActorRef[Any] | None) -> tuple[ChildInfo, ...]:
    """Return a supervisor's children in start order (OTP: ``which_children/1``).

    Raises:
        Unavailable: it does not live, or does not answer in time.
    """
    if supervisor is None:
        raise Unavailable("the supervisor is not running", retry_after_s=2)
    try:
        found = supervisor.ask(WhichChildren(), timeout=ASK_S)
    except pykka.Timeout as error:
        raise Unavailable("a supervisor does not answer in time") from error
    except pykka.ActorDeadError as error:
        raise Unavailable("a supervisor is being restarted", retry_after_s=1) from error
    return cast("tuple[ChildInfo, ...]", found)
