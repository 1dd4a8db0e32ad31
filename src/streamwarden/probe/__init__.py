"""The camera probe: what a camera offers over RTSP, and advice on it."""
