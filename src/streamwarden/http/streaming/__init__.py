"""The streaming role: what the API role asks of the recorders (8082)."""
