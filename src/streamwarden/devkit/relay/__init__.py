"""An RTSP relay over TCP for development and tests, with faults on demand.

It stands in for MediaMTX v1.20 where there is none: publish, read, the HTTP auth hook, a control
API of the same shapes. It knows no UDP, no TLS and no WebRTC.
"""

from __future__ import annotations

from streamwarden.devkit.relay.faults import Action, Fault, Misbehaviour, Silence
from streamwarden.devkit.relay.limits import Limits
from streamwarden.devkit.relay.process import RelayProcess
from streamwarden.devkit.relay.relay import PortBusy, RelayPorts
from streamwarden.devkit.relay.server import RelayServer

__all__ = [
    "Action",
    "Fault",
    "Limits",
    "Misbehaviour",
    "PortBusy",
    "RelayPorts",
    "RelayProcess",
    "RelayServer",
    "Silence",
]
