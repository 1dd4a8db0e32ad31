"""An odd camera on its own thread, which can change while it runs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

from streamwarden.devkit.loop_thread import LoopThread
from streamwarden.devkit.odd_camera.camera_state import CameraState
from streamwarden.devkit.odd_camera.elementary_streams import ElementaryStream, StreamLibrary
from streamwarden.devkit.odd_camera.oddities import Oddities, Sets
from streamwarden.devkit.odd_camera.sounds import Sound, sound_of
from streamwarden.devkit.odd_camera.viewer import Viewer
from streamwarden.devkit.relay.listener import Listener
from streamwarden.devkit.relay.password_auth import PasswordAuth
from streamwarden.errors import InvalidInput

_T = TypeVar("_T")


class OddCamera:
    """An RTSP camera on loopback that shows ``streams`` in a loop and misbehaves as ``oddities`` say.

    Thread-safe. ``streams`` are names of ``elementary_streams.STREAMS``; the first is shown first. After
    ``stop`` the camera can be started again on the same port, with the same state.

    Raises:
        InvalidInput: no such stream or sound.
        CalledProcessError: FFmpeg cannot encode one.
    """

    def __init__(
        self,
        library: StreamLibrary,
        *streams: str,
        oddities: Oddities | None = None,
        port: int = 0,
    ) -> None:
        oddities = oddities or Oddities()
        self._library = library
        self._port = port
        self._state = CameraState(
            [library.stream(name) for name in streams or ("small",)],
            oddities,
            self._sound(oddities),
            self._sprop(oddities),
        )
        self._loop: LoopThread | None = None
        self._listener: Listener | None = None

    def start(self) -> None:
        """Listen; raise OSError if the port is taken."""
        self._loop = LoopThread("odd-camera")
        try:
            self._loop.run(self._listen())
        except BaseException:
            self._end_loop()
            raise

    def stop(self) -> None:
        """Disconnect everybody and close the port; no effect when repeated."""
        if self._loop is None:
            return
        try:
            self._loop.run(self._close())
        finally:
            self._end_loop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The port, 0 before the first start if any is taken."""
        return self._port

    @property
    def url(self) -> str:
        """The camera's URL, without user and password."""
        return f"rtsp://127.0.0.1:{self._port}/cam"

    @property
    def url_with_login(self) -> str:
        """The camera's URL, with user and password if it has them."""
        login = self._state.oddities.login
        if login is None:
            return self.url
        shown = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
        return self.url.replace("://", f"://{shown}@", 1)

    @property
    def oddities(self) -> Oddities:
        """The present misbehaviour."""
        return self._state.oddities

    @property
    def viewers(self) -> int:
        """The number of viewers that play."""
        return self._call(lambda state: len(state.viewers))

    @property
    def answers(self) -> list[tuple[str, int]]:
        """The method of each request so far and the status of its answer."""
        return self._call(lambda state: list(state.answers))

    def change(self, **oddities: Any) -> None:  # noqa: ANN401 - the fields of Oddities
        """Misbehave otherwise from now on.

        What a session description announces (sound, tracks, ``sprop``) applies to the next viewer.
        """
        before = self._state.oddities
        after = replace(before, **oddities)
        sound, sprop = self._sound(after), self._sprop(after)

        def apply(state: CameraState) -> None:
            state.oddities, state.sound, state.sprop = after, sound, sprop

        self._call(apply)

    def show(self, stream: str) -> None:
        """Show another of the camera's streams from the next picture on.

        Viewers of a stream with another codec are disconnected, because their session cannot carry it.
        """

        def apply(state: CameraState) -> None:
            names = [one.name for one in state.streams]
            if stream not in names:
                raise InvalidInput(f"the camera has {', '.join(names)}", field="stream")
            before = state.streams[state.showing]
            state.showing = names.index(stream)
            if state.streams[state.showing].codec != before.codec:
                state.disconnect()

        self._call(apply)

    def reboot(self) -> int:
        """Disconnect all viewers; they may come back at once. Return how many there were."""
        return self._call(lambda state: state.disconnect())

    def _sound(self, oddities: Oddities) -> Sound | None:
        return sound_of(self._library, oddities.sound) if oddities.sound else None

    def _sprop(self, oddities: Oddities) -> Sequence[bytes] | None:
        if oddities.sprop in {Sets.OWN, Sets.NONE}:
            return None
        stream: ElementaryStream = self._library.stream(oddities.sprop)
        return stream.parameter_sets

    async def _listen(self) -> None:
        self._listener = Listener("127.0.0.1", self._port, self._connection)
        self._port = self._listener.port

    def _connection(self) -> asyncio.Protocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        oddities = self._state.oddities
        auth = PasswordAuth(
            oddities.login, schemes=oddities.schemes, publish_token=secrets.token_hex(16)
        )
        await Viewer(self._state, auth, reader, writer).serve()

    async def _close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        self._state.disconnect()

    def _call(self, use: Callable[[CameraState], _T]) -> _T:
        state, loop = self._state, self._loop
        if loop is None:
            return use(state)

        async def run() -> _T:
            return use(state)

        return loop.run(run())

    def _end_loop(self) -> None:
        loop, self._loop, self._listener = self._loop, None, None
        if loop is not None:
            loop.end()
