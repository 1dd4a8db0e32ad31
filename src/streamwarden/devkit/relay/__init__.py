"""An RTSP relay over TCP for development and tests, with faults on demand.

It replaces MediaMTX v1.20 where that is not available: publish, read, the HTTP auth hook, and a control
API with the same JSON. No UDP, no TLS, no WebRTC.
"""

from __future__ import annotations

from streamwarden.devkit.relay.faults import Fault, FaultAction, Misbehaviour, Silence
from streamwarden.devkit.relay.limits import RelayLimits
from streamwarden.devkit.relay.relay import PortBusy, RelayPorts
from streamwarden.devkit.relay.relay_process import RelayProcess
from streamwarden.devkit.relay.relay_server import RelayServer

__all__ = [
    "Fault",
    "FaultAction",
    "Misbehaviour",
    "PortBusy",
    "RelayLimits",
    "RelayPorts",
    "RelayProcess",
    "RelayServer",
    "Silence",
]
