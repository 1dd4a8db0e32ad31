"""The JSON of the control API, as in MediaMTX v1.20 (internal/defs, internal/core)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamwarden.clock import rfc3339
from streamwarden.devkit.relay.path_config import DEFAULT
from streamwarden.devkit.relay.sdp import label_of
from streamwarden.devkit.relay.session import RelaySession, SessionState
from streamwarden.devkit.relay.stream import PublishedStream
from streamwarden.errors import InvalidInput

_DEFAULT_PAGE = 100
_PULLED: Mapping[str, object] = {"type": "rtspSource", "id": ""}
_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, MediaMTX's value for a camera that has not connected yet."""


def session_item(session: RelaySession) -> dict[str, object]:
    """Return one RTSP session (APIRTSPSession); the query is raw, as in MediaMTX."""
    inbound, outbound = session.inbound, session.outbound
    active = session.state is not SessionState.IDLE
    counters = {
        "inboundBytes": inbound.size_bytes,
        "inboundRTPPackets": inbound.rtp,
        "inboundRTCPPackets": inbound.rtcp,
        "outboundBytes": outbound.size_bytes,
        "outboundRTPPackets": outbound.rtp,
        "outboundRTCPPackets": outbound.rtcp,
        "bytesReceived": inbound.size_bytes,
        "bytesSent": outbound.size_bytes,
        "rtpPacketsReceived": inbound.rtp,
        "rtpPacketsSent": outbound.rtp,
        "rtcpPacketsReceived": inbound.rtcp,
        "rtcpPacketsSent": outbound.rtcp,
    }
    return {
        "id": str(session.id),
        "created": rfc3339(session.created),
        "remoteAddr": session.remote,
        "state": session.state.value,
        "path": session.path,
        "query": session.query,
        "user": session.user,
        "userAgent": session.user_agent,
        "transport": "TCP" if active else None,
        "profile": "AVP" if active else None,
        "conns": [str(session.connection_id)],
        **counters,
    }


def path_item(stream: PublishedStream, *, pulled: bool = False) -> dict[str, object]:
    """Return one published path (APIPath); ``pulled``: its camera serves RTSP."""
    since = rfc3339(stream.since)
    labels = [label_of(track) for track in stream.tracks]
    source = {"type": "rtspSession", "id": str(stream.session.id)}
    return {
        "name": stream.path,
        "confName": stream.path if pulled else DEFAULT,
        "ready": True,
        "readyTime": since,
        "available": True,
        "availableTime": since,
        "online": True,
        "onlineTime": since,
        "source": _PULLED if pulled else source,
        "tracks": labels,
        "tracks2": [{"codec": label, "codecProps": None} for label in labels],
        "readers": sorted(
            ({"type": "rtspSession", "id": str(session.id)} for session in stream.readers.values()),
            key=lambda reader: reader["id"],
        ),
        "inboundBytes": stream.inbound.size_bytes,
        "outboundBytes": stream.outbound.size_bytes,
        "inboundFramesInError": 0,
        "bytesReceived": stream.inbound.size_bytes,
        "bytesSent": stream.outbound.size_bytes,
    }


def waiting_item(name: str) -> dict[str, object]:
    """Return a path whose pulled camera has not connected yet."""
    return {
        "name": name,
        "confName": name,
        "ready": False,
        "readyTime": None,
        "available": False,
        "availableTime": None,
        "online": True,
        "onlineTime": _NEVER,
        "source": _PULLED,
        "tracks": [],
        "tracks2": [],
        "readers": [],
        "inboundBytes": 0,
        "outboundBytes": 0,
        "inboundFramesInError": 0,
        "bytesReceived": 0,
        "bytesSent": 0,
    }


def page_of(
    items: Sequence[Mapping[str, object]], query: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """Return one page, by ``itemsPerPage`` (default 100) and ``page``."""
    size = _number(query, "itemsPerPage", _DEFAULT_PAGE)
    if size == 0:
        raise InvalidInput("invalid items per page")
    start = _number(query, "page", 0) * size
    return {
        "itemCount": len(items),
        "pageCount": -(-len(items) // size),
        "items": list(items[start : start + size]),
    }


def _number(query: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    value = query.get(name, [""])[0]
    if not value:
        return default
    if not (value.isascii() and value.isdigit()) or len(value) > 9:  # noqa: PLR2004 - below 2**31
        raise InvalidInput(f'strconv.ParseUint: parsing "{value}": invalid syntax')
    return int(value)
