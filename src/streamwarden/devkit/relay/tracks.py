"""The tracks of ANNOUNCE and SETUP requests."""

from __future__ import annotations

from streamwarden.devkit.relay.rtsp import MalformedRequest, Request
from streamwarden.mediamtx.rtsp_client import tracks_of


def announced_sdp(request: Request, *, most_tracks: int) -> str:
    """Return the session description of an ANNOUNCE; raise MalformedRequest."""
    if request.headers.get("content-type", "").lower() != "application/sdp":
        raise MalformedRequest("ANNOUNCE without an SDP")
    sdp = request.body.decode("utf-8", "replace")
    if not 1 <= len(tracks_of(sdp)) <= most_tracks:
        raise MalformedRequest("too few or too many tracks")
    return sdp


def announced_track(url: str, sdp: str) -> int:
    """Find a track by its control, which the publisher appends to its URL or sends as a whole URL.

    Raises:
        MalformedRequest: there is no such track.
    """
    for number, track in enumerate(tracks_of(sdp)):
        if track.control and (url == track.control or url.endswith("/" + track.control)):
            return number
    raise MalformedRequest("no such track")
