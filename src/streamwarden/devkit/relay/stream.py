"""One published path: copies its publisher's frames to its readers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from streamwarden.devkit.relay.faults import Fault, FaultTable, Silence
from streamwarden.devkit.relay.interleaved import (
    WholeFrames,
    frames,
    renumbered,
    shifted,
    whole_frames,
    without_media,
)
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.parameter_sets import ParameterSets, with_parameter_sets
from streamwarden.devkit.relay.sdp import with_track_controls
from streamwarden.devkit.relay.session import RelaySession, Traffic
from streamwarden.mediamtx.rtsp_client import sections_of, tracks_of

_Renumbering = tuple[tuple[int, int], ...]
"""Publisher's channel to reader's channel; empty if all are the same."""


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Complete frames that are sent together."""

    data: bytes
    rtp: int
    rtcp: int


class StreamClient(Protocol):
    """The other end of a session."""

    def deliver(self, batch: FrameBatch) -> None:
        """Send frames; disconnect a client that does not keep up."""

    def finish(self) -> None:
        """Send the queue, then FIN."""

    def reset(self) -> None:
        """Disconnect with RST, now."""


class PublishedStream:
    """The frames of one publisher, copied to any number of readers.

    Frames are collected for a few milliseconds and copied as bytes. They are parsed only for a fault, or
    for a reader with other channels than the publisher's. A reader gets frames from the moment it joins,
    not from the next key frame: the SDP holds the parameter sets, FFmpeg drops earlier frames itself,
    and waiting would delay its probing.
    """

    def __init__(
        self,
        *,
        sdp: str,
        session: RelaySession,
        publisher: StreamClient,
        faults: FaultTable,
        limits: RelayLimits,
    ) -> None:
        self.path = session.path
        self.session = session
        self.publisher = publisher
        self.sdp = with_track_controls(sdp)
        self.tracks = tracks_of(sdp)
        self._sets = {
            number: ParameterSets(track, section)
            for number, (track, section) in enumerate(
                zip(self.tracks, sections_of(sdp)[1:], strict=True)
            )
            if track.kind == "video"
        }
        self.since = datetime.now(UTC)
        self.inbound = Traffic()
        self.outbound = Traffic()
        self.readers: dict[StreamClient, RelaySession] = {}
        self._groups: dict[_Renumbering, dict[StreamClient, None]] = {}
        self._faults = faults
        self._batch_s = limits.batch_s
        self._loop = asyncio.get_running_loop()
        self._pending: list[bytes] = []
        self._flush: asyncio.TimerHandle | None = None
        self._line = DelayLine(self._deliver, limits.reader_queue_bytes)

    def add_reader(self, reader: StreamClient, session: RelaySession) -> None:
        """Send ``reader`` every frame from now on."""
        self.readers[reader] = session
        self._groups.setdefault(self._renumbering(session), {})[reader] = None

    def remove_reader(self, reader: StreamClient) -> None:
        """Remove ``reader``, if present."""
        session = self.readers.pop(reader, None)
        if session is None:
            return
        key = self._renumbering(session)
        del self._groups[key][reader]
        if not self._groups[key]:
            del self._groups[key]

    def feed(self, data: bytes, span: WholeFrames) -> None:
        """Take complete frames from the publisher."""
        self.inbound.add(len(data), span.rtp, span.rtcp)
        self._take_parameter_sets(data)
        self._pending.append(data)
        if self._flush is None:
            self._flush = self._loop.call_later(self._batch_s, self._send_pending)

    def _take_parameter_sets(self, data: bytes) -> None:
        """Keep the description up to date for the next reader."""
        pictures = {self.session.channels.get(number): one for number, one in self._sets.items()}
        taken = False
        for start, end in frames(data):
            sets = pictures.get(data[start + 1])
            if sets is not None and sets.take(data[start + 4 : end]):
                taken = True
        if taken:
            self.sdp = with_parameter_sets(self.sdp, self._sets)

    def end(self) -> None:
        """Finish every reader: the stream has ended."""
        if self._flush is not None:
            self._flush.cancel()
            self._send_pending()
        self._line.release()
        for reader in tuple(self.readers):
            reader.finish()

    def _renumbering(self, session: RelaySession) -> _Renumbering:
        chosen, published = session.channels, self.session.channels
        pairs = [
            (published[track] + rtcp, chosen[track] + rtcp)
            for track in sorted(chosen)
            if track in published
            for rtcp in (0, 1)
        ]
        same = chosen.keys() >= published.keys() and all(ours == theirs for ours, theirs in pairs)
        return () if same else tuple(pairs)

    def _send_pending(self) -> None:
        self._flush = None
        data = b"".join(self._pending)
        self._pending.clear()
        fault = self._faults.of(self.path)
        data = self._with_fault(data, fault)
        if fault.slows:
            self._line.push(data, delay_s=fault.delay_s, bytes_per_s=fault.bytes_per_s)
        else:
            self._line.release()
            self._deliver(data)

    def _with_fault(self, data: bytes, fault: Fault) -> bytes:
        if fault.silence is Silence.ALL:
            return b""
        if fault.silence is Silence.MEDIA:
            data = without_media(data)
        if fault.silence is Silence.SOUND:
            data = without_media(data, self._sound_channels())
        if fault.moves_clocks:
            data = shifted(data, ntp_s=fault.sender_clock_shift_s, rtp_ticks=self._ticks(fault))
        return data

    def _ticks(self, fault: Fault) -> dict[int, int]:
        """Return each channel's RTP time shift, in ticks of its own clock."""
        ticks = {}
        for track, channel in self.session.channels.items():
            picture = self.tracks[track].kind == "video"
            jump_s = fault.timestamp_jump_s + (fault.picture_jump_s if picture else 0.0)
            ticks[channel] = round(jump_s * self.tracks[track].clock_hz)
        return ticks

    def _sound_channels(self) -> set[int]:
        channels = self.session.channels.items()
        return {channel for track, channel in channels if self.tracks[track].kind == "audio"}

    def _deliver(self, data: bytes) -> None:
        if not data:
            return
        for renumbering, readers in self._groups.items():
            chosen = renumbered(data, dict(renumbering)) if renumbering else data
            span = whole_frames(chosen)
            batch = FrameBatch(chosen, span.rtp, span.rtcp)
            self.outbound.add(len(chosen) * len(readers))
            # A reader that is disconnected here is removed by connection_lost.
            for reader in readers:
                reader.deliver(batch)


class DelayLine:
    """A queue of delayed frames, at most ``limit_bytes``."""

    def __init__(self, deliver: Callable[[bytes], None], limit_bytes: int) -> None:
        self._deliver = deliver
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._busy_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def push(self, data: bytes, *, delay_s: float, bytes_per_s: float) -> None:
        """Queue ``data``; drop it if the queue is full, like a router."""
        if self._waiting_bytes + len(data) > self._limit_bytes:
            return
        now = self._loop.time()
        due = max(now + delay_s, self._busy_until)
        self._busy_until = due + (len(data) / bytes_per_s if bytes_per_s else 0.0)
        self._waiting.append((self._busy_until, data))
        self._waiting_bytes += len(data)
        self._arm()

    def release(self) -> None:
        """Send the whole queue now."""
        self._let_go(float("inf"))
        self._busy_until = 0.0

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._on_time)

    def _on_time(self) -> None:
        self._let_go(self._loop.time())
        self._arm()

    def _let_go(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._waiting[0][0] <= until:
            data = self._waiting.popleft()[1]
            self._waiting_bytes -= len(data)
            self._deliver(data)
