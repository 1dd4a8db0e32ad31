"""What the control API shows, in MediaMTX v1.20's own shapes (internal/defs, internal/core)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamwarden.clock import rfc3339
from streamwarden.devkit.relay.session import Session, SessionState
from streamwarden.devkit.relay.stream import Stream
from streamwarden.errors import InvalidInput

_DEFAULT_PAGE = 100


def session_item(session: Session) -> dict[str, object]:
    """Show one RTSP session (APIRTSPSession); the query is raw, as MediaMTX shows it."""
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


def path_item(stream: Stream) -> dict[str, object]:
    """Show one published path (APIPath)."""
    since = rfc3339(stream.since)
    labels = [track.label for track in stream.tracks]
    return {
        "name": stream.path,
        "confName": "all_others",
        "ready": True,
        "readyTime": since,
        "available": True,
        "availableTime": since,
        "online": True,
        "onlineTime": since,
        "source": {"type": "rtspSession", "id": str(stream.session.id)},
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


def page_of(
    items: Sequence[Mapping[str, object]], query: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """Cut out the page that ``itemsPerPage`` (default 100) and ``page`` ask for."""
    size = _number(query, "itemsPerPage", _DEFAULT_PAGE)
    if size == 0:
        raise InvalidInput("invalid items per page", field="itemsPerPage")
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
        raise InvalidInput("not a number", field=name)
    return int(value)
