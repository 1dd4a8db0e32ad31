"""The packets for one viewer of an odd camera, from PLAY to the end of its connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from streamwarden.devkit.odd_camera.camera_state import CameraState
from streamwarden.devkit.odd_camera.description import (
    METADATA,
    METADATA_TYPE,
    PICTURE,
    PICTURE_TYPE,
    SOUND,
)
from streamwarden.devkit.odd_camera.elementary_streams import ElementaryStream, Picture
from streamwarden.devkit.odd_camera.oddities import ReportKind, StampKind
from streamwarden.devkit.odd_camera.rtp import RtpSender, payloads_of
from streamwarden.devkit.odd_camera.sounds import Sound

Send = Callable[[int, bytes], None]
"""Sends a packet on a channel: RTP of track N on channel 2 N, its RTCP on the next one."""

_CLOCK_HZ: Final = 90_000

_REPORT_EVERY_S: Final = 5.0

_SHORTEST_SLEEP_S: Final = 0.002

_LONGEST_SLEEP_S: Final = 0.1
"""A running camera can change, so none of its pauses is longer."""

_SOURCE: Final = 0xAAAA0001

_XML: Final = (
    b'<?xml version="1.0"?>'
    b'<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"></tt:MetadataStream>'
)


class Playback:
    """The packets of one viewer, sent when they are due.

    Its clocks begin with it: ``elapsed`` is real time, ``media`` the time of the next picture or sound
    in the camera's own count. Both go on while packets are lost or the camera hangs.
    """

    def __init__(self, camera: CameraState, send: Send) -> None:
        self._camera = camera
        self._send = send
        self._began_s = time.monotonic()
        self._unix_began_s = time.time()
        self._stream: ElementaryStream | None = None
        self._next = 0
        self._media_s = -camera.oddities.burst_s
        self._picture_s = self._sound_s = 0.0
        self._awaits_key = False
        self._sound_at_s: float | None = None
        self._payload = 0
        self._report_at_s = 0.0
        self._metadata_at_s = 0.0
        self._pictures = RtpSender(PICTURE_TYPE, _SOURCE)
        sound_type = camera.sound.kind.payload_type if camera.sound is not None else 0
        self._sounds = RtpSender(sound_type, _SOURCE + 1)
        self._metadata = RtpSender(METADATA_TYPE, _SOURCE + 2)

    async def run(self) -> None:
        """Send until the camera reboots."""
        while True:
            elapsed_s = time.monotonic() - self._began_s
            reboot_s = self._camera.oddities.reboot_every_s
            if reboot_s is not None and elapsed_s >= reboot_s:
                return
            while self._media_s <= elapsed_s:
                self._send_picture(elapsed_s)
            if self._camera.sound is not None:
                self._send_sound(self._camera.sound, elapsed_s)
            self._send_reports(elapsed_s)
            wait_s = self._due_s() - (time.monotonic() - self._began_s)
            await asyncio.sleep(min(max(wait_s, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S))

    def _due_s(self) -> float:
        if self._sound_at_s is None:
            return self._media_s
        return min(self._media_s, self._sound_at_s / self._camera.oddities.sound_rate)

    def _is_lost(self, elapsed_s: float) -> bool:
        oddities = self._camera.oddities
        hung = oddities.hang_after_s is not None and elapsed_s >= oddities.hang_after_s
        return hung or (oddities.dropout is not None and oddities.dropout.loses(elapsed_s))

    def _send_picture(self, elapsed_s: float) -> None:
        oddities = self._camera.oddities
        media_s = self._media_s + oddities.burst_s
        picture = self._next_picture(elapsed_s)
        self._media_s += 1 / oddities.fps
        self._awaits_key = self._is_lost(elapsed_s) or (self._awaits_key and not picture.is_key)
        if self._awaits_key or self._stream is None:
            return
        stream = self._stream
        shown_s = oddities.stamps.shown_s(media_s, elapsed_s)
        stamp = oddities.stamps.first_ticks + round(shown_s * _CLOCK_HZ)
        units = picture.units if oddities.in_band else stream.without_parameter_sets(picture)
        marks_sei = oddities.stamps.kind is StampKind.MARKED_SEI
        marked = stream.types.sei if marks_sei else frozenset()
        for payload, marker in payloads_of(stream.codec, units, marked=marked):
            self._send(2 * PICTURE, self._pictures.packet(payload, stamp, marker=marker))
        self._picture_s = media_s - oddities.burst_s
        if oddities.metadata and elapsed_s >= self._metadata_at_s:
            self._metadata_at_s += 1
            self._send(2 * METADATA, self._metadata.packet(_XML, stamp, marker=True))

    def _next_picture(self, elapsed_s: float) -> Picture:
        stream = self._camera.stream_at(elapsed_s)
        if stream is not self._stream:
            joins_mid_gop = self._stream is None and self._camera.oddities.joins_mid_gop
            self._next = len(stream.pictures) // 2 + 1 if joins_mid_gop else 0
            self._stream = stream
        picture = stream.pictures[self._next % len(stream.pictures)]
        self._next += 1
        return picture

    def _send_sound(self, sound: Sound, elapsed_s: float) -> None:
        oddities, kind = self._camera.oddities, sound.kind
        after_s, stops_s = oddities.sound_after_s, oddities.sound_stops_s
        stopped = stops_s is not None and elapsed_s >= stops_s
        if after_s is None or elapsed_s < after_s or stopped:
            self._sound_at_s = None
            return
        now_s = elapsed_s * oddities.sound_rate
        at_s = now_s if self._sound_at_s is None else self._sound_at_s
        lost = self._is_lost(elapsed_s)
        while at_s <= now_s:
            if not lost:
                payload = sound.payloads[self._payload % len(sound.payloads)]
                packet = self._sounds.packet(payload, round(at_s * kind.clock_hz), marker=True)
                self._send(2 * SOUND, packet)
                self._sound_s = at_s / oddities.sound_rate
            self._payload += 1
            at_s += kind.samples / kind.clock_hz
        self._sound_at_s = at_s

    def _send_reports(self, elapsed_s: float) -> None:
        reports = self._camera.oddities.reports
        if reports.kind is ReportKind.NONE or elapsed_s < self._report_at_s:
            return
        if self._is_lost(elapsed_s) or not self._pictures.packets:
            return
        self._report_at_s = elapsed_s + _REPORT_EVERY_S
        for track, sender, sent_s in (
            (PICTURE, self._pictures, self._picture_s),
            (SOUND, self._sounds, self._sound_s),
        ):
            if sender.packets:
                clock_s = reports.clock_s(self._unix_began_s + sent_s, elapsed_s)
                self._send(2 * track + 1, sender.report(clock_s))
