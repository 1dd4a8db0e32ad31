"""The API role: what users call (8081), and what MediaMTX and the streaming role call (8083)."""
