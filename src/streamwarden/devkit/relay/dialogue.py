"""RTSP server state machine of one connection (RFC 2326 appendix A)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol
from uuid import UUID

from streamwarden.devkit.relay.auth_hook import AccessRequest
from streamwarden.devkit.relay.faults import Misbehaviour, Silence
from streamwarden.devkit.relay.hub import Hub
from streamwarden.devkit.relay.interleaved import WholeFrames
from streamwarden.devkit.relay.rtsp import (
    MalformedRequest,
    Request,
    RequestTarget,
    Response,
    credentials_of,
    interleaved_channel,
    parse_target,
    parse_track_target,
)
from streamwarden.devkit.relay.sdp import padded_with_metadata
from streamwarden.devkit.relay.session import RelaySession, SessionState, Traffic
from streamwarden.devkit.relay.stream import PublishedStream, StreamClient
from streamwarden.devkit.relay.tracks import announced_sdp, announced_track

_TEN = 10
_SESSION_TIMEOUT_S = (
    60  # announced but not enforced: over TCP a session lives as long as its connection
)


class Peer(StreamClient, Protocol):
    """The connection of a dialogue."""

    id: UUID
    ip: str
    remote: str
    inbound: Traffic
    outbound: Traffic

    async def misbehave(self, how: Misbehaviour, request: Request) -> None:
        """Commit the fault ``how`` instead of answering."""


class Dialogue:
    """Requests and answers of one connection, with at most one session."""

    def __init__(self, hub: Hub, peer: Peer) -> None:
        self._hub = hub
        self._peer = peer
        self._session: RelaySession | None = None
        self._announced: str | None = None
        self._stream: PublishedStream | None = None
        self._methods: Mapping[str, Callable[[Request], Awaitable[Response | None]]] = {
            "OPTIONS": self._keepalive,
            "GET_PARAMETER": self._keepalive,
            "SET_PARAMETER": self._keepalive,
            "ANNOUNCE": self._announce,
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "RECORD": self._record,
            "TEARDOWN": self._teardown,
        }

    @property
    def established(self) -> bool:
        """Whether the session reads or publishes."""
        return self._session is not None and self._session.state is not SessionState.IDLE

    async def answer(self, request: Request) -> Response | None:
        """Answer one request; None if a fault suppresses the answer."""
        if self._is_frozen():
            return None
        method = self._methods.get(request.method)
        if method is None:
            return Response(501)
        try:
            return await method(request)
        except MalformedRequest as error:
            return Response(error.status, close=True)

    def frames(self, data: bytes, span: WholeFrames) -> None:
        """Take complete interleaved frames: a publisher's are forwarded, others dropped."""
        if (
            self._session is not None
            and self._session.state is SessionState.PUBLISH
            and self._stream is not None
        ):
            self._stream.feed(data, span)

    def end(self) -> None:
        """End the session: remove its stream or reader."""
        session, stream = self._session, self._stream
        self._session = self._stream = self._announced = None
        if stream is not None:
            if stream.publisher is self._peer:
                self._hub.unpublish(stream)
            else:
                stream.remove_reader(self._peer)
        if session is not None:
            self._hub.close(session)

    def _is_frozen(self) -> bool:
        session = self._session
        return (
            session is not None
            and session.state is SessionState.READ
            and self._hub.faults.of(session.path).silence is Silence.ALL
        )

    async def _keepalive(self, _: Request) -> Response:
        methods = (name for name in self._methods if name != "SET_PARAMETER")
        return Response(200, {"Public": ", ".join(methods), **self._session_header()})

    async def _announce(self, request: Request) -> Response:
        if self._session is not None:
            return Response(455)
        target = parse_target(request.url)
        sdp = announced_sdp(request, most_tracks=self._hub.limits.tracks)
        session = self._new_session(request, target)
        denied = await self._denied("publish", target, request, session)
        if denied is None:
            self._session, self._announced = session, sdp
            self._hub.open(session, self._peer)
        return denied or Response(200)

    async def _describe(self, request: Request) -> Response | None:
        target = parse_target(request.url)
        fault = self._hub.faults.of(target.path)
        if fault.describe_status is not None:
            return Response(fault.describe_status, close=True)
        if fault.redirect is not None:
            return Response(302, {"Location": fault.redirect}, close=True)
        if fault.describe not in {None, Misbehaviour.TEN_TRACKS}:
            await self._peer.misbehave(fault.describe, request)
            return None
        if denied := await self._denied("read", target, request, None):
            return denied
        stream = self._hub.streams.get(target.path)
        if stream is None:
            return Response(404, close=True)
        ten = fault.describe is Misbehaviour.TEN_TRACKS
        sdp = padded_with_metadata(stream.sdp, _TEN) if ten else stream.sdp
        headers = {"Content-Base": request.url + "/", "Content-Type": "application/sdp"}
        return Response(200, headers, sdp.encode())

    async def _setup(self, request: Request) -> Response:
        taken = self._session.channels if self._session is not None else {}
        channel = interleaved_channel(request.headers.get("transport", ""), 2 * len(taken))
        if channel is None:
            return Response(461)
        if self.established:
            return Response(455)
        if self._announced is not None:
            track = announced_track(request.url, self._announced)
        else:
            target = parse_track_target(request.url)
            if refused := await self._join(request, target):
                return refused
            track = self._readable_track(target)
        return self._set_up(track, channel)

    async def _join(self, request: Request, target: RequestTarget) -> Response | None:
        """Open a reader's session at its first SETUP, which calls the hook once more."""
        if self._session is not None:
            return None if self._session.path == target.path else Response(400, close=True)
        session = self._new_session(request, target)
        if denied := await self._denied("read", target, request, session):
            return denied
        self._stream = self._hub.streams.get(target.path)
        if self._stream is None:
            return Response(404, close=True)
        self._session = session
        self._hub.open(session, self._peer)
        return None

    def _set_up(self, track: int, channel: int) -> Response:
        session = self._session
        if session is None or track in session.channels or channel in session.channels.values():
            return Response(400, close=True)
        session.channels[track] = channel
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        return Response(200, {"Transport": transport, **self._session_header()})

    async def _play(self, request: Request) -> Response:
        session, stream = self._session, self._stream
        if session is None or not self._names_session(request):
            return Response(454)
        if stream is None or self._announced is not None or not session.channels:
            return Response(455)
        if session.state is SessionState.IDLE:
            session.state = SessionState.READ
            # No frame overtakes the answer, which is written in this turn of the loop.
            stream.add_reader(self._peer, session)
            self._hub.changed()
        return Response(200, self._session_header())

    async def _record(self, request: Request) -> Response:
        session, sdp = self._session, self._announced
        if session is None or not self._names_session(request):
            return Response(454)
        if sdp is None or not session.channels or self.established:
            return Response(455)
        if session.path in self._hub.pulls:  # like MediaMTX it is checked here, not earlier
            return Response(400, close=True)
        self._stream = PublishedStream(
            sdp=sdp,
            session=session,
            publisher=self._peer,
            faults=self._hub.faults,
            limits=self._hub.limits,
        )
        session.state = SessionState.PUBLISH
        self._hub.publish(self._stream)
        return Response(200, self._session_header())

    async def _teardown(self, request: Request) -> Response:
        if self._session is None or not self._names_session(request):
            return Response(454)
        self.end()
        return Response(200)

    async def _denied(
        self,
        action: Literal["read", "publish"],
        target: RequestTarget,
        request: Request,
        session: RelaySession | None,
    ) -> Response | None:
        """Check access under the session's id, or the connection's id without a user agent."""
        credentials = credentials_of(request, target.query)
        access = AccessRequest(
            ip=self._peer.ip,
            credentials=credentials,
            action=action,
            path=target.path,
            id=session.id if session is not None else self._peer.id,
            query=target.query,
            user_agent=session.user_agent if session is not None else "",
            method=request.method,
            authorization=request.headers.get("authorization", ""),
        )
        authenticator = self._hub.authenticator
        if await authenticator.allows(access):
            return None
        if credentials.absent or authenticator.always_challenges:
            return Response(401, {"WWW-Authenticate": authenticator.challenges})
        await asyncio.sleep(self._hub.auth_failure_delay_s)
        return Response(401, close=True)

    def _new_session(self, request: Request, target: RequestTarget) -> RelaySession:
        return RelaySession(
            connection_id=self._peer.id,
            remote=self._peer.remote,
            path=target.path,
            query=target.query,
            user=credentials_of(request, target.query).user,
            user_agent=request.headers.get("user-agent", ""),
            inbound=self._peer.inbound,
            outbound=self._peer.outbound,
        )

    def _readable_track(self, target: RequestTarget) -> int:
        stream, track = self._stream, target.track
        ten = self._hub.faults.of(target.path).describe is Misbehaviour.TEN_TRACKS
        if stream is None or track is None or track >= (_TEN if ten else len(stream.tracks)):
            raise MalformedRequest("no such track")
        return track

    def _names_session(self, request: Request) -> bool:
        named = request.headers.get("session", "").partition(";")[0].strip()
        return self._session is not None and named == self._session.secret

    def _session_header(self) -> dict[str, str]:
        if self._session is None:
            return {}
        return {"Session": f"{self._session.secret};timeout={_SESSION_TIMEOUT_S}"}
